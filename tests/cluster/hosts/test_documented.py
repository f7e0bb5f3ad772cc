"""The commands that the documentation shows for several machines, word for word on two hosts whose names lead nowhere."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.support.documented import checkout, commands
from tests.support.hosts import Host

pytestmark = pytest.mark.slow
TYPED = [command for command in commands() if "sbatch" not in command]  # those of SLURM: test_slurm.py
OWN = [command for command in TYPED if "--machine 0/2" in command and " train " in command]
TIMEOUT = 5  # run.join_timeout, the smallest that is allowed
BEYOND = 15  # seconds, that are promised


def on(number: int, command: str) -> str:
    """The command as it is typed on a machine."""
    return command.replace("--machine 0/2", f"--machine {number}/2").replace("--machine_rank 0", f"--machine_rank {number}")


def test_there_is_one_for_each_way_to_start() -> None:
    kinds = (
        "pipeline train",
        "accelerate launch",
        "pipeline doctor",
        "launch/torchrun_elastic.sh",
        "sbatch",
        "DOCTOR=1 sbatch",
    )
    assert [kind for kind in kinds if not any(kind in command for command in commands())] == []
    assert len(OWN) == 1 and len(commands()) >= len(kinds)


@pytest.mark.parametrize("command", TYPED)
def test_a_command_of_the_docs_is_run_word_for_word(hosts: tuple[Host, Host], tmp_path: Path, command: str) -> None:
    assert hosts[0].address in command
    place, files = checkout(tmp_path), [tmp_path / f"{host.name}.txt" for host in hosts]
    typed = [
        host.start(file, "bash", "-c", on(at, command), cwd=place)
        for at, (host, file) in enumerate(zip(hosts, files, strict=True))
    ]
    said = [(job.wait(200), file.read_text()) for job, file in zip(typed, files, strict=True)]
    assert [status for status, _ in said] == [0, 0], said
    if " doctor " in command:
        assert "4 processes on 2 hosts: the same program and data" in said[0][1] and "0 FAIL" in said[0][1], said
        return
    together = f"{2 if 'elastic' in command else 4} processes on cpu"
    assert sum(f"{together}: " in text and "finished at step" in text for _, text in said) == 1, said
    assert (place / "runs/digits/checkpoints/finished.json").exists()


def start_of(host: Host, folder: Path) -> float:
    """Seconds that a process takes to start there, as much as this machine has to do now."""
    began = time.monotonic()
    host.start(folder / "start.txt", sys.executable, "-c", "import torch, accelerate, pipeline.stages.train", cwd=folder).wait(
        200
    )
    return time.monotonic() - began


@pytest.mark.parametrize("command", OWN)
@pytest.mark.parametrize(
    ("here", "who"),
    [
        (0, "processes 2 to 3 of machine 1 did not arrive"),
        (1, "process 0 does not answer at MASTER_ADDR = 10.0.0.1, port 29500"),
    ],
)
def test_a_host_that_never_comes_is_named_within_15_seconds_of_the_limit(
    hosts: tuple[Host, Host], tmp_path: Path, command: str, here: int, who: str
) -> None:
    place, file = checkout(tmp_path), tmp_path / "said.txt"
    # the launcher starts, then two processes side by side, and one more start for good measure
    starts, began = 4 * start_of(hosts[here], tmp_path), time.monotonic()
    status = hosts[here].start(file, "bash", "-c", f"{on(here, command)} run.join_timeout={TIMEOUT}", cwd=place).wait(200)
    seconds, said = time.monotonic() - began, file.read_text()
    assert status == 1 and seconds < TIMEOUT + BEYOND + starts, (seconds, starts, said)
    assert said.count("did not find the others within run.join_timeout = 5 s: " + who) >= 1 and "Traceback" not in said, said
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("kind", "before", "after", "says"),
    [
        ("accelerate launch", "timeout=300", f"timeout={TIMEOUT}", "1/2 clients joined"),
        (
            "torchrun_elastic.sh",
            "launch/torchrun_elastic.sh 1:2",
            f"JOIN_TIMEOUT={TIMEOUT} launch/torchrun_elastic.sh 2:2",
            "RendezvousTimeoutError",
        ),
    ],
)
def test_launchers_of_others_say_themselves_that_a_host_never_came(
    hosts: tuple[Host, Host], tmp_path: Path, kind: str, before: str, after: str, says: str
) -> None:
    """They wait before any process of this program is there."""
    command = next(command for command in TYPED if kind in command).replace(before, after)
    place, file = checkout(tmp_path), tmp_path / "said.txt"
    starts, began = 4 * start_of(hosts[0], tmp_path), time.monotonic()
    assert hosts[0].start(file, "bash", "-c", command, cwd=place).wait(200) == 1
    assert says in file.read_text(), file.read_text()
    assert time.monotonic() - began < TIMEOUT + BEYOND + starts
