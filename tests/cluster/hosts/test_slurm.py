"""launch/slurm.sbatch as it is shipped, under a real SLURM: whatever befalls a job, it ends with the weights of one process."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documented import checkout, commands
from tests.support.hosts import two_hosts
from tests.support.launching import ROOT, reached, succeed, weights
from tests.support.slurm import LIMIT, Batch, Slurm, script, wait_for

pytestmark = pytest.mark.slow
SMOKE = ("--config", str(ROOT / "configs/smoke.yaml"))
LONG = ("train.epochs=60", "train.log_every=10", "train.checkpoint_every=50", "train.evaluate_every=1000")
EXACT = (*SMOKE, *LONG, "run.timeout=20", "train.gradient_shards=4")
LONGER = (*EXACT, "train.epochs=300", "train.checkpoint_every=500")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared data and a run of one process that was left alone."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", *SMOKE, cwd=folder)
    succeed("train", *EXACT, "run.dir=alone", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def slurm(folder: Path) -> Iterator[Slurm]:
    """Two nodes on two hosts, whose names lead to 127.0.1.1 there and nowhere elsewhere."""
    (folder / "slurm").mkdir()
    with two_hosts(folder) as hosts:
        yield Slurm(hosts, folder / "slurm")


@pytest.fixture(scope="module")
def befallen(slurm: Slurm, folder: Path) -> dict[str, Batch]:
    """Jobs that run side by side, each of which something befell: much of what follows is waiting, and other jobs are tried
    meanwhile."""
    jobs = {name: slurm.submit(script(), *EXACT, f"run.dir={name}") for name in ("frozen", "killed", "warned", "ranks")}
    left = set(jobs)

    def all_struck() -> bool:
        for name in sorted(left):
            if reached(folder / name, 200):
                strike(slurm, jobs[name], name)
                left.remove(name)
        return not left

    began = time.monotonic()
    wait_for(all_struck, "step 200 of each")
    # one minute, of which half is left before the warning; more where this machine has so much to do that a start takes longer
    minutes = 1 + int((time.monotonic() - began) / 60)
    jobs["limited"] = slurm.submit(f"--time={minutes}", "--signal=B:USR1@30", script(), *LONGER, "run.dir=limited")
    jobs["long"] = slurm.submit("--nodes=1", script(), *LONGER, "run.dir=long")  # one process, and all the time it needs
    return jobs


def strike(slurm: Slurm, job: Batch, name: str) -> None:
    """What befalls the job of that name."""
    if name in ("frozen", "killed"):
        slurm.hosts[1].signal(signal.SIGSTOP if name == "frozen" else signal.SIGKILL, job.tasks(1, name))
    else:
        job.signal(*["--batch"] * (name == "warned"), "--signal=USR1")


def begun(slurm: Slurm, folder: Path, name: str) -> Batch:
    """A job that has come to step 200."""
    job = slurm.submit(script(), *EXACT, f"run.dir={name}")
    wait_for(lambda: reached(folder / name, 200) or job.fact("JobState") == "FAILED", f"step 200 of {name}")
    return job


def assert_as_if_left_alone(job: Batch, folder: Path, name: str) -> None:
    assert job.wait_for() == "COMPLETED", job.said()
    assert weights(folder / name)[:2] == weights(folder / "alone")[:2], job.said()


def test_two_ranks_on_each_of_two_nodes_give_the_weights_of_one_process(slurm: Slurm, folder: Path) -> None:
    job = slurm.submit("--ntasks-per-node=2", script(), *EXACT, "run.dir=exact")
    assert_as_if_left_alone(job, folder, "exact")
    assert f"4 tasks on n[0-1], {slurm.hosts[0].address}:" in job.said() and "4 processes on cpu" in job.said()
    assert sorted(path.name for path in folder.glob(f"slurm-pipeline-{job.number}.ranks/*")) == ["1.txt", "2.txt", "3.txt"]


def test_a_job_that_is_cancelled_saves_and_is_not_requeued(slurm: Slurm, folder: Path, befallen: dict[str, Batch]) -> None:
    job = begun(slurm, folder, "cancelled")
    job.signal()
    assert job.wait_for() == "CANCELLED"
    wait_for(lambda: "saved after step" in job.said(), "the save")
    assert job.fact("Restarts") == "0" and "== requeued" not in job.said()


def test_a_warning_in_the_first_second_requeues_too(slurm: Slurm, folder: Path) -> None:
    job = slurm.submit(script(), *EXACT, "run.dir=early")
    wait_for(job.hears, "the script")
    job.signal("--batch", "--signal=USR1")
    assert_as_if_left_alone(job, folder, "early")
    assert job.fact("Restarts") == "1", job.said()


def test_an_input_that_is_wrong_is_tried_once(slurm: Slurm) -> None:
    job = slurm.submit(script(), *SMOKE, "train.batch=-1")
    assert job.wait_for() == "FAILED" and job.fact("ExitCode") == "2:0", job.said()
    assert " try 1: " in job.said() and " try 2: " not in job.said() and "train.batch" in job.said()


def test_an_error_that_will_come_again_is_tried_once(slurm: Slurm) -> None:
    job = slurm.submit("--nodes=1", script(), *SMOKE, "run.dir=infinite", "optim.name=sgd", "optim.lr=1e38")
    assert job.wait_for() == "FAILED" and job.fact("ExitCode") == "3:0", job.said()
    assert " try 1: " in job.said() and " try 2: " not in job.said() and "not finite" in job.said()


def program(folder: Path, does: str) -> str:
    """A program in the place of the interpreter."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{does}\nexit 143\n")
    file.chmod(0o755)
    return str(file)


