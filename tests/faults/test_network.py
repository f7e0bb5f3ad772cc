"""Two machines lose each other: both leave with an error in time, and the run goes on elsewhere.

The machines are two network namespaces joined by a pair of virtual Ethernet devices; the working folder is shared.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.launching import ROOT, environment, numbers, reached, succeed, wait_until, weights

SMOKE = str(ROOT / "configs/smoke.yaml")
TIMEOUT = 10  # run.timeout, the smallest that is allowed
LONG = ("train.epochs=40", "train.checkpoint_every=20", f"run.timeout={TIMEOUT}")


@dataclass(frozen=True)
class Machine:
    """A network namespace, its device and its address."""

    name: str
    device: str
    address: str

    def ip(self, *arguments: str) -> None:
        subprocess.run(["ip", "-n", self.name, *arguments], check=True, capture_output=True)

    def pids(self) -> list[str]:
        """The processes that live there."""
        return subprocess.run(["ip", "netns", "pids", self.name], check=True, capture_output=True, text=True).stdout.split()


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    """Two machines with a link between them and to nowhere else."""
    mark = f"{os.getpid():x}"
    one = Machine(f"pipeline-{mark}-0", f"pl{mark}a", "10.77.31.1")
    other = Machine(f"pipeline-{mark}-1", f"pl{mark}b", "10.77.31.2")
    pair = (one, other)
    try:
        try:
            for machine in pair:
                subprocess.run(["ip", "netns", "add", machine.name], check=True, capture_output=True)
            veth = ("type", "veth", "peer", "name", other.device, "netns", other.name)
            one.ip("link", "add", one.device, *veth)
            for machine in pair:
                machine.ip("address", "add", f"{machine.address}/24", "dev", machine.device)
                machine.ip("link", "set", machine.device, "up")
                machine.ip("link", "set", "lo", "up")
        except (FileNotFoundError, subprocess.CalledProcessError):
            pytest.skip("NOT TESTED: a network that is cut needs iproute2 (apt-get install iproute2), and root")
        yield pair
    finally:
        for machine in pair if shutil.which("ip") else ():
            if Path("/run/netns", machine.name).exists():
                for pid in machine.pids():
                    subprocess.run(["kill", "-9", pid], check=False, capture_output=True)
                subprocess.run(["ip", "netns", "delete", machine.name], check=False)


def start(machine: Machine, rank: int, main: Machine, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """``accelerate launch`` on a machine, as its user types it there; it prints to the file MACHINE.txt."""
    options = ("--num_processes", "2", "--machine_rank", str(rank), "--main_process_ip", main.address)
    launcher = ("-m", "accelerate.commands.launch", "--config_file", str(ROOT / "launch/multi_node.yaml"), *options)
    with (folder / f"{machine.name}.txt").open("wb") as output:
        return subprocess.Popen(
            ["ip", "netns", "exec", machine.name, sys.executable, *launcher, "-m", "pipeline", *arguments],
            cwd=folder,
            env=environment(ACCELERATE_USE_CPU="true", GLOO_SOCKET_IFNAME=machine.device, OMP_NUM_THREADS="1"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@pytest.mark.slow
def test_link_that_is_cut_ends_both_machines_with_an_error_in_time_and_the_run_resumes_on_one(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    succeed("prepare", "--config", SMOKE, cwd=tmp_path)
    arguments = ("train", "--config", SMOKE, "run.dir=cut", *LONG)
    jobs = [start(machine, rank, machines[0], tmp_path, *arguments) for rank, machine in enumerate(machines)]
    wait_until(lambda: reached(tmp_path / "cut", 50) or any(job.poll() for job in jobs), "step 50")
    said = [tmp_path / f"{machine.name}.txt" for machine in machines]
    assert [job.poll() for job in jobs] == [None, None], "\n".join(file.read_text() for file in said)
    machines[0].ip("link", "set", machines[0].device, "down")
    cut = time.monotonic()
    for job, file in zip(jobs, said, strict=True):
        status = job.wait(TIMEOUT + 35 - (time.monotonic() - cut))
        assert status not in (0, 2), file.read_text()
    assert time.monotonic() - cut < TIMEOUT + 35
    wait_until(lambda: not [pid for machine in machines for pid in machine.pids()], "the last process to go")
    for rank, file in enumerate(said):
        assert f"process {rank} lost the others" in file.read_text(), file.read_text()
        assert "pipeline/stages" not in file.read_text(), "no traceback of ours"
    assert not reached(tmp_path / "cut", 560), "it was cut before the end"
    assert "resuming after step" in succeed(*arguments, cwd=tmp_path, processes=2)
    succeed("train", "--config", SMOKE, "run.dir=alone", *LONG, cwd=tmp_path, processes=2)
    assert weights(tmp_path / "cut") == weights(tmp_path / "alone")
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "alone")
