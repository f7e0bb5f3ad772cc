"""SHA-256 of files, computed anew only for a file that may have changed since.

A file is taken for unchanged if its size, times and inode are those that were seen when it was hashed. No program can set
``ctime``, so that a change in place shows even where ``mtime`` was put back. What is written within a tick of the clock, or
through a memory map, may show nothing for a while, so a checksum is kept only if the file had rested before it was hashed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import time_ns
from typing import Annotated, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

from pipeline import files
from pipeline.data.sources import progress

# ns. The coarsest clock of a file system, that of FAT, ticks every 2 s. A program that writes through a memory map sets the
# times at its first write alone, until the kernel has written the page back, by its defaults (vm.dirty_*) within 35 s.
RESTED = 60 * 10**9
LIMIT = 2**24  # bytes of the file that keeps them
NAME = "checksums.json"
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Kept(BaseModel):
    """What is known of a file, or of all files of a folder: ``stamp`` is a SHA-256 of their names, sizes, times and inodes."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    stamp: Digest
    sha256: Digest


class _Record(BaseModel):
    """checksums.json: what is known of each path."""

    model_config = ConfigDict(strict=True, extra="forbid")

    format: Literal[1] = 1
    files: dict[str, _Kept] = {}


class Digests(Protocol):
    """What tells of files whether they are what they were."""

    def of(self, path: Path, /) -> str:
        """A word for a file. Raises OSError if it cannot be read."""

    def of_all(self, path: Path, inner: Sequence[str], compute: Callable[[], str], /) -> str:
        """A word for the files ``inner`` below the folder ``path``, for whose content ``compute`` has one."""


class Stamps:
    """Words that tell whether files were touched, for which none is read."""

    def of(self, path: Path) -> str:
        """The stamp of a file."""
        return _stamp(path, [])[0]

    def of_all(self, path: Path, inner: Sequence[str], compute: Callable[[], str]) -> str:
        """The stamp of the files ``inner`` below the folder ``path``."""
        return _stamp(path, inner)[0]


class Checksums:
    """What is known of the files of the prepared ``folder`` and of those that it was made from: in a file in it or, where that
    cannot be written, in the user's cache. With ``anew`` nothing is taken for known.

    A file of checksums that is damaged, or that cannot be read or written, costs time and nothing else. As a context it saves
    what was found even if that is refused: the next start then knows that a file is not what it was.
    """

    def __init__(self, folder: Path, anew: bool = False) -> None:
        self._folder = folder
        self._saved = _read(folder)
        self._kept = {} if anew else dict(self._saved)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.save()

    def of(self, path: Path) -> str:
        """The SHA-256 of a file. Raises OSError if it cannot be read."""
        return self.of_all(path, [], lambda: _checked(path))

    def of_all(self, path: Path, inner: Sequence[str], compute: Callable[[], str]) -> str:
        """What ``compute`` makes of the files ``inner`` below the folder ``path``, or of the file ``path`` alone."""
        key, now = str(path), time_ns()
        stamp, changed = _stamp(path, inner)
        if key in self._kept and self._kept[key].stamp == stamp:
            return self._kept[key].sha256
        self._kept.pop(key, None)
        found = compute()
        if changed + RESTED < now and _stamp(path, inner)[0] == stamp:
            self._kept[key] = _Kept(stamp=stamp, sha256=found)
        return found

    def save(self) -> None:
        """Keep what is known, if it is more than before."""
        if self._kept == self._saved:
            return
        # another machine may have been first; what was known here and is no longer is forgotten
        others = {key: kept for key, kept in _read(self._folder).items() if key not in self._saved}
        record = _Record(files=others | self._kept)
        for place in _places(self._folder):
            with suppress(OSError):
                if place.parent != self._folder:
                    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                files.write_json(place, record.model_dump())
                break
        self._saved = dict(self._kept)


def _checked(path: Path) -> str:
    with progress.reading(path, "checking"):
        return files.sha256(path)


def _stamp(path: Path, inner: Sequence[str]) -> tuple[str, int]:
    """What tells whether one of the files has changed, and when (ns) the last one of them did."""
    total, changed = hashlib.sha256(), 0
    for name in inner or ["."]:
        found = os.stat(f"{path}/{name}" if inner else path)  # noqa: PTH116  # of a million images
        facts = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
        total.update(os.fsencode(name) + b"\0" + facts.encode() + b"\n")
        changed = max(changed, found.st_ctime_ns)
    return total.hexdigest(), changed


def _places(folder: Path) -> Iterator[Path]:
    """Where the checksums for a prepared folder may lie."""
    yield folder / NAME
    with suppress(RuntimeError):  # a user without a home
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sequence-pipeline"
        yield cache / f"checksums-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]}.json"


def _read(folder: Path) -> dict[str, _Kept]:
    found: dict[str, _Kept] = {}
    for place in _places(folder):  # what the cache says is newer, if the folder could not be written
        with suppress(OSError, ValueError):
            found |= files.read_json(place, _Record, LIMIT).files
    return found
