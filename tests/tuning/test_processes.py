"""The number of processes that a training starts with, where nobody says it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.config import Model
from pipeline.model.classifier import RecurrentClassifier
from pipeline.tuning.processes import ENOUGH, MOST, WORTH, fastest, multiplications
from tests.support.launching import ROOT, begin, end, environment, reached, wait_until


@pytest.mark.parametrize(
    "settings",
    [
        Model(hidden=32),
        Model(cell="gru", hidden=48, layers=2, bidirectional=True),
        Model(cell="rnn", hidden=16, layers=3),
        Model(hidden=32, projection=24, conv=8),
    ],
)
def test_multiplications_are_about_one_per_weight_and_step(settings: Model) -> None:
    model = RecurrentClassifier(features=10, classes=3, **settings.model_dump())
    kept = [p.numel() for name, p in model.named_parameters() if p.ndim > 1 and not name.startswith("head")]
    assert multiplications(settings, 10, 7) == pytest.approx(7 * sum(kept), rel=0.05)


@pytest.mark.parametrize(
    ("work", "steps", "cores", "number"),
    [
        (0, 10**9, 8, 1),
        (2 * ENOUGH - 1, 10**9, 8, 1),
        (2 * ENOUGH, 10**9, 8, 2),
        (2 * ENOUGH, 10**9, 1, 1),
        (4 * ENOUGH, 10**9, 8, 4),
        (1e15, 1, 3, 2),
        (1e15, 1, 64, MOST),
        (2 * ENOUGH, WORTH / 2 / ENOUGH, 8, 2),
        (2 * ENOUGH, WORTH / 2 / ENOUGH - 1, 8, 1),
    ],
)
def test_a_small_or_short_training_is_by_one_process_and_a_large_one_by_several(
    work: float, steps: float, cores: int, number: int
) -> None:
    assert fastest(int(work), int(steps), cores) == number


@pytest.mark.skipif(torch.accelerator.is_available(), reason="NOT TESTED: on a GPU the number is that of the GPUs")
@pytest.mark.parametrize(("hidden", "batch", "epochs", "number"), [(16, 32, 1, 1), (256, 1024, 1, 1), (256, 1024, 100, 2)])
@pytest.mark.parametrize("file", [(), ("--launch", str(ROOT / "launch/cpu.yaml"))], ids=["no file", "cpu.yaml"])
def test_train_starts_as_many_processes_as_are_fastest(
    tmp_path: Path, hidden: int, batch: int, epochs: int, number: int, file: tuple[str, ...]
) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        number = 1
    words = (
        "run.dir=run",
        f"model.hidden={hidden}",
        f"train.batch={batch}",
        f"train.epochs={epochs}",
        "track.backends=[]",
        *file,
    )
    command = [sys.executable, "-m", "pipeline", "train", "--config", str(ROOT / "configs/smoke.yaml"), *words]
    job = begin(command, tmp_path)
    if epochs > 1:
        wait_until(lambda: reached(tmp_path / "run", 1), "the first step")
        job.send_signal(signal.SIGTERM)
    status, output = end(job)
    here = "1 process on cpu" if number == 1 else f"{min(number, MOST)} processes on cpu"
    assert status == (143 if epochs > 1 else 0) and (here in output or len(os.sched_getaffinity(0)) > 2), output


def test_make_leaves_the_number_to_the_program_unless_it_is_typed() -> None:
    def line(*words: str) -> str:
        command = ["make", "-n", "-o", "setup", "GPUS=0", "train", *words]
        return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True).stdout

    assert "--processes" not in line() and "--processes 3" in line("PROCESSES=3")
