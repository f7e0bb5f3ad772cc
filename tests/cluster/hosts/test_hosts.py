"""Two hosts whose names lead nowhere: they meet by address, and a run on them is that of one process, bit for bit."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.hosts.conftest import LONG, SMOKE
from tests.support.hosts import Host, launch_on, typed_on
from tests.support.launching import reached, wait_until, weights

pytestmark = pytest.mark.slow
C10D = {"options": "--rdzv_backend c10d --rdzv_conf is_host={first}", "PET_LOCAL_ADDR": "{address}"}


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("rendezvous", ["static", "c10d"])
def test_two_hosts_with_bad_names_give_the_weights_of_one_process(
    folder: Path, hosts: tuple[Host, Host], processes: int, rendezvous: str
) -> None:
    name, more = f"{rendezvous}{processes}", C10D if rendezvous == "c10d" else {}
    job = launch_on(hosts, folder, *SMOKE, f"run.dir={name}", "run.join_timeout=60", processes=processes, **more)
    assert job.wait() == [0, 0], job.said()
    assert weights(folder / name) == weights(folder / "alone")


def as_by_slurm(host: Host, folder: Path) -> tuple[list[int], str]:
    """The first two of four processes, on one host, started as SLURM starts them, and nobody on the other: exit statuses, and
    what was printed."""
    where = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29518", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    where |= {"SLURM_STEP_NODELIST": "n[0-1]", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"}
    command, said = (sys.executable, "-m", "pipeline", *SMOKE, "run.dir=lonely", "run.join_timeout=5"), folder / "lonely.txt"
    jobs = [host.start(said, *command, cwd=folder, RANK=str(rank), LOCAL_RANK=str(rank), **where) for rank in range(2)]
    return [job.wait(60) for job in jobs], said.read_text()


def test_a_node_that_never_comes_is_named(folder: Path, hosts: tuple[Host, Host]) -> None:
    statuses, said = as_by_slurm(hosts[0], folder)
    assert statuses == [1, 1], said
    for rank in range(2):
        who = "processes 2 to 3 of host n1 did not arrive; "
        assert f"process {rank} did not find the others within run.join_timeout = 5 s: {who}" in said, said
    assert "Traceback" not in said and not (folder / "lonely").exists()


def test_a_worker_that_dies_is_started_again_on_two_hosts_and_the_run_resumes(folder: Path, hosts: tuple[Host, Host]) -> None:
    """By ``c10d``, each of whose launchers counts its own restarts."""
    more = C10D | {"options": f"{C10D['options']} --max_restarts 2 --monitor_interval 1"}
    job = launch_on(hosts, folder, *SMOKE, *LONG, "run.dir=again", "run.join_timeout=60", **more)
    wait_until(lambda: job.ended() or reached(folder / "again", 100), "step 100")
    hosts[1].signal(9, hosts[1].workers()[:1])
    assert job.wait() == [0, 0], job.said()
    assert "resuming after step" in job.said()
    assert weights(folder / "again") == weights(folder / "long")


def test_a_run_folder_that_appears_late_on_a_host_is_waited_for(folder: Path, hosts: tuple[Host, Host]) -> None:
    """Host 1 sees an empty disk over that of the runs for a while, as one whose network disk remembers what was there."""
    runs = folder / "late"
    runs.mkdir()
    subprocess.run(hosts[1].inside("mount", "-t", "tmpfs", "none", str(runs)), check=True)
    job = typed_on(hosts, folder, *SMOKE, "run.dir=late/run", "run.join_timeout=60")
    wait_until(lambda: job.ended() or (runs / "run/config.yaml").exists(), "the run to begin")
    time.sleep(3)
    assert not job.ended(), job.said()
    subprocess.run(hosts[1].inside("umount", "--lazy", str(runs)), check=True)
    assert job.wait() == [0, 0], job.said()
    assert weights(runs / "run") == weights(folder / "alone")


def test_data_is_staged_once_a_host_and_compared(folder: Path, hosts: tuple[Host, Host]) -> None:
    """Each host has a disk of its own at the same path."""
    stage = folder / "stage"
    stage.mkdir()
    for host in hosts:
        subprocess.run(host.inside("mount", "-t", "tmpfs", "none", str(stage)), check=True)
    job = typed_on(hosts, folder, *SMOKE, "run.dir=staged", f"data.stage={stage}", processes=4)
    assert job.wait() == [0, 0], job.said()
    assert weights(folder / "staged") == weights(folder / "alone")
    for host in hosts:
        listing = subprocess.run(host.inside("ls", str(stage)), check=True, capture_output=True, text=True).stdout.split()
        assert len(listing) == 1 and listing[0].startswith("digits-"), listing
    assert not list(stage.iterdir()), "nothing on the disk that both share"
