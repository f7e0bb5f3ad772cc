"""However the tests of several hosts end, nothing of their hosts, of their SLURM and of their files is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.launching import ROOT, environment, wait_until

pytestmark = pytest.mark.slow
STANDING = "tests/cluster/hosts/standing.py"
MAKE = ("make", "-o", "setup", "-o", ".venv/installed", "cluster-test", f"ARGS=-s {STANDING}")
PYTEST = (sys.executable, "-m", "pytest", "-s", "-m", "slow", STANDING)
THERE = {"munged", "slurmctld", "slurmd", "slurmstepd", "sleep"}  # while they stand


def name(process: int) -> str:
    """What a process is called; empty if it is gone or dead."""
    with suppress(OSError):
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return Path(f"/proc/{process}/comm").read_text().strip() if state != "Z" else ""
    return ""


def came_of(process: int) -> Iterator[int]:
    """A process and all that came of it, as far as they live."""
    yield process
    with suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in thread.joinpath("children").read_text().split():
                yield from came_of(int(child))


def spaces(process: int) -> set[str]:
    """The namespaces that a process is in."""
    found = set[str]()
    for kind in ("net", "mnt", "uts", "pid"):
        with suppress(OSError):
            found.add(str(Path(f"/proc/{process}/ns/{kind}").readlink()))
    return found


def inhabited() -> set[str]:
    """All namespaces in which a process lives."""
    return set[str]().union(*(spaces(int(path.name)) for path in Path("/proc").glob("[0-9]*") if name(int(path.name))))


def around() -> dict[str, set[str]]:
    """What outlives processes: network devices, bridges among them, named namespaces and mounts."""
    named = Path("/run/netns")
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    devices = {path.name for path in Path("/sys/class/net").iterdir()}
    return {"devices": devices, "named": {path.name for path in named.iterdir()} if named.exists() else set(), "mounts": mounts}


@pytest.fixture
def folder() -> Iterator[Path]:
    """For temporary files; its path is short, as that of a socket has to be."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "t").mkdir()
        yield Path(folder) / "t"


@contextmanager
def standing(command: tuple[str, ...], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The tests, once two hosts and a SLURM with a running job stand."""
    output = folder.with_suffix(".txt")
    with output.open("wb") as file:
        job = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(TMPDIR=str(folder)),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: "they stand" in output.read_text() or job.poll() is not None, "a SLURM on two hosts")
        assert job.poll() is None, output.read_text()
        yield job
    finally:
        with suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
        job.wait()


def one_called(word: str, job: subprocess.Popen[bytes]) -> int:
    """The first process of a job whose command line has a word."""
    lines = {process: Path(f"/proc/{process}/cmdline").read_bytes().decode() for process in came_of(job.pid)}
    return next(process for process, line in lines.items() if word in line.split("\0"))


@pytest.mark.parametrize(
    ("command", "victim", "number"),
    [
        (MAKE, "make", signal.SIGKILL),
        (MAKE, "make", signal.SIGTERM),
        (MAKE, "all", signal.SIGINT),  # Ctrl-C
        (MAKE, "tests.cluster.hosts", signal.SIGKILL),
        (MAKE, "pytest", signal.SIGKILL),
        (PYTEST, "pytest", signal.SIGKILL),
    ],
    ids=["make killed", "make told to end", "ctrl-c", "what make starts killed", "pytest killed", "pytest alone killed"],
)
def test_nothing_is_left(folder: Path, command: tuple[str, ...], victim: str, number: signal.Signals) -> None:
    before = around()
    with standing(command, folder) as job:
        processes = list(came_of(job.pid))
        own = set[str]().union(*map(spaces, processes)) - spaces(os.getpid())
        assert {name(process) for process in processes} >= THERE
        assert len([space for space in own if space.startswith("net:")]) == 2, own
        if victim == "all":
            os.killpg(job.pid, number)
        else:
            os.kill(one_called(victim, job), number)
        wait_until(lambda: not any(map(name, processes)), f"the end of {sorted({*map(name, processes)})}")
        assert not own & inhabited()
        assert around() == before
        if command == MAKE:  # pytest alone keeps the folders of its last three calls
            wait_until(lambda: not list(folder.iterdir()), "the folder to go")
