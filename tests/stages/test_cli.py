"""Wrong input gets one message that names it, exit status 2, and leaves nothing half-made."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline import config
from pipeline.__main__ import predict
from pipeline.data.sources import checksums
from tests.support.launching import ROOT, environment, run, succeed
from tests.support.raw_files import examples, put, small_disk

SMOKE = ("--config", str(ROOT / "configs/smoke.yaml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared data and a finished run."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", *SMOKE, cwd=folder)
    succeed("train", *SMOKE, "train.epochs=1", "run.dir=runs/done", cwd=folder)
    return folder


def refused(*arguments: str, cwd: Path, says: tuple[str, ...], processes: int = 0) -> str:
    """The one message of a command that must be refused, leaving the folder as it was."""
    before = {path for path in cwd.rglob("*") if not path.name.startswith(".output")}
    status, output = run(*arguments, cwd=cwd, processes=processes)
    assert status == 2, output
    assert "Traceback" not in output
    assert output.count("error:") == 1, output
    for words in says:
        assert words in output
    # what is known of files that were read is no result of the command
    new = {path for path in cwd.rglob("*") if not path.name.startswith((".output", checksums.NAME))} - before
    assert not new, f"left behind: {new}"
    return output


def test_every_fault_of_a_configuration_is_named_at_once_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("model:\n  hiden: 64\noptim:\n  lr: fast\ntrian:\n  epochs: 1\n")
    says = (
        "bad.yaml:2: model.hiden: unknown key; did you mean model.hidden?",
        "bad.yaml:4: optim.lr: expected a number",
        "bad.yaml:5",
    )
    refused("train", "--config", "bad.yaml", "train.batch=0", cwd=tmp_path, says=(*says, "command line: train.batch=0"))


@pytest.mark.parametrize("command", ["check", "prepare", "tune", "train", "seeds"])
def test_a_typo_is_said_before_anything_slow_is_imported(command: str) -> None:
    program = f"""
import sys
sys.argv = ["pipeline", "{command}", *{SMOKE}, "optim.rl=1"]
import pipeline.__main__
try:
    pipeline.__main__.main()
