"""Two hosts lose each other: the others say so in time, and the run goes on from its last checkpoint to the same end."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.cluster.hosts.conftest import LONG, SMOKE
from tests.support.hosts import Host, Launch, typed_on
from tests.support.launching import reached, records, succeed, wait_until, weights

pytestmark = pytest.mark.slow
Hosts = tuple[Host, Host]


def begun(hosts: Hosts, folder: Path, name: str, processes: int = 2, **more: str) -> Launch:
    """A run on two hosts that has come to step 100 of 560."""
    job = typed_on(hosts, folder, *SMOKE, *LONG, f"run.dir={name}", "run.join_timeout=60", processes=processes, **more)
    wait_until(lambda: job.ended() or reached(folder / name, 100), "step 100")
    assert not job.ended(), job.said()
    return job


def assert_it_goes_on_to_the_same_end(folder: Path, name: str) -> None:
    """A checkpoint was kept, and one process alone goes on from it to the weights of a run that was left alone."""
    assert not reached(folder / name, 560), "it ended before anything befell it"
    assert "resuming after step" in succeed(*SMOKE, *LONG, f"run.dir={name}", cwd=folder)
    assert weights(folder / name) == weights(folder / "long")


def test_a_process_that_is_killed_is_missed_on_the_other_host(folder: Path, hosts: Hosts) -> None:
    job = begun(hosts, folder, "worker")
    hosts[1].signal(signal.SIGKILL, hosts[1].workers())
    assert job.wait() == [1, -signal.SIGKILL], job.said()
    assert "process 0 lost the others" in job.said() and "the same command goes on from the last checkpoint" in job.said()
    assert_it_goes_on_to_the_same_end(folder, "worker")


def test_a_host_that_is_lost_is_missed_on_the_other(folder: Path, hosts: Hosts) -> None:
    job = begun(hosts, folder, "host")
    hosts[1].kill()
    assert job.jobs[0].wait(150) == 1 and "process 0 lost the others" in job.said(), job.said()
    assert_it_goes_on_to_the_same_end(folder, "host")


def test_processes_whose_launcher_is_killed_save_on_all_hosts(folder: Path, hosts: Hosts) -> None:
    job = begun(hosts, folder, "launcher", processes=4)
    hosts[1].signal(signal.SIGKILL, hosts[1].workers()[:1])  # the oldest of them has started the others
    assert job.jobs[0].wait(150) == 143, job.said()
    assert "stopped, as its launcher died, and saved after step" in job.said(), job.said()
    wait_until(lambda: not hosts[1].workers(), "the processes of the other host to leave")
    assert_it_goes_on_to_the_same_end(folder, "launcher")


def test_a_signal_on_one_host_saves_on_all_and_each_says_so_by_its_status(folder: Path, hosts: Hosts) -> None:
    job = begun(hosts, folder, "told", processes=4)
    hosts[1].signal(signal.SIGTERM, hosts[1].workers()[:1])
    assert job.wait() == [143, 143], job.said()
    assert job.said().count("stopped by SIGTERM and saved after step") == 2, f"once on each host: {job.said()}"
    assert_it_goes_on_to_the_same_end(folder, "told")


def test_a_link_that_is_cut_for_three_seconds_changes_nothing(folder: Path, hosts: Hosts) -> None:
    job = begun(hosts, folder, "flicker")
    hosts[0].link("down")
    before = records(folder / "flicker")[-1]["step"]
    time.sleep(3)
    assert records(folder / "flicker")[-1]["step"] <= before + 2, "it was cut"
    hosts[0].link("up")
    assert job.wait() == [0, 0], job.said()
    assert weights(folder / "flicker") == weights(folder / "long")


def test_a_link_that_stays_cut_ends_both_hosts_with_a_message_and_a_checkpoint(folder: Path, hosts: Hosts) -> None:
    job = begun(hosts, folder, "cut")
    hosts[0].link("down")
    cut = time.monotonic()
    assert job.wait(10 + 35) == [1, 1], job.said()
    assert time.monotonic() - cut > 3
    for number in range(2):
        assert f"process {number} lost the others: one of them died, hangs for more than run.timeout = 10 s" in job.said()
    assert "Traceback" not in job.said()
    assert_it_goes_on_to_the_same_end(folder, "cut")


def test_a_process_that_hangs_on_a_host_is_ended_and_all_have_left_their_stacks(folder: Path, hosts: Hosts) -> None:
    job = begun(hosts, folder, "stuck", program="tests.support.faults", INJECTED_FAULT="hang@1:120")
    assert job.wait() == [1, 1], job.said()
    assert "process 0 lost the others" in job.said() and f"process 1 on {hosts[1].name} has taken no step for" in job.said()
    assert "in _strike" in (folder / "stuck/stacks/1.txt").read_text()
    assert "in _strike" not in (folder / "stuck/stacks/0.txt").read_text()
    assert_it_goes_on_to_the_same_end(folder, "stuck")
