"""A run that was stopped and started again ends as if it had been left alone, bit for bit (CPU, fp32)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.launching import ROOT, Job, end, launch, losses, numbers, reached, succeed, wait_until, weights

SMOKE = str(ROOT / "configs/smoke.yaml")
# everything that has a state: moments, averaged weights, augmentation, dropout, the choice of the best
LONG = (
    *("train.epochs=30", "train.checkpoint_every=50", "optim.name=adamw", "optim.schedule=one_cycle", "train.ema=0.99"),
    *("model.layers=2", "model.dropout=0.2", "data.shift=1", "optim.clip=1.0", "train.evaluate_every=17"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared data and, for 1 and 2 processes, a run that was left alone."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", "--config", SMOKE, cwd=folder)
    for processes in (1, 2):
        succeed("train", "--config", SMOKE, f"run.dir=alone{processes}", *LONG, cwd=folder, processes=processes)
    return folder


def interrupt(
    folder: Path, name: str, processes: int, number: int, after: int, rank: int | None = None
) -> tuple[list[int], str]:
    """Start a run, send a signal once step ``after`` is recorded, and return the exit statuses and the output."""
    job = Job("train", "--config", SMOKE, f"run.dir={name}", *LONG, cwd=folder, processes=processes)
    wait_until(lambda: reached(folder / name, after), f"step {after}")
    job.signal(number, rank)
    return job.wait()


def assert_as_if_left_alone(folder: Path, name: str, processes: int) -> None:
    assert weights(folder / name) == weights(folder / f"alone{processes}")
    assert numbers(folder / name) == numbers(folder / f"alone{processes}")


def test_ctrl_c_saves_and_the_same_command_goes_on_without_a_trace(folder: Path) -> None:
    for after in (30, 130, 260):
        statuses, output = interrupt(folder, "ctrl_c", 0, signal.SIGINT, after)
        assert statuses == [143], output
        assert "saved after step" in output
        assert "Traceback" not in output
    assert "resuming after step" in succeed("train", "--config", SMOKE, "run.dir=ctrl_c", *LONG, cwd=folder)
    assert_as_if_left_alone(folder, "ctrl_c", 1)


def test_ctrl_c_under_accelerate_launch_saves_once_on_two_processes(folder: Path) -> None:
    arguments = ("train", "--config", SMOKE, "run.dir=launched", *LONG)
    job = launch("cpu.yaml", *arguments, cwd=folder)
    wait_until(lambda: reached(folder / "launched", 40), "step 40")
    os.killpg(job.pid, signal.SIGINT)
    status, output = end(job)
    assert status != 0
    assert output.count("saved after step") == 1, output
    assert "resuming after step" in succeed(*arguments, cwd=folder, processes=2)
    assert_as_if_left_alone(folder, "launched", 2)


def test_signal_to_one_process_stops_all_at_one_step(folder: Path) -> None:
    statuses, output = interrupt(folder, "one_rank", 2, signal.SIGTERM, 40, rank=1)
    assert statuses == [143, 143], output
    assert output.count("saved after step") == 1, output
    succeed("train", "--config", SMOKE, "run.dir=one_rank", *LONG, cwd=folder, processes=2)
    assert_as_if_left_alone(folder, "one_rank", 2)


def test_kill_9_costs_only_the_steps_since_the_last_checkpoint(folder: Path) -> None:
    statuses, _ = interrupt(folder, "killed", 0, signal.SIGKILL, 180)
    assert statuses == [-signal.SIGKILL]
    assert "resuming after step" in succeed("train", "--config", SMOKE, "run.dir=killed", *LONG, cwd=folder)
    assert_as_if_left_alone(folder, "killed", 1)


def test_finished_run_does_nothing(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (folder / "alone1/checkpoints").rglob("*")}
    assert "nothing to do" in succeed("train", "--config", SMOKE, "run.dir=alone1", *LONG, cwd=folder)
    assert {path: path.stat().st_mtime_ns for path in (folder / "alone1/checkpoints").rglob("*")} == before
    assert losses(folder / "alone1")