def test_a_job_that_comes_no_further_is_not_requeued_for_ever(slurm: Slurm, tmp_path: Path) -> None:
    job = slurm.submit(script(), *SMOKE, PYTHON=program(tmp_path, ""))
    assert job.wait_for() == "FAILED" and job.fact("Restarts") == "1", job.said()
    assert "two attempts in a row have saved nothing" in job.said()


def test_a_job_is_requeued_as_often_as_it_may_be(slurm: Slurm, tmp_path: Path) -> None:
    further = f"echo x >> {tmp_path}/attempts; echo saved after step $(wc -l < {tmp_path}/attempts)"
    job = slurm.submit("--nodes=1", script(), *SMOKE, PYTHON=program(tmp_path, further), MAX_REQUEUES="2")
    assert job.wait_for() == "FAILED" and job.fact("Restarts") == "2", job.said()
    assert "== requeued at step 2" in job.said() and "MAX_REQUEUES = 2 are used up" in job.said()


def test_the_warning_before_the_end_saves_and_requeues(folder: Path, befallen: dict[str, Batch]) -> None:
    assert_as_if_left_alone(befallen["warned"], folder, "warned")
    assert befallen["warned"].fact("Restarts") == "1" and "resuming after step" in befallen["warned"].said()


def test_a_signal_to_the_ranks_alone_saves_and_requeues(folder: Path, befallen: dict[str, Batch]) -> None:
    assert_as_if_left_alone(befallen["ranks"], folder, "ranks")
    assert befallen["ranks"].fact("Restarts") == "1" and "resuming after step" in befallen["ranks"].said()


def test_a_rank_that_is_killed_is_started_again_in_the_same_allocation(folder: Path, befallen: dict[str, Batch]) -> None:
    assert_as_if_left_alone(befallen["killed"], folder, "killed")
    assert befallen["killed"].fact("Restarts") == "0" and " try 2: " in befallen["killed"].said()


def test_a_rank_that_is_frozen_is_ended_and_started_again(folder: Path, befallen: dict[str, Batch]) -> None:
    assert_as_if_left_alone(befallen["frozen"], folder, "frozen")
    assert befallen["frozen"].fact("Restarts") == "0" and " try 2: " in befallen["frozen"].said()
    assert (folder / "frozen/stacks/0.txt").exists()


def test_a_run_that_is_longer_than_its_time_limit_comes_to_its_end(folder: Path, befallen: dict[str, Batch]) -> None:
    job, single = befallen["limited"], befallen["long"]
    assert [one.wait_for(limit=2 * LIMIT) for one in (job, single)] == ["COMPLETED"] * 2, job.said()
    assert int(job.fact("Restarts")) >= 1, job.said()
    assert weights(folder / "limited")[:2] == weights(folder / "long")[:2], job.said()


def test_a_node_that_is_lost_comes_back_to_the_same_run(slurm: Slurm, folder: Path) -> None:
    job = begun(slurm, folder, "lost")
    slurm.node_lost()
    job.wait_for("PENDING")
    slurm.node_up(1)
    assert_as_if_left_alone(job, folder, "lost")
    assert job.fact("Restarts") == "1" and "resuming after step" in job.said(), job.said()


def test_a_job_that_is_preempted_saves_and_comes_back(slurm: Slurm, folder: Path) -> None:
    job = begun(slurm, folder, "preempted")
    urgent = slurm.submit("--partition=urgent", "--nodes=2", "--ntasks-per-node=8", "--wrap", "sleep 1")
    assert_as_if_left_alone(job, folder, "preempted")
    assert urgent.wait_for() == "COMPLETED" and int(job.fact("Restarts")) >= 1, job.said()
    assert "saved after step" in job.said()


def test_the_commands_of_the_docs_are_submitted_word_for_word(slurm: Slurm, folder: Path) -> None:
    """Of two lines, of which the second is the first with a variable before it, the second."""
    typed = sorted((command for command in commands() if "sbatch" in command), key=len)
    assert [typed[-1].endswith(command) for command in typed] == [True, True], typed
    checkout(folder)
    job = slurm.typed(typed[-1])
    assert job.wait_for() == "COMPLETED", job.said()
    assert "4 tasks on n[0-1]" in job.said() and "4 processes on cpu" in job.said() and "finished at step" in job.said()
    assert "4 processes on 2 hosts: the same program and data" in job.said(), job.said()


def test_hosts_that_differ_are_named_before_anything_is_trained(slurm: Slurm, folder: Path) -> None:
    (folder / "faults").mkdir()
    other = "import importlib.metadata as m, os\nif os.environ.get('RANK') == '1': m.version = lambda name: '0.0.1'\n"
    (folder / "faults/sitecustomize.py").write_text(other)
    odd = slurm.submit(script(), *EXACT, "run.dir=odd", DOCTOR="1", PYTHONPATH=f"{folder}/faults:{ROOT}")
    assert (odd.wait_for(), odd.fact("ExitCode")) == ("FAILED", "2:0"), odd.said()
    assert f"process 1 (host {slurm.hosts[1].name}) has another version of numpy" in odd.said()
    assert not (folder / "odd").exists()
