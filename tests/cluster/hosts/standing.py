"""No test of its own: two hosts with a SLURM that runs a job, standing until they are ended (test_endings)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.hosts import two_hosts
from tests.support.slurm import Slurm, wait_for

pytestmark = pytest.mark.slow


def test_they_stand(tmp_path: Path) -> None:
    (tmp_path / "slurm").mkdir()
    with two_hosts(tmp_path) as hosts:
        slurm = Slurm(hosts, tmp_path / "slurm")
        slurm.submit("--nodes=2", "--wrap", "srun bash -c 'touch task.$SLURM_PROCID; exec sleep 3600'")
        wait_for(lambda: len(list(tmp_path.glob("task.*"))) == 2, "both tasks of a job")
        print("they stand", flush=True)
        time.sleep(3600)
