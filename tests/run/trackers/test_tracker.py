"""metrics.jsonl is complete whatever happens; wandb shows what it was told, or fails without a trace on the run.

wandb is the real one, offline or against a closed port, in a process of its own with none of the user's settings.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.config import Config, Track, make
from pipeline.run.record import read
from pipeline.run.trackers import names, view
from pipeline.run.trackers import tracker as trackers
from pipeline.run.trackers.view import Evaluation

ATTEMPT = """
import os, pathlib, signal, sys, time
import numpy as np
from pipeline.config import make
from pipeline.run.record import Record
from pipeline.run.trackers import tracker as trackers
from pipeline.run.trackers.view import Evaluation

assert "wandb" not in sys.modules
folder, trouble, timeout = pathlib.Path("digits"), sys.argv[1], float(sys.argv[2])
folder.mkdir(exist_ok=True)
record = Record(folder / "metrics.jsonl")
tracker = trackers.start(make({"run": {"dir": "digits"}}), folder)

def service():
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        name, ppid = stat.read_text().split()[1:4:2]
        if name == "(wandb-core)" and int(ppid) == os.getpid():
            return int(stat.parent.name)

for step in range(1, 41):
    if step == 20 and trouble in ("SIGKILL", "SIGSTOP"):
        time.sleep(1)
        os.kill(service(), getattr(signal, trouble))
        time.sleep(0.5)
    record.append({"step": step, "train/loss": 1 / step})
    tracker.log({"train/loss": 1 / step}, step)
if trouble == "evaluate":
    tracker.log_evaluation(Evaluation(
        {"step": 40, "test/accuracy": 0.97, "test/loss": 0.125}, np.array([[0, 0, 4], [0, 2, 3], [2, 1, 5]]), ["a", "b", "c"],
        {"confusion": pathlib.Path("confusion.png")},
    ))
if trouble == "many classes":
    cells = np.array([[number, (number + 1) % 1000, 1000 - number] for number in range(1000)] + [[5, 5, 7777]])
    names = [f"class {number}" for number in range(1000)]
    cells = cells[np.lexsort(cells.T[::-1])]
    tracker.log_evaluation(Evaluation({}, cells, names, {"mistakes": pathlib.Path("mistakes.png")}))
tracker.finish(0, timeout=timeout)
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "NETRC"))}
    return clean | {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[3])} | more


