"""launch/torchrun_elastic.sh as it is shipped: a machine comes, goes and comes again, and the run is that of one process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts import Host, two_hosts
from tests.support.launching import ROOT, losses, records, succeed, weights
from tests.support.slurm import wait_for

SCRIPT = str(ROOT / "launch/torchrun_elastic.sh")
SMOKE = ("--config", str(ROOT / "configs/smoke.yaml"), "train.gradient_shards=4", "model.hidden=48", "train.epochs=300")
LONG = (*SMOKE, "train.log_every=1", "train.checkpoint_every=100", "train.evaluate_every=1000", "run.timeout=20")


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts, each of whose names leads to 127.0.1.1 there and nowhere elsewhere."""
    with two_hosts(tmp_path) as pair:
        yield pair


class Elastic:
    """The script on two hosts, the first of which stays."""

    def __init__(self, hosts: tuple[Host, Host], folder: Path) -> None:
        self.hosts, self.folder, self.output = hosts, folder, folder / "host-0.txt"
        self.stays = self.join(0)

    def join(self, number: int) -> subprocess.Popen[bytes]:
        """Type it on a host."""
        head = f"{self.hosts[0].address}:29533"
        variables = {"PYTHON": sys.executable, "LAST_CALL": "3", "PROCESSES": "1"}
        command = (SCRIPT, "1:2", head, *LONG, "run.dir=elastic")
        return self.hosts[number].start(self.folder / f"host-{number}.txt", *command, cwd=self.folder, **variables)

    def until(self, attempts: list[int], further: int = 100) -> None:
        """Wait until the attempts so far had these numbers of processes and the last took some steps."""
        wait_for(lambda: self.ended() or self.attempts() == attempts, f"attempts of {attempts} processes: {self.said()}")
        before = self.step()
        wait_for(lambda: self.ended() or self.step() >= before + further, f"step {before + further}: {self.said()}")
        assert self.attempts() == attempts and not self.ended(), self.said()

    def attempts(self) -> list[int]:
        """The number of processes of each attempt so far."""
        heads = [line.split() for line in self.said().splitlines() if " on cpu: " in line and "parameters" in line]
        return [int(words[0]) for words in heads]

    def ended(self) -> bool:
        """Whether the host that stays has ended."""
        return self.stays.poll() is not None

    def step(self) -> int:
        """The last step that is recorded."""
        found = records(self.folder / "elastic")
        return int(found[-1]["step"]) if found else 0

    def said(self) -> str:
        """What the host that stays printed."""
        return self.output.read_text()


@pytest.mark.slow
def test_a_machine_that_comes_goes_and_comes_again_leaves_the_run_of_one_process(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    succeed("prepare", *SMOKE[:2], cwd=tmp_path)
    succeed("train", *LONG, "run.dir=alone", cwd=tmp_path)
    job = Elastic(hosts, tmp_path)
    job.until([1])
    guest = job.join(1)
    job.until([1, 2])
    hosts[1].signal(signal.SIGTERM, hosts[1].launchers())
    assert guest.wait(60) != 0
    job.until([1, 2, 1])
    job.join(1)
    job.until([1, 2, 1, 2])
    assert job.stays.wait(240) == 0, job.said()
    assert losses(tmp_path / "elastic") == losses(tmp_path / "alone"), "every step once, and in order"
    assert weights(tmp_path / "elastic")[:2] == weights(tmp_path / "alone")[:2]
