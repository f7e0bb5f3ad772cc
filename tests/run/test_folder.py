"""What runfolder.py promises: a run has one writer, one configuration, and a record of where it was made."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import config
from pipeline.config import Config
from pipeline.errors import ConfigError, RunError, UserError
from pipeline.run.environment import environment
from pipeline.run.environment import program as program_of_this_process
from pipeline.run.folder import FREE, enter, keep_free, settings_of, writer
from tests.support.raw_files import small_disk

ROOT = Path(__file__).parents[2]


def settings(folder: Path, **sections: Any) -> Config:
    return Config(**({"run": config.Run(dir=str(folder))} | sections))


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the run folder until it is killed or told to end."""
    program = """
import sys
from pathlib import Path
from pipeline.run import folder
with folder.writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", program, str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.communicate("", timeout=60)


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "x"
    refused = pytest.raises(RunError, match=rf"{folder}: another process is writing to this run; wait .*run\.dir")
    with another_process(folder), refused:
        writer(folder).__enter__()
    with writer(folder):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with another_process(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        assert (tmp_path / ".lock").exists()
        with writer(tmp_path):
            pass


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), writer(tmp_path):
        raise KeyError
    with another_process(tmp_path):
        pass


def test_a_new_run_gets_its_configuration_and_where_it_is_made(tmp_path: Path) -> None:
    wanted = settings(tmp_path, optim=config.Optim(lr=1e-5), track=config.Track(name="no"))
    with writer(tmp_path):
        enter(tmp_path, wanted, processes=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "config.yaml", "environment.json"]
    assert config.load(tmp_path / "config.yaml") == wanted == settings_of(tmp_path)
    said = json.loads((tmp_path / "environment.json").read_text())
    assert said["processes"] == 3 and said["earlier"] == []


def test_an_environment_says_how_to_make_the_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("WANDB_API_KEY", "hunter2")
    said = environment()
    keys = {
        "started",
        "version",
        "command",
        "launch",
        "git_commit",
        "git_changes",
        "host",
        "platform",
        "cpu",
        "gpus",
        "python",
        "packages",
    }
    assert said.keys() == keys
    assert said["packages"]["torch"] == torch.__version__.split("+")[0] or said["packages"]["torch"] == torch.__version__
    assert {"accelerate", "numpy", "safetensors", "wandb"} <= said["packages"].keys()
    assert said["launch"]["WORLD_SIZE"] == "4"
    assert said["python"] == ".".join(map(str, sys.version_info[:3])) and said["host"] and said["cpu"]
    assert len(said["gpus"]) == torch.cuda.device_count()
    assert said["command"].split()[0].startswith("python") and "pytest" in said["command"]
    assert said["started"].endswith("Z") and said["started"][:2] == "20"
    assert "hunter2" not in json.dumps(said)


def test_without_git_the_commit_is_unknown_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    said = environment()
    assert said["git_commit"] is None and said["git_changes"] is False


def test_the_commit_is_that_of_the_program_and_not_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = environment()["git_commit"]
    monkeypatch.chdir(tmp_path)
    assert environment()["git_commit"] == here


def test_uncommitted_changes_of_the_program_are_recorded(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".gitignore").write_text("__pycache__\n")
    git = ("git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@localhost")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *words], check=True)
    program = "import json; from pipeline.run.environment import environment, program as made; e = environment();"
    program += "print(json.dumps([e['git_commit'], e['git_changes'], made().model_dump()]))"

    def said() -> list[Any]:
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        found: list[Any] = json.loads(done.stdout)
        return found

    commit, changes, made = said()
    assert len(commit) == 40 and changes is False
    assert made == program_of_this_process().model_dump()
    with (tmp_path / "pipeline/training/optim.py").open("a") as file:
        file.write("# another rate\n")
    later, changes, other = said()
    assert later == commit and changes is True
    assert other["code"] != made["code"] and other | {"code": made["code"]} == made


def test_resuming_with_the_same_configuration_keeps_every_attempt(tmp_path: Path) -> None:
    for processes in (1, 2, 4):
        enter(tmp_path, settings(tmp_path), processes)
    said = json.loads((tmp_path / "environment.json").read_text())
    assert said["processes"] == 4 and [earlier["processes"] for earlier in said["earlier"]] == [1, 2]
    assert not any("earlier" in earlier for earlier in said["earlier"])


@pytest.mark.parametrize(
    "text", ["", "[]", "5", '{"earlier": 5}', '{"earlier": [5]}', '{"earlier": ' + "[" * 100_000, '{"a": ' * 100_000]
)
def test_an_environment_that_is_another_is_refused_with_what_to_do(tmp_path: Path, text: str) -> None:
    enter(tmp_path, settings(tmp_path), 1)
    (tmp_path / "environment.json").write_text(text)
    with pytest.raises(RunError, match=r"environment\.json: is not what this program wrote \(.+\); delete it to go on"):
        enter(tmp_path, settings(tmp_path), 1)


def test_only_places_and_what_computes_the_same_may_change_within_a_run() -> None:
    places = {"run.dir", "data.root", "data.path", "data.test_path", "data.prepared", "data.mirrors", "data.stage"}
    views = {f"track.{key}" for key in config.Track.model_fields} | {f"export.{key}" for key in config.Export.model_fields}
    same = {
        "run.pin",
        "run.timeout",
        "run.join_timeout",
        "train.cpu_lstm",
        "train.gpu_lstm",
        "train.compare_every",
        "train.keep_last",
        "data.resident_limit_mb",
    }
    assert set(FREE) == places | views | same | {"train.folds"}  # which trains runs of its own beside the one


def test_another_configuration_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    enter(tmp_path, settings(tmp_path), 1)
    (tmp_path / "checkpoints/step_00000001").mkdir(parents=True)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    other = settings(tmp_path, optim=config.Optim(lr=0.5), model=config.Model(hidden=8), train=config.Train(epochs=11))
    with pytest.raises(RunError) as caught:
        enter(tmp_path, other, 1)
    message = str(caught.value)
    for line in ("model.hidden: 64 -> 8", "optim.lr: 0.01 -> 0.5", "train.epochs: 10 -> 11", "run.dir=runs/NAME"):
        assert line in message
    assert "train.batch" not in message
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_run_that_never_saved_a_step_takes_another_configuration(tmp_path: Path) -> None:
    enter(tmp_path, settings(tmp_path), 1)
    other = settings(tmp_path, optim=config.Optim(lr=0.5))
    enter(tmp_path, other, 1)
    assert config.load(tmp_path / "config.yaml") == other


def test_places_may_differ_since_they_do_not_change_what_a_run_is(tmp_path: Path) -> None:
    enter(tmp_path, settings(tmp_path), 1)
    moved = Config(
        run=config.Run(dir="elsewhere"), data=config.Data(root="/mnt/other", prepared="p", mirrors=("http://mirror",))
    )
    begun = (tmp_path / "config.yaml").read_bytes()
    enter(tmp_path, moved, 1)
    assert (tmp_path / "config.yaml").read_bytes() == begun, "the data there may turn out to be another"
    keep_free(tmp_path, moved)
    (tmp_path / "checkpoints/step_00000001").mkdir(parents=True)
    assert config.load(tmp_path / "config.yaml") == moved
    with pytest.raises(RunError, match=r"data\.seed: 0 -> 1"):
        enter(tmp_path, moved.model_copy(update={"data": config.Data(root="/mnt/other", seed=1)}), 1)


@pytest.mark.parametrize("stranger", ["thesis.docx", ".hidden", "metrics.jsonl", "checkpoints"])
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, stranger: str) -> None:
    (tmp_path / stranger).mkdir()
    with writer(tmp_path), pytest.raises(RunError, match=r"is not empty and holds no run .*run\.dir=runs/NAME"):
        enter(tmp_path, settings(tmp_path), 1)
    assert {path.name for path in tmp_path.iterdir()} == {stranger, ".lock"}


def test_what_a_killed_first_attempt_left_does_not_stop_the_second(tmp_path: Path) -> None:
    (tmp_path / ".config.yaml.x1y2z3").write_text("run:")
    enter(tmp_path, settings(tmp_path), 1)
    assert settings_of(tmp_path) == settings(tmp_path)


def test_a_run_folder_that_was_moved_knows_where_it_is(tmp_path: Path) -> None:
    enter(tmp_path, settings(Path("runs/original")), 1)
    assert settings_of(tmp_path) == settings(tmp_path)


def test_what_is_no_run_folder_is_named_with_the_runs_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="runs/x: no such run folder; train first: python -m pipeline train --config FILE"):
        settings_of(Path("runs/x"))
    for name in ("b", "a"):
        Path("runs", name).mkdir(parents=True)
        enter(Path("runs", name), settings(Path("runs", name)), 1)
    with pytest.raises(RunError, match=r"runs: is not a run folder \(it holds no config.yaml\); there are: runs/a, runs/b"):
        settings_of(Path("runs"))


def test_a_damaged_configuration_of_a_run_is_named_with_its_line(tmp_path: Path) -> None:
    enter(tmp_path, settings(tmp_path), 1)
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: zero", 1))
    for reading in (lambda: settings_of(tmp_path), lambda: enter(tmp_path, settings(tmp_path), 1)):
        with pytest.raises(ConfigError, match=rf"{path}:3: run\.seed: expected a whole number, got 'zero'"):
            reading()


def test_a_run_folder_on_a_read_only_or_full_disk_is_one_message(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        (disk / "filler").write_bytes(b"x" * os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize)
        with pytest.raises(UserError, match="cannot write the run folder: the disk is full"), writer(disk / "x"):
            enter(disk / "x", settings(disk / "x"), 1)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(UserError, match="cannot write the run folder: the file system is read-only"):
            writer(disk / "y").__enter__()


def test_a_file_in_the_place_of_a_run_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(UserError, match=f"{tmp_path / 'x'}: cannot write the run folder: a file of this name is in the way"):
        writer(tmp_path / "x").__enter__()
