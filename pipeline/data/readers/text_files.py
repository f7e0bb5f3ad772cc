"""Text files of the user's, plain or gzip, as streams of bytes; what a small file unpacks to is bounded."""

from __future__ import annotations

import gzip
import shlex
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline.data.readers import limits
from pipeline.errors import DataError

PACKED = ".gz"  # at the end of the name of a gzip file
GZIP = b"\x1f\x8b"
OTHERS = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "Zstandard"}
MARKS = (0xFF, 0xFE)  # with which UTF-16 begins, in the two orders of its bytes
CHUNK = 2**20


class Bounded:
    """A stream that gives at most ``most`` bytes. Raises DataError, which names ``path``, for more."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, path: Path, most: int) -> None:
        self._file, self._path, self._left = file, path, most

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; none at the end."""
        return self._counted(self._file.read(size))

    def readline(self, size: int) -> bytes:
        """Up to the end of a line, or ``size`` bytes; none at the end."""
        return self._counted(self._file.readline(size))

    def _counted(self, given: bytes) -> bytes:
        self._left -= len(given)
        if self._left < 0:
            raise DataError(
                f"{self._path}: unpacks to more than {limits.EXPANSION} times its size; unpack it first, if it is sound"
            )
        return given


def refuse_stand_in(path: Path) -> None:
    """Raise DataError for a file that came in the place of data: a pointer of Git LFS, or a web page."""
    with path.open("rb") as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if start.startswith(b"version https://git-lfs"):
        raise DataError(f"{path}: is a pointer of Git LFS, and not the data; in its folder, type: git lfs pull")
    if start.startswith((b"<!doctype html", b"<html")):
        raise DataError(f"{path}: is a web page, such as one that asks for a password, and no data; download it again")


@contextmanager
def opened(path: Path) -> Iterator[Bounded]:
    """The bytes of a file, unpacked if it is gzip. Raises DataError for what is damaged or packed otherwise."""
    refuse_stand_in(path)
    with path.open("rb") as file:
        start = file.read(6)
        size = file.seek(0, 2)
        file.seek(0)
        for mark, name in OTHERS.items():
            if start.startswith(mark):
                raise DataError(f"{path}: is packed as {name}, which is not read; unpack it, or pack it as gzip")
        if not start.startswith(GZIP):
            yield Bounded(file, path, sys.maxsize)
            return
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield Bounded(unpacked, path, max(limits.UNPACKED, limits.EXPANSION * size))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path}: the gzip file is damaged or cut short ({error}); copy it again") from None


def not_utf8(path: Path, byte: int) -> str:
    """What is said of a file with a ``byte`` that UTF-8 does not have there, with what to type."""
    said = f"byte 0x{byte:02x} is not UTF-8; save the file as UTF-8"
    if is_packed(path):
        return said
    made = shlex.quote(str(path.with_name(f"{path.stem}-utf8{path.suffix}")))
    return f"{said}, or type: iconv -f {'UTF-16' if byte in MARKS else 'CP1252'} -t UTF-8 {shlex.quote(str(path))} > {made}"


def is_packed(path: Path) -> bool:
    """Whether a file is gzip, by its content."""
    with path.open("rb") as file:
        return file.read(2) == GZIP


def size(path: Path) -> int:
    """The bytes of a file once it is unpacked."""
    if not is_packed(path):
        return path.stat().st_size
    with opened(path) as file:
        return sum(len(chunk) for chunk in iter(lambda: file.read(CHUNK), b""))


def stem(path: Path) -> str:
    """The name of a file without what tells its format."""
    return Path(path.name[: -len(PACKED)] if path.name.lower().endswith(PACKED) else path.name).stem
