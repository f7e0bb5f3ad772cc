"""A save that is killed or fails at any of its system calls costs nothing that was saved before; and test examples
that are training examples are found.

strace injects the faults, into the real system calls of a process that saves a checkpoint.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from accelerate import Accelerator

from pipeline.config import Data, Optim, Train
from pipeline.data.batches import Batches
from pipeline.data.preparation.folder import prepare
from pipeline.data.prepared import open_prepared
from pipeline.errors import UserError
from pipeline.run import checkpoints, marks, saving
from pipeline.training import loop
from pipeline.training.selection import Selection
from pipeline.training.state import State
from tests.support.launching import ROOT, Job, reached, succeed, wait_until
from tests.support.raw_files import examples, put, small_disk

FACTS = checkpoints.Facts(selection=Selection(), data="abc", processes=1)
# what changes a disk: bytes, names, and their way to it
WRITES = ("write", "pwrite64", "writev", "fsync", "fdatasync", "msync", "ftruncate", "fallocate", "openat", "open", "creat")
NAMES = ("rename", "renameat", "renameat2", "mkdir", "mkdirat", "unlink", "unlinkat", "rmdir", "symlink", "symlinkat")
CHANGES = (*WRITES, *NAMES, "chmod", "fchmod", "fchmodat")
SMOKE = str(ROOT / "configs/smoke.yaml")


@pytest.fixture(scope="module")
def strace(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program, if it may attach to a process here."""
    program = shutil.which("strace")
    if program:
        target = subprocess.Popen(["sleep", "60"])
        watch = subprocess.Popen([program, "-qq", "-p", str(target.pid)], stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                if traced(target.pid):
                    return program
                time.sleep(0.01)
        finally:
            target.kill()
            target.wait()
            watch.wait()
    pytest.skip(
        "NOT TESTED: kills and I/O errors at every system call of a save need strace (apt-get install strace), and root"
    )


def traced(pid: int) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()


@contextmanager
def attached(strace: str, pid: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """strace at a process and its threads, from the first line of the block on until it or the process ends."""
    watch = subprocess.Popen([strace, "-qq", "-f", "-p", str(pid), *options], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: traced(pid) or watch.poll() is not None, "strace to attach")
        assert watch.poll() is None, "strace could not attach"
        yield watch
    finally:
        watch.terminate()
        watch.wait(10)


@pytest.fixture
def trained(
    state: Callable[..., State], batches: Callable[..., Batches], accelerator: Accelerator
) -> Callable[[Path, int], None]:
    """``trained(folder, step)`` saves a small state as the checkpoint of a step, marks it as the best and keeps one."""
    train = Train(batch=8, epochs=1, ema=0.9)
    made = state(Optim(), train)
    for _ in loop.train(made, batches(16, 8), train, Optim(), 0):
        pass

    def save(folder: Path, step: int) -> None:
        made.step = step
        saving.save(folder, saving.snapshot(made, FACTS), 1)
        marks.mark(folder, "best", step)

    return save


@pytest.fixture
def two(trained: Callable[[Path, int], None], tmp_path: Path) -> Path:
    """Checkpoints 2, the best, and 3, the newest: the next save removes the latter."""
    folder = tmp_path / "two"
    trained(folder, 2)
    trained(folder, 3)
    marks.mark(folder, "best", 2)
    return folder


TRACED = 4_194_305  # above the largest process number there can be, so no parent's
SHOWS = ("-e", f"inject=getppid:retval={TRACED}")  # makes ``child`` go on, once strace really handles its system calls


def child(action: Callable[[], None]) -> tuple[multiprocessing.process.BaseProcess, Callable[[], bytes]]:
    """A process that waits until it is traced with SHOWS, does ``action``, and says how it ended.

    That a tracer is there (TracerPid) is not enough: until it has stopped the process for the first time, system calls
    go by unseen. Nor may it be there too early: multiprocessing opens /dev/null before it begins ``main``, and strace would
    take that for the first call of ``action``.
    """
    mine, its = os.pipe()

    def main() -> None:
        os.write(its, b"?")
        said = b"done"
        try:
            wait_until(lambda: os.getppid() == TRACED, "strace to handle system calls")
            action()
        except UserError as error:
            said = f"UserError: {error}".encode()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}".encode()
        os.write(its, said)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=main)
    process.start()
    os.close(its)
    assert os.read(mine, 1) == b"?", "the process has begun"

    def answer() -> bytes:
        said = os.read(mine, 65536)
        os.close(mine)
        return said

    return process, answer


