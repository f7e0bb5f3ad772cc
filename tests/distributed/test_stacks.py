"""A process that hangs leaves the stacks of its threads on disk, and is ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from pipeline.distributed.stacks import Watch

_fork = multiprocessing.get_context("forkserver")


def takes_no_step() -> None:
    time.sleep(60)


def hangs(folder: str) -> None:
    with Watch(Path(folder), 1, 2, timeout=1) as watch:
        watch.beat()
        takes_no_step()


def goes_on(folder: str) -> None:
    with Watch(Path(folder), 1, 2, timeout=1) as watch:
        for _ in range(20):
            time.sleep(0.1)
            watch.beat()
        watch.rest()
        time.sleep(2)
        watch.beat()


def is_asked(folder: str) -> None:
    with Watch(Path(folder), 1, 2, timeout=100):
        os.kill(os.getpid(), signal.SIGUSR2)
    os.kill(os.getpid(), signal.SIGUSR2)  # and a signal that comes late does not end it


def alone(folder: str) -> None:
    with Watch(Path(folder), 0, 1, timeout=0.1):
        time.sleep(0.5)


def status_of(work: object, folder: Path) -> int | None:
    process = _fork.Process(target=work, args=(str(folder),))  # type: ignore[arg-type]
    process.start()
    process.join(40)
    process.kill()
    return process.exitcode


def test_a_process_that_takes_no_step_writes_where_it_is_and_ends(tmp_path: Path) -> None:
    assert status_of(hangs, tmp_path) == 1
    text = (tmp_path / "stacks/1.txt").read_text()
    assert "process 1 on " in text and "has taken no step for" in text
    assert text.count("in takes_no_step") == 2, "before the others end, and at its own end"


@pytest.mark.parametrize("work", [goes_on, alone])
def test_a_process_that_goes_on_rests_or_is_alone_is_let_be_and_leaves_no_file(work: object, tmp_path: Path) -> None:
    assert status_of(work, tmp_path) == 0
    assert not list(tmp_path.rglob("*.txt"))


def test_sigusr2_writes_the_stacks_and_ends_nothing(tmp_path: Path) -> None:
    assert status_of(is_asked, tmp_path) == 0
    assert "in is_asked" in (tmp_path / "stacks/1.txt").read_text()