finally:
    print("HEAVY", [name for name in ("torch", "accelerate", "sklearn", "polars") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "HEAVY []\n") and "did you mean optim.lr?" in done.stderr


@pytest.mark.parametrize("command", ["check", "prepare", "train"])
def test_missing_configuration_file(tmp_path: Path, command: str) -> None:
    refused(command, "--config", "none.yaml", cwd=tmp_path, says=("none.yaml: cannot be read: No such file or directory",))


def test_each_column_of_a_configuration_is_an_option_of_predict() -> None:
    of_the_model = {"steps", "window", "stride", "window_label", "elapsed"}  # what it was trained on, in whatever file
    assert set(config.Columns.model_fields) - of_the_model < set(inspect.signature(predict).parameters)


def test_train_prepares_what_is_not_prepared_yet_once_for_all_processes(tmp_path: Path) -> None:
    output = succeed("train", *SMOKE, "train.epochs=1", "track.backends=[]", cwd=tmp_path, processes=2)
    assert output.count(": prepared\n") == 1 and "finished at step 14" in output


def test_batch_that_does_not_divide_names_numbers_that_do(folder: Path) -> None:
    says = ("train.batch = 100", "3 processes", "start 1, 2, 4, 5 processes")
    refused("train", *SMOKE, "train.batch=100", "run.dir=runs/new", cwd=folder, says=says, processes=3)


def test_gradient_shards_that_do_not_divide(folder: Path) -> None:
    overrides = ("train.gradient_shards=4", "run.dir=runs/new")
    refused("train", *SMOKE, *overrides, cwd=folder, says=("train.gradient_shards = 4", "3 processes"), processes=3)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
def test_fp16_on_a_cpu(folder: Path) -> None:
    refused(
        "train", *SMOKE, "train.precision=fp16", "run.dir=runs/new", cwd=folder, says=("fp16 needs a GPU; on a CPU use bf16",)
    )


def test_other_configuration_for_a_run_names_the_keys_that_differ(folder: Path) -> None:
    says = ("begun with another configuration", "optim.lr: 0.01 -> 0.5", "train.epochs: 1 -> 2", "run.dir=runs/NAME")
    refused("train", *SMOKE, "optim.lr=0.5", "run.dir=runs/done", cwd=folder, says=says)


def test_folder_that_holds_something_else_is_not_taken_for_a_run(folder: Path) -> None:
    refused("train", *SMOKE, "run.dir=prepared", cwd=folder, says=("prepared: is not empty and holds no run",))


def test_part_that_is_not_there(folder: Path) -> None:
    refused("evaluate", "--run", "runs/done", "--split", "tset", cwd=folder, says=("expected one of train, valid, test",))


def test_prepared_data_that_was_changed_is_not_trained_on(tmp_path: Path) -> None:
    succeed("prepare", *SMOKE, cwd=tmp_path)
    file = next(tmp_path.glob("prepared/*/train.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    refused("train", *SMOKE, cwd=tmp_path, says=("train.safetensors: changed after it was made", "delete"), processes=2)


def test_run_is_not_continued_on_other_data(tmp_path: Path) -> None:
    for size, root in ((300, "one"), (310, "two")):
        put(tmp_path / root, examples(train=size))
    settings = (*SMOKE, "data.source=mnist", "train.epochs=1", "run.dir=run")
    for root in ("one", "two"):
        succeed("prepare", *settings, f"data.root={root}", cwd=tmp_path)
    succeed("train", *settings, "data.root=one", cwd=tmp_path)
    output = refused("train", *settings, "data.root=two", cwd=tmp_path, says=("was trained on other data",))
    assert "run.dir=runs/NAME" in output


def test_raw_file_that_is_damaged(tmp_path: Path) -> None:
    paths = put(tmp_path / "raw", examples(), suffix="")
    paths[0].write_bytes(paths[0].read_bytes()[:-100])
    settings = (*SMOKE, "data.source=mnist", "data.root=raw")
    status, output = run("prepare", *settings, cwd=tmp_path)
    assert (status, output.count("error:"), "train-images-idx3-ubyte" in output) == (2, 1, True), output
    assert not list(tmp_path.glob("prepared/mnist*"))


def test_full_disk_is_named_and_the_older_checkpoints_stay(folder: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "200k") as disk:
        overrides = (f"run.dir={disk}/run", "train.checkpoint_every=2", "train.keep_last=100")
        status, output = run("train", *SMOKE, *overrides, cwd=folder)
        assert status == 2, output
        assert "Traceback" not in output
        assert "the disk is full" in output
        kept = sorted((disk / "run/checkpoints").glob("step_*"))
        assert kept
        for checkpoint in kept:
            assert set(json.loads((checkpoint / "manifest.json").read_text())) <= {path.name for path in checkpoint.iterdir()}


def test_non_finite_loss_stops_before_the_update_and_names_the_rows(folder: Path) -> None:
    settings = (*SMOKE, "optim.lr=1e38", "optim.name=sgd", "run.dir=runs/diverged")
    status, output = run("train", *settings, cwd=folder, processes=2)
    assert status == 3, output
    assert "Traceback" not in output
    assert output.count("the loss or its gradient is not finite") == 1
    assert "Rows of the training split in this batch: [" in output


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    program = """
import sys
sys.argv = ["pipeline", "--help"]
import pipeline.__main__
try:
    pipeline.__main__.main()
finally:
    print("HEAVY", [name for name in ("torch", "accelerate", "wandb", "numpy", "matplotlib") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
    for command in ("check", "prepare", "train", "evaluate", "export"):
        assert f"  {command}" in done.stdout