def calls(strace: str, action: Callable[[], None], log: Path) -> list[tuple[str, int, str]]:
    """The changes to the disk that ``action`` makes: system call, which of its name (from 1), and its arguments."""
    process, answer = child(action)
    trace = "trace=getppid," + ",".join(f"?{name}" for name in CHANGES)  # strace changes only what it traces
    with attached(strace, process.pid or 0, *SHOWS, "-o", str(log), "-e", trace) as watch:
        assert answer() == b"done"
        process.join(60)
        watch.wait(60)
    found = []
    count: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        if match := re.match(r"(?:\d+ +)?(\w+)\((.*)", line):
            name, arguments = match.groups()
            if name == "getppid":
                continue
            count[name] += 1
            if not (name.startswith("open") and "O_RDONLY" in arguments):
                found.append((name, count[name], arguments))
    assert "done" in found[-1][2], "the last one is the answer and no change of the disk"
    return found[:-1]


def struck(strace: str, action: Callable[[], None], name: str, number: int, fault: str) -> tuple[int | None, bytes]:
    """Do ``action`` with a fault at one of its system calls: the exit status and what it said."""
    process, answer = child(action)
    with attached(strace, process.pid or 0, *SHOWS, "-o", os.devnull, "-e", f"inject={name}:{fault}:when={number}"):
        said = answer()
        process.join(60)
    return process.exitcode, said


def assert_whole(folder: Path) -> None:
    """There is a newest checkpoint and a best one, old or new, both complete, and nothing that must be skipped."""
    found, skipped = checkpoints.newest(folder)
    assert found is not None and found.step in (3, 4) and skipped == []
    assert marks.marked(folder, "best") is not None, "or another would be taken for the best"
    best = checkpoints.best(folder)
    assert best.step in (2, 4)
    assert found.step == 4 or best.step == 2, "what is not yet there is not marked as the best"


def assert_next_save_cleans_up(folder: Path, trained: Callable[[Path, int], None]) -> None:
    best = checkpoints.best(folder).folder.name  # the best one until the new one is marked, so it is kept
    trained(folder, 5)
    assert sorted(path.name for path in folder.iterdir()) == ["best.json", best, "step_00000005"]
    assert checkpoints.best(folder).step == 5


def test_a_save_writes_what_the_faults_below_strike(
    strace: str, trained: Callable[[Path, int], None], two: Path, tmp_path: Path
) -> None:
    found = calls(strace, lambda: trained(two, 4), tmp_path / "log")
    count = Counter(name for name, _, _ in found)
    assert count["write"] >= 5, "each of the five files"
    assert count["fsync"] >= 5 + 2 + 1, "each of them, the folder, the one around it, and the mark"
    assert count["rename"] >= 3, "the folder, the mark, the old checkpoint"
    assert count["unlink"] + count["unlinkat"] >= 5, "the old checkpoint"


def test_a_kill_at_every_system_call_of_a_save_leaves_a_whole_checkpoint_and_the_next_save_cleans_up(
    strace: str, trained: Callable[[Path, int], None], two: Path, tmp_path: Path
) -> None:
    shutil.copytree(two, tmp_path / "traced", symlinks=True)
    steps = set()
    for name, number, arguments in calls(strace, lambda: trained(tmp_path / "traced", 4), tmp_path / "log"):
        folder = tmp_path / f"{name}_{number}"
        shutil.copytree(two, folder, symlinks=True)
        status, _ = struck(strace, lambda folder=folder: trained(folder, 4), name, number, "signal=SIGKILL")
        assert status == -signal.SIGKILL, f"{name} number {number} ({arguments}) was not reached"
        assert_whole(folder)
        steps.add((checkpoints.newest(folder)[0].step, checkpoints.best(folder).step))
        assert_next_save_cleans_up(folder, trained)
        shutil.rmtree(folder)
    assert steps == {(3, 2), (4, 2), (4, 4)}, "kills before, between and after the two acts of a save"


