"""A lock knows who holds it, also where the disk has none, and the next attempt of a job takes it over."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.distributed.lock import Busy, Holder, held

HOLD = """
import sys
from pathlib import Path
from pipeline.distributed.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["flock", "no flock"])
def disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A disk with the kernel's locks, and one without."""

    def refused(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    if request.param == "no flock":
        monkeypatch.setattr(fcntl, "flock", refused)
    return str(request.param)


def holder(path: Path, **more: str) -> subprocess.Popen[str]:
    """Another process that holds a lock on a disk of the kind that this test has."""
    without = "import errno, fcntl\ndef refused(*_):\n    raise OSError(errno.ENOSYS, '')\nfcntl.flock = refused\n"
    program = (without if fcntl.flock.__name__ == "refused" else "") + HOLD
    environment = os.environ | more
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdin=pipe, stdout=pipe, text=True, env=environment)
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def test_who_holds_it_is_said_with_the_file_and_one_who_was_killed_holds_nothing(disk: str, tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    other = holder(path, SLURM_JOB_ID="17")
    with pytest.raises(Busy, match=rf"process {other.pid} of host .*, SLURM_JOB_ID 17 holds {path}"), held(path):
        pass
    other.kill()
    other.wait()
    with held(path):
        pass
    assert not path.read_text() and [file.name for file in tmp_path.iterdir()] == [".lock"]


def lost(path: Path, job: str) -> None:
    """What the process of a job left on a disk without locks when its host died."""
    elsewhere = Holder(host="n1", boot="another", process=5, began=7, job=job)
    path.with_name(f"{path.name}.json").write_text(elsewhere.model_dump_json())


@pytest.mark.parametrize("disk", ["no flock"], indirect=True)
def test_the_next_attempt_of_a_job_takes_over_and_another_job_does_not(
    disk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".lock"
    lost(path, "SLURM_JOB_ID 17")
    for own in ("", "18"):
        monkeypatch.setenv("SLURM_JOB_ID", own)
        with pytest.raises(Busy, match=rf"process 5 of host n1, SLURM_JOB_ID 17 holds {path}\.json"), held(path):
            pass
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with held(path):
        said = json.loads(path.with_name(".lock.json").read_text())
        assert (said["process"], said["job"]) == (os.getpid(), "SLURM_JOB_ID 17")
    assert not path.with_name(".lock.json").exists()


@pytest.mark.parametrize("disk", ["no flock"], indirect=True)
def test_a_process_that_lives_is_not_robbed_by_its_own_job(disk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    other = holder(tmp_path / ".lock")
    with pytest.raises(Busy), held(tmp_path / ".lock"):
        pass
    other.kill()
    other.wait()


@pytest.mark.skipif(not shutil.which("strace"), reason="NOT TESTED: a disk without locks needs strace (apt-get install strace)")
def test_a_disk_that_really_refuses_locks_holds_one_writer(tmp_path: Path) -> None:
    command = ["strace", "-f", "-qq", "-e", "trace=flock", "-e", "inject=flock:error=ENOSYS", sys.executable, "-c", HOLD]
    pipe = subprocess.PIPE
    jobs = [subprocess.Popen([*command, str(tmp_path / ".lock")], stdin=pipe, stdout=pipe, stderr=pipe, text=True)]
    assert jobs[0].stdout and jobs[0].stdout.readline() == "held\n"
    second = subprocess.run([*command, str(tmp_path / ".lock")], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert second.returncode and "pipeline.distributed.lock.Busy: process " in second.stderr, second.stderr
    _, errors = jobs[0].communicate("")
    assert jobs[0].returncode == 0 and "Traceback" not in errors
