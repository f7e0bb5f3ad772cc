"""The disk that run folders lie on: how fast it writes, and whether a lock that one process holds keeps others out."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from pipeline import files
from pipeline.distributed import lock
from pipeline.stages.advice.examination.results import Found, Place

SIZE, TIMES = 64 * 2**20, 10  # bytes that are written at once; small writes, each forced to the disk
TRIES = """
import fcntl, sys
try:
    fcntl.flock(open(sys.argv[1], "a"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError as error:
    print(error.errno)
"""


@contextmanager
def beside(folder: Path) -> Iterator[Path]:
    """A folder of its own on the disk of ``folder``, which need not be there."""
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    with files.disk_errors("a file of the doctor's", there), tempfile.TemporaryDirectory(dir=there, prefix=".doctor-") as made:
        yield Path(made)


def writes(place: Place) -> Found:
    """The speed of a large write, and the time of a small one, each until it is on the disk."""
    with beside(place.folder) as folder:
        content = os.urandom(2**20)
        began = time.perf_counter()
        with (folder / "large").open("wb") as file:
            for _ in range(SIZE // len(content)):
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        speed = SIZE / (time.perf_counter() - began) / 1e6
        times = []
        for number in range(TIMES):
            began = time.perf_counter()
            with (folder / str(number)).open("wb") as file:
                file.write(content[:4096])
                file.flush()
                os.fsync(file.fileno())
            times.append(1000 * (time.perf_counter() - began))
    free = os.statvfs(folder.parent).f_bavail * os.statvfs(folder.parent).f_frsize
    values = {"folder": str(folder.parent), "write_mb_per_s": speed, "fsync_ms": median(times), "fsync_ms_most": max(times)}
    slow = "a checkpoint waits for it: set train.checkpoint_every to more, or run.dir to a local disk" * (median(times) > 100)
    said = f"{folder.parent}: {speed:,.0f} MB/s, fsync {median(times):.1f} ms (at most {max(times):.1f})"
    return Found(f"{said}, {free / 1e9:,.0f} GB free", values | {"free": free}, do=slow)


def locks(place: Place) -> Found:
    """Whether a second process is kept out by the lock that a run folder is held by."""
    with beside(place.folder) as folder:
        path = folder / ".lock"
        with lock.held(path):
            answer = _asked(path)
            stands = path.with_name(f"{path.name}.json").exists()
        free = _asked(path)
    values = {"kept_out": answer != "", "free_after": free == "", "stand_in": stands}
    if stands:  # flock is not there, and a file stands for it
        return Found("this disk has no flock; a file stands for it", values, do="nothing; the lock names its holder")
    kept = answer != "" and free == ""
    do = "two trainings could write one run folder: set run.dir to a disk with locks (mount it with -o flock)"
    said = f"{folder.parent}: a second process is {'' if kept else 'not '}kept out"
    return Found(said, values, kept, "" if kept else do)


def _asked(path: Path) -> str:
    """The number of the error that another process gets for the lock; empty if it gets the lock."""
    command = [sys.executable, "-S", "-c", TRIES, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()
