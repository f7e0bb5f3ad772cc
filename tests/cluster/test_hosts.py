"""Two hosts whose names lead nowhere: they meet by address, and a run on them is that of one process, bit for bit."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts import Host, launch_on, two_hosts
from tests.support.launching import ROOT, reached, succeed, wait_until, weights

SMOKE = ("train", "--config", str(ROOT / "configs/smoke.yaml"), "train.gradient_shards=4", "track.backends=[]")
LONG = ("train.epochs=40", "train.checkpoint_every=20", "run.timeout=10")
IN_TIME = 5 + 15 + 20  # run.join_timeout, what is promised beyond it, and the start of Python on a busy machine
C10D = {"options": "--rdzv_backend c10d --rdzv_conf is_host={first}", "PET_LOCAL_ADDR": "{address}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared data and two runs of a single process."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", *SMOKE[1:3], cwd=folder)
    succeed(*SMOKE, "run.dir=alone", cwd=folder)
    succeed(*SMOKE, *LONG, "run.dir=long", cwd=folder)
    return folder


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts, each of whose names leads to 127.0.1.1 there and nowhere elsewhere."""
    with two_hosts(tmp_path) as pair:
        yield pair


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("rendezvous", ["static", "c10d"])
def test_two_hosts_with_bad_names_give_the_weights_of_one_process(
    folder: Path, hosts: tuple[Host, Host], processes: int, rendezvous: str
) -> None:
    name, more = f"{rendezvous}{processes}", C10D if rendezvous == "c10d" else {}
    job = launch_on(hosts, folder, *SMOKE, f"run.dir={name}", "run.join_timeout=30", processes=processes, **more)
    assert job.wait() == [0, 0], job.said()
    assert weights(folder / name) == weights(folder / "alone")


@pytest.mark.slow
def test_the_doctor_looks_at_both_hosts(folder: Path, hosts: tuple[Host, Host]) -> None:
    only = [word for name in ("hosts", "product", "disk", "exact", "all_reduce") for word in ("--only", name)]
    job = launch_on(hosts, folder, "doctor", *SMOKE[1:3], *only, processes=2)
    assert job.wait() == [0, 0], job.said()
    assert "2 processes on 2 hosts: the same program and data" in job.said() and "3 promises hold, 0 FAIL" in job.said()
    assert all(f"host {host.name}: " in job.said() for host in hosts), "the disk is seen from each"


def alone_on(host: Host, folder: Path, ranks: range, **more: str) -> tuple[list[int], str, float]:
    """Some of four processes on a host, with no launcher, as SLURM starts them, and nobody elsewhere: exit statuses, what was
    printed, and how many seconds the last one took."""
    where = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29518", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"} | more
    began, said = time.monotonic(), folder / "lonely.txt"
    said.unlink(missing_ok=True)
    command = (sys.executable, "-m", "pipeline", *SMOKE, "run.dir=lonely", "run.join_timeout=5")
    jobs = [host.start(said, *command, cwd=folder, RANK=str(rank), LOCAL_RANK=str(rank % 2), **where) for rank in ranks]
    return [job.wait(60) for job in jobs], said.read_text(), time.monotonic() - began


