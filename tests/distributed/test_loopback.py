"""Processes of one machine hear nobody on the network: every socket on which they listen is on the loopback."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.launching import ROOT, Job, begin, end, reached, succeed, wait_until

SMOKE = ("--config", str(ROOT / "configs/smoke.yaml"))
LISTEN = "0A"  # as /proc/net/tcp states it
LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared data."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", *SMOKE, cwd=folder)
    return folder


def family(process: int) -> Iterator[int]:
    """A process and all that it started."""
    yield process
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            for child in task.read_text().split():
                yield from family(int(child))


def listening(process: int) -> set[str]:
    """The addresses, in hexadecimal, of the sockets on which a process and its children listen."""
    inodes = set()
    for member in family(process):
        with suppress(OSError):  # it has ended
            for descriptor in Path(f"/proc/{member}/fd").iterdir():
                with suppress(OSError):
                    inodes.add(str(descriptor.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and f"socket:[{fields[9]}]" in inodes:
                found.add(fields[1].split(":")[0])
    return found


def test_processes_that_the_command_starts_listen_on_the_loopback_alone(folder: Path) -> None:
    arguments = ["train", *SMOKE, "run.dir=launched", "train.epochs=1000", "track.backends=[]", "--processes", "2"]
    job = begin([sys.executable, "-m", "pipeline", *arguments], folder)
    try:
        wait_until(lambda: job.poll() is not None or reached(folder / "launched", 1), "the first step")
        found = listening(job.pid)
        assert found and found <= set(LOOPBACK), found
    finally:
        job.terminate()
    status, output = end(job)
    assert status == 143 and "2 processes on cpu" in output, output


def test_processes_without_a_launcher_listen_on_the_loopback_alone(folder: Path) -> None:
    job = Job("train", *SMOKE, "run.dir=alone", "train.epochs=1000", "track.backends=[]", cwd=folder, processes=2)
    wait_until(lambda: reached(folder / "alone", 1), "the first step")
    pids = [process.pid or 0 for process in job.processes]
    found = set().union(*(listening(pid) for pid in pids))
    job.signal(15)
    statuses, output = job.wait()
    assert found and found <= set(LOOPBACK), found
    assert statuses == [143, 143], output


def test_processes_that_the_doctor_starts_listen_on_the_loopback_alone(tmp_path: Path) -> None:
    job = begin([sys.executable, "-m", "pipeline", "doctor", "--processes", "2", "--only", "exact"], tmp_path)
    found: set[str] = set()
    while job.poll() is None:
        found |= listening(job.pid)
        time.sleep(0.2)
    end(job)
    assert found and found <= set(LOOPBACK), found