@pytest.mark.parametrize(
    ("names", "error", "cause"),
    [
        (("write", "openat", "mkdir"), "ENOSPC", "the disk is full"),
        (("write", "fsync", "rename"), "EIO", "the disk reports an I/O error"),
        (("write",), "EDQUOT", "your quota there is used up"),
    ],
)
def test_an_error_at_any_system_call_of_a_save_is_one_message_and_leaves_the_old_checkpoint(
    strace: str,
    trained: Callable[[Path, int], None],
    two: Path,
    tmp_path: Path,
    names: tuple[str, ...],
    error: str,
    cause: str,
) -> None:
    shutil.copytree(two, tmp_path / "traced", symlinks=True)
    tried = Counter()
    for name, number, arguments in calls(strace, lambda: trained(tmp_path / "traced", 4), tmp_path / "log"):
        if name not in names or " = -1 E" in arguments:  # the folder that is there already, asked for with mkdir
            continue
        folder = tmp_path / f"{name}_{number}"
        shutil.copytree(two, folder, symlinks=True)
        status, said = struck(strace, lambda folder=folder: trained(folder, 4), name, number, f"error={error}")
        where = f"{name} number {number} ({arguments})"
        assert status == 0 and said.startswith(b"UserError: "), f"{where}: {said!r}"
        assert cause in said.decode() and str(folder) in said.decode(), f"{where}: {said!r}"
        assert_whole(folder)
        assert_next_save_cleans_up(folder, trained)
        shutil.rmtree(folder)
        tried[name] += 1
    assert set(tried) == set(names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared data."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", "--config", SMOKE, cwd=folder)
    return folder


def arguments(run: str) -> tuple[str, ...]:
    return ("train", "--config", SMOKE, f"run.dir={run}", "train.epochs=40", "train.keep_last=100", "run.timeout=20")


def assert_refused_once(statuses: list[int], output: str, cause: str) -> None:
    """Both processes left with the status for what the user can put right, and one of them said why."""
    assert statuses == [2, 2], output
    assert (output.count("error:"), cause in output, "Traceback" in output) == (1, True, False), output


def test_a_background_write_that_finds_the_disk_full_stops_both_processes(folder: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "400k") as disk:
        statuses, output = Job(*arguments(f"{disk}/run"), cwd=folder, processes=2).wait()
        assert_refused_once(statuses, output, "cannot write a checkpoint: the disk is full")
        found, skipped = checkpoints.newest(disk / "run/checkpoints")
        assert found is not None and skipped == []


def test_a_disk_that_fails_while_training_goes_on_stops_both_processes_and_the_run_resumes(strace: str, folder: Path) -> None:
    job = Job(*arguments("failing"), cwd=folder, processes=2)
    wait_until(lambda: reached(folder / "failing", 20), "step 20")
    with attached(
        strace, job.processes[0].pid or 0, "-o", os.devnull, "-e", f"inject=fsync:error={errno.errorcode[errno.EIO]}"
    ):
        assert_refused_once(*job.wait(), "the disk reports an I/O error")
    found, skipped = checkpoints.newest(folder / "failing/checkpoints")
    assert found is not None and skipped == []
    output = succeed(*arguments("failing"), cwd=folder, processes=2)
    assert f"resuming after step {found.step}" in output and "finished at step 560" in output


@pytest.mark.parametrize("view", ["rows", "permuted_pixels"])
def test_test_examples_that_are_training_examples_are_counted_and_named(tmp_path: Path, view: str) -> None:
    arrays = examples(train=200, test=40)
    for twin, row in ((3, 150), (7, 20), (8, 20)):
        arrays[2][twin] = arrays[0][row]
    arrays[0][180] = arrays[0][20]  # the first of several is named
    put(tmp_path / "twins", arrays)
    put(tmp_path / "none", examples(train=200, test=40))
    found = {}
    for root in ("twins", "none"):
        data = Data(source="mnist", view=view, root=str(tmp_path / root), prepared=str(tmp_path / "prepared"))
        found[root] = prepare(data).manifest
    assert (found["twins"].repeated, found["twins"].repeated_rows) == (3, ((3, 150), (7, 20), (8, 20)))
    assert (found["none"].repeated, found["none"].repeated_rows) == (0, ())


def test_data_prepared_before_repeated_examples_were_looked_for_stays_the_same_data(tmp_path: Path) -> None:
    put(tmp_path / "raw", examples())
    data = Data(source="mnist", root=str(tmp_path / "raw"), prepared=str(tmp_path / "prepared"))
    made = prepare(data)
    file = made.folder / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["repeated"], manifest["repeated_rows"]
    file.write_text(json.dumps(manifest))
    assert open_prepared(data).digest == made.digest
