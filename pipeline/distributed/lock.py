"""One process at a time, of all hosts that share a disk; who holds a lock is written where it is held.

The kernel's lock (flock) is free as soon as its holder is dead. Some network disks have none, as Lustre mounted without it.
There a file stands for it, which is taken over from a holder that is dead on this host, or was of an attempt before of the same
job.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from pipeline import files
from pipeline.errors import UserError, printable

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")  # of SLURM, PBS, LSF, Grid Engine
LEASE = 100.0  # seconds that a network disk may keep the lock of a host that died; NFS gives 90
LOOK = 0.5  # seconds between two tries


class Busy(UserError):
    """Another process holds the lock; the message says which, and which file says so."""


class Holder(BaseModel):
    """Who holds a lock."""

    model_config = ConfigDict(strict=True, frozen=True)

    host: str = ""
    boot: str = ""  # of the kernel of that host
    process: int = 0
    began: int = 0  # of the process, in ticks since then
    job: str = ""  # of a scheduler

    @classmethod
    def here(cls) -> Self:
        """This process."""
        named = next((f"{name} {os.environ[name]}" for name in JOBS if os.environ.get(name)), "")
        return cls(host=socket.gethostname(), boot=boot(), process=os.getpid(), began=_began(os.getpid()), job=named)

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have ended: it was a process of this host."""
        here = (self.host, self.boot) == (socket.gethostname(), boot())
        return here and bool(self.process) and _began(self.process) != self.began

    def __str__(self) -> str:
        if not self.process:
            return "a process"
        return printable(f"process {self.process} of host {self.host}{f', {self.job}' if self.job else ''}")


@contextmanager
def held(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold a lock at ``path``, in a folder that is there. ``wait``: until it is free.

    Raises Busy if another process holds it. One that belonged to an attempt before of the same job is waited for as long as a
    disk may need to learn that it died. Raises OSError if the disk does not let it be written.
    """
    with path.open("a+b") as file:
        own, claimed = Holder.here(), False
        end = None if wait else time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = _read(path)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                if claimed := _claim(_stand_in(path), own):
                    break
                holder = _read(_stand_in(path))
            if end is not None and time.monotonic() > end + (LEASE if _before(holder, own) else 0):
                there = _stand_in(path)
                raise Busy(f"{holder} holds {f'{there}: if its host is gone, delete that file' if there.exists() else path}")
            time.sleep(LOOK)
        try:
            if not claimed:
                _write(file.fileno(), own.model_dump_json().encode())
            yield
        finally:
            if claimed:
                if _read(_stand_in(path)) == own:
                    _stand_in(path).unlink(missing_ok=True)
            else:
                with suppress(OSError):  # of a disk that is full; the lock ends with the file's descriptor
                    _write(file.fileno(), b"")


def holder(path: Path) -> Holder | None:
    """Who says to hold the lock at ``path``, dead or alive; None if nobody does. The lock is not touched."""
    found = (_read(place) for place in (path, _stand_in(path)))
    return next((one for one in found if one.process), None)


def _stand_in(path: Path) -> Path:
    """The file that stands for a lock where there are none."""
    return path.with_name(f"{path.name}.json")


def _claim(path: Path, own: Holder) -> bool:
    """Whether the file that stands for a lock is there now, made by this process."""
    holder = _read(path)
    if holder.is_dead or _before(holder, own):
        mark = path.with_name(f"{path.name}.{os.getpid()}")
        with suppress(FileNotFoundError, FileExistsError):  # another process was first
            path.rename(mark)  # one of those who see it can
            if _read(mark) != holder:  # it is of one that was quicker
                os.link(mark, path)
        mark.unlink(missing_ok=True)
    partial = path.with_name(f"{path.name}.{own.host}.{own.process}")
    try:
        files.write_text(partial, own.model_dump_json())
        os.link(partial, path)  # a name that is there with all its content, or not at all
    except FileExistsError:
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def _before(holder: Holder, own: Holder) -> bool:
    """Whether a holder was an attempt before of the job that this process belongs to: of that only one lives at a time."""
    return bool(own.job) and holder.job == own.job and (holder.host, holder.boot) != (own.host, own.boot)


def _read(path: Path) -> Holder:
    """Who holds a lock, as far as it is known."""
    try:
        return files.read_json(path, Holder, limit=2**16)
    except (OSError, ValueError):
        return Holder()


def _write(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.write(descriptor, content)  # it was opened for appending


def boot() -> str:
    """The start of this host's kernel, by the name that it gave it; empty where it has none."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _began(process: int) -> int:
    """When a process began; 0 if there is none, or it is dead and only listed."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return 0 if fields[0] in "ZX" else int(fields[19])
    return 0