def attempt(folder: Path, trouble: str = "", timeout: float = 30, argv: tuple[str, ...] = (), **more: str) -> Any:
    """One attempt in ``folder``: what it printed, and that it ended well with metrics.jsonl complete."""
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPT, trouble, str(timeout), *argv],
        cwd=folder,
        env=environment(folder, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert [record["step"] for record in read(folder / "digits/metrics.jsonl")] == list(range(1, 41))
    assert "Traceback" not in done.stderr
    return SimpleNamespace(stderr=done.stderr.strip().splitlines())


def inspect(folder: Path) -> Any:
    """What ``wandb leet inspect`` shows of the latest run under ``folder``."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", "digits/wandb"]
    shown = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=True)
    return json.loads(shown.stdout)


def table(folder: Path, name: str) -> Any:
    """A table that wandb was told: its header, then its rows."""
    (path,) = (folder / "digits/wandb").rglob(f"{name}*.table.json")
    found = json.loads(path.read_text())
    return [found["columns"], *found["data"]]


HEADER = ["Actual", "Predicted", "nPredictions"]  # as wandb's chart of a confusion matrix calls label, prediction and count


def test_of_many_classes_the_most_frequent_mistakes_are_shown(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "mistakes.png")
    done = attempt(tmp_path, "many classes")
    assert [line for line in done.stderr if "offline run" not in line] == []
    shown = table(tmp_path, "frequent_mistakes")
    assert len(shown) == 1 + 200
    assert shown[:2] == [HEADER, ["class 0", "class 1", 1000]] and shown[200] == ["class 199", "class 200", 801]
    assert not list((tmp_path / "digits/wandb").rglob("confusion_matrix*"))
    types = {name: value["_type"] for name, value in inspect(tmp_path)["summary"].items() if isinstance(value, dict)}
    assert types == {"frequent_mistakes": "table-file", "mistakes": "image-file"}, "a picture of this name is shown too"


def test_how_an_offline_run_is_looked_at_is_said_once_and_not_by_each_stage(tmp_path: Path) -> None:
    said = []
    for _ in range(2):
        said += [line for line in attempt(tmp_path, "").stderr if "offline run" in line]
        (tmp_path / "digits/metrics.jsonl").unlink()
    assert len(said) == 1


def test_offline_run_shows_the_final_metrics_and_no_secret(tmp_path: Path) -> None:
    secret = "canary-5f0c2d"
    Image.new("RGB", (8, 8)).save(tmp_path / "confusion.png")
    done = attempt(tmp_path, "evaluate", argv=(f"--token={secret}",), MY_TOKEN=secret)
    shown = inspect(tmp_path)
    assert (shown["state"], shown["exit_code"], shown["name"]) == ("finished", 0, "digits")
    assert (shown["config"]["optim"]["lr"], shown["config"]["run"]["dir"]) == (0.01, "digits")
    summary = shown["summary"]
    assert (summary["test/accuracy"], summary["test/loss"]) == (0.97, 0.125)
    assert (summary["step"], summary["train/loss"]) == (40, 1 / 40)
    assert summary["confusion"]["_type"] == "image-file"
    counts = {("a", "a"): 4, ("a", "c"): 3, ("c", "b"): 5}
    expected = [[label, guess, counts.get((label, guess), 0)] for label, guess in product("abc", "abc")]
    assert table(tmp_path, "confusion_matrix_table") == [HEADER, *expected]
    [line] = done.stderr
    assert line.endswith("wandb sync digits/wandb")
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in paths)
    assert [path for path in paths if secret.encode() in path.read_bytes()] == []
    assert [path for path in paths if not path.is_relative_to(tmp_path / "digits")] == [tmp_path / "confusion.png"]


def test_the_environment_says_what_the_configuration_leaves_open(tmp_path: Path) -> None:
    named = {"WANDB_PROJECT": "p", "WANDB_NAME": "n", "WANDB_RUN_GROUP": "g", "WANDB_TAGS": "a,b", "WANDB_NOTES": "remark"}
    named |= {"WANDB_ENTITY": "e", "WANDB_JOB_TYPE": "j"}
    attempt(tmp_path, **named)
    content = next((tmp_path / "digits/wandb").rglob("*.wandb")).read_bytes()
    assert inspect(tmp_path)["name"] == "n"
    for word in ("p", "n", "g", "a", "b", "remark", "e", "j"):
        assert bytes([len(word)]) + word.encode() in content, f"a field of the record of the run: {word}"
    assert bytes([len("sequence-pipeline")]) + b"sequence-pipeline" not in content


def test_the_folder_of_wandb_is_that_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    done = attempt(tmp_path, WANDB_DIR="elsewhere")
    assert [*(tmp_path / "elsewhere").rglob("*.wandb")] and "wandb sync elsewhere/wandb/offline-run-" in done.stderr[-1]


def test_a_key_that_is_written_goes_before_the_environment_and_check_says_who_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(variable)
    assert names.said(Track()) == []
    whole = {"project": "sequence-pipeline", "name": "digits", "tags": (), "job_type": "train", "resume": "allow"}
    assert names.of(Track(), Path("runs/digits"), {}) == whole | {"dir": "runs/digits"}
    for variable in ("WANDB_PROJECT", "WANDB_TAGS", "WANDB_ENTITY"):
        monkeypatch.setenv(variable, "x")
    written = Track(project="mine")
    assert names.of(written, Path("runs/digits"), {})["project"] == "mine"
    assert names.said(written) == [
        "wandb: WANDB_TAGS, WANDB_ENTITY of the environment decide",
        "wandb: track.project decides, and not WANDB_PROJECT of the environment",
    ]
    assert names.said(Track(backends=())) == []


def test_no_key_means_offline_without_a_question_even_on_a_terminal(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(sys.executable, [sys.executable, "-c", ATTEMPT, "", "30"], environment(tmp_path, WANDB_MODE="online"))
    shown = b""
    try:
        while part := os.read(terminal, 4096):
            shown += part
    except OSError:  # how Linux reports that the other end was closed
        pass
    assert os.waitpid(pid, 0)[1] == 0, shown
    assert b"wandb: an offline run" in shown
    assert b"API key" not in shown and b"?" not in shown


def test_unreachable_server_costs_a_bounded_time_and_one_line(tmp_path: Path) -> None:
    key = "0123456789" * 4
    done = attempt(tmp_path, timeout=3, WANDB_API_KEY=key, WANDB_BASE_URL="http://127.0.0.1:9")
    [line] = done.stderr
    assert line == "wandb: not finished after 3 s; the job goes on without it"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]


@pytest.mark.parametrize(("signal", "reason"), [("SIGKILL", "Connection"), ("SIGSTOP", "not finished after 3 s")])
def test_service_process_that_dies_or_hangs_does_not_stop_the_run(signal: str, reason: str, tmp_path: Path) -> None:
    done = attempt(tmp_path, signal, timeout=3)
    [line] = done.stderr
    assert line.startswith("wandb: ") and reason in line and line.endswith("; the job goes on without it")


@pytest.mark.parametrize(
    ("variable", "value"), [("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true"), ("WANDB_DISABLED", "1")]
)
def test_wandb_that_is_switched_off_starts_nothing(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    tracker = trackers.start(settings(), tmp_path)
    tracker.log({"train/loss": 1.0}, 1)
    tracker.finish()
    assert list(tmp_path.iterdir()) == []


def test_backend_that_is_not_installed_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    tracker = trackers.start(settings(backends=["tensorboard"]), tmp_path)
    tracker.log({"train/loss": 1.0}, 1)
    tracker.finish()
    assert capsys.readouterr().err.splitlines() == [
        "tensorboard: it is not installed; type: pip install tensorboard; the job goes on without it"
    ]


def settings(**track: Any) -> Config:
    return make({"run": {"dir": "digits"}, "train": {"epochs": 2}, "track": track})


def views() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("tracking")]


def test_other_processes_track_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "rank", lambda: 1)
    tracker = trackers.start(settings(), tmp_path)
    assert views() == []
    tracker.log({"train/loss": 1.0}, 1)
    tracker.log_evaluation(Evaluation({}, np.eye(3, dtype=int), ["a", "b"], {}))
    tracker.finish()
    assert list(tmp_path.iterdir()) == []


class Hanging(view.View):
    """A backend that opens and then does nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__("hanging")
        self.free, self.logged = threading.Event(), list[int]()

    def open(self) -> None:
        self.free.wait()

    def log(self, values: Mapping[str, Any], step: int) -> None:
        self.logged.append(step)

    def close(self, exit_code: int) -> None:
        pass


def test_nobody_waits_for_a_view_that_hangs_and_what_it_was_told_waits_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    view = Hanging()
    tracker = trackers.Tracker([view])
    for step in range(1000):
        tracker.log({"train/loss": 1.0}, step)
    assert view.is_alive() and view.logged == [], "all was handed over while it hung"
    tracker.finish(timeout=0.1)
    assert view.is_alive(), "and so it was left behind"
    assert capsys.readouterr().err == "hanging: not finished after 0 s; the job goes on without it\n"
    view.free.set()
    view.join()
    assert view.logged == list(range(1000))


def test_tensorboard_shows_the_numbers_and_pictures_that_it_was_given(tmp_path: Path, accelerator: Accelerator) -> None:
    Image.new("RGB", (4, 3), (255, 0, 0)).save(tmp_path / "red.png")
    tracker = trackers.start(settings(backends=["tensorboard"]), tmp_path)
    tracker.log({"train/loss": 1.5}, 1)
    tracker.log({"train/loss": 0.5}, 2)
    tracker.log_evaluation(
        Evaluation({"step": 2, "test/accuracy": 0.75}, np.array([[0, 1, 3]]), ["a", "b"], {"confusion": tmp_path / "red.png"})
    )
    tracker.finish()
    (folder,) = {path.parent for path in (tmp_path / "tensorboard").rglob("events.*")}
    shown = EventAccumulator(str(folder)).Reload()
    assert [(event.step, event.value) for event in shown.Scalars("train/loss")] == [(1, 1.5), (2, 0.5)]
    assert [(event.step, event.value) for event in shown.Scalars("test/accuracy")] == [(2, 0.75)]
    (picture,) = shown.Images("confusion")
    assert (picture.step, picture.width, picture.height) == (2, 4, 3)
    assert b'"epochs": 2' in shown.Tensors("config/text_summary")[0].tensor_proto.string_val[0]