@pytest.mark.slow
def test_a_host_that_never_comes_is_named_in_time(folder: Path, hosts: tuple[Host, Host]) -> None:
    slurm = {"SLURM_STEP_NODELIST": "n[0-1]", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"}
    statuses, said, seconds = alone_on(hosts[0], folder, range(2), **slurm)
    assert statuses == [1, 1] and seconds < IN_TIME, said
    for rank in range(2):
        who = "processes 2 to 3 of host n1 did not arrive; "
        assert f"process {rank} did not find the others within run.join_timeout = 5 s: {who}" in said, said
    assert "Traceback" not in said and not (folder / "lonely").exists()


@pytest.mark.slow
def test_a_main_process_that_never_comes_is_named_in_time(folder: Path, hosts: tuple[Host, Host]) -> None:
    statuses, said, seconds = alone_on(hosts[1], folder, range(2, 4))
    assert statuses == [1, 1] and seconds < IN_TIME, said
    assert said.count("process 0 does not answer at MASTER_ADDR = 10.0.0.1, port 29518") == 2, said
    assert "Traceback" not in said and not (folder / "lonely").exists()


@pytest.mark.slow
@pytest.mark.parametrize("rendezvous", ["static", "c10d"])
def test_a_worker_that_dies_is_started_again_on_two_hosts_and_the_run_resumes(
    folder: Path, hosts: tuple[Host, Host], rendezvous: str
) -> None:
    name, more = f"again_{rendezvous}", dict(C10D) if rendezvous == "c10d" else {}
    more["options"] = f"{more.get('options', '')} --max_restarts 2 --monitor_interval 1"
    job = launch_on(hosts, folder, *SMOKE, *LONG, f"run.dir={name}", "run.join_timeout=30", **more)
    wait_until(lambda: job.ended() or reached(folder / name, 100), "step 100")
    hosts[1].signal(9, hosts[1].workers()[:1])
    assert job.wait() == [0, 0], job.said()
    assert "resuming after step" in job.said()
    assert weights(folder / name) == weights(folder / "long")


@pytest.mark.slow
def test_the_command_of_the_docs_is_run_word_for_word(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    page = (ROOT / "docs/distributed.md").read_text().split("## Several machines")[1]
    command = page.split("```bash\n")[1].split("```")[0]
    assert "--machine_rank 0" in command and f"--main_process_ip {hosts[0].address}" in command
    for name in (".venv", "launch", "configs", "pipeline"):
        (tmp_path / name).symlink_to(ROOT / name)
    files = [tmp_path / f"{host.name}.txt" for host in hosts]
    typed = [command, command.replace("--machine_rank 0", "--machine_rank 1")]
    jobs = [host.start(file, "bash", "-c", words, cwd=tmp_path) for host, file, words in zip(hosts, files, typed, strict=True)]
    said = [(job.wait(100), file.read_text()) for job, file in zip(jobs, files, strict=True)]
    assert [status for status, _ in said] == [0, 0], said
    assert "4 processes on cpu" in said[0][1] and "finished at step" in said[0][1]
    assert (tmp_path / "runs/digits/checkpoints/finished.json").exists()


@pytest.mark.slow
def test_a_run_folder_that_appears_late_on_a_host_is_waited_for(folder: Path, hosts: tuple[Host, Host]) -> None:
    """Host 1 sees an empty disk over that of the runs for a while, as one whose network disk remembers what was there."""
    runs = folder / "late"
    runs.mkdir()
    subprocess.run(hosts[1].inside("mount", "-t", "tmpfs", "none", str(runs)), check=True)
    job = launch_on(hosts, folder, *SMOKE, "run.dir=late/run", "run.join_timeout=30")
    wait_until(lambda: job.ended() or (runs / "run/config.yaml").exists(), "the run to begin")
    time.sleep(3)
    assert not job.ended(), job.said()
    subprocess.run(hosts[1].inside("umount", "--lazy", str(runs)), check=True)
    assert job.wait() == [0, 0], job.said()
    assert weights(runs / "run") == weights(folder / "alone")


@pytest.mark.slow
def test_data_is_staged_once_a_host_and_compared(folder: Path, hosts: tuple[Host, Host]) -> None:
    """Each host has a disk of its own at the same path."""
    stage = folder / "stage"
    stage.mkdir()
    for host in hosts:
        subprocess.run(host.inside("mount", "-t", "tmpfs", "none", str(stage)), check=True)
    job = launch_on(hosts, folder, *SMOKE, "run.dir=staged", f"data.stage={stage}", processes=4)
    assert job.wait() == [0, 0], job.said()
    assert weights(folder / "staged") == weights(folder / "alone")
    for host in hosts:
        listing = subprocess.run(host.inside("ls", str(stage)), check=True, capture_output=True, text=True).stdout.split()
        assert len(listing) == 1 and listing[0].startswith("digits-"), listing
    assert not list(stage.iterdir()), "nothing on the disk that both share"
