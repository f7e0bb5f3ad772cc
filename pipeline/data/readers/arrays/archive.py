"""The arrays of an .npz file, read strictly and as streams: no pickle, no more bytes than the header of an array announces."""

from __future__ import annotations

import math
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from pipeline.data.readers import limits
from pipeline.data.readers.cells import fault
from pipeline.data.readers.text_files import refuse_stand_in
from pipeline.data.series import Array, refuse_unfit
from pipeline.errors import DataError, short

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, struct.error)  # of zipfile
DEFLATE = 1032  # the largest ratio that deflate can reach (zlib technical details)


@dataclass(frozen=True)
class Header:
    """What an array's header announces."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool  # the first dimension is the fastest

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


class Archive:
    """An open .npz file. Raises DataError, which names the array, for what is damaged, pickled or not as announced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except DAMAGE as error:
            refuse_stand_in(path)
            raise DataError(
                f"{path}: not a whole .npz archive ({short(str(error), 80)}); save it with numpy.savez, or copy it again"
            ) from None
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name = info.filename.removesuffix(".npy")
            if name in self._members:
                raise fault(path, f"array {name!r}", "is there twice; save the archive again with numpy.savez")
            if name == info.filename:
                raise fault(path, f"member {name!r}", "is no array (.npy); save the archive with numpy.savez")
            self._members[name] = info
        refuse_unfit(self.names, lambda _: f"{path}: the name of array")

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._zip.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays in the order of the file."""
        return tuple(self._members)

    def header(self, name: str) -> Header:
        """What the header of an array announces."""
        with self._open(name) as (_, header):
            return header

    def array(self, name: str) -> Array:
        """An array as a whole."""
        with self._open(name) as (file, header):
            if header.size > limits.ONE:
                remedy = "save numpy.ascontiguousarray of it" if header.fortran else "cut it into shorter ones"
                raise self.fault(name, f"takes {header.size:,} bytes in one piece, over the limit of {limits.ONE:,}; {remedy}")
            return self._take(name, file, header, header.shape, last=True)

    def blocks(self, name: str, counts: Iterable[int]) -> Iterator[Array]:
        """An array in pieces of so many rows each, which together are all it has.

        Holds a piece at a time; but the whole of an array in Fortran order, of which no piece lies together.
        """
        with self._open(name) as (file, header):
            start, whole = 0, self.array(name) if header.fortran else None
            for count in counts:
                end = start + count
                if whole is not None:
                    yield whole[start:end]
                else:
                    yield self._take(name, file, header, (count, *header.shape[1:]), last=end == header.shape[0])
                start = end

    def fault(self, name: str, problem: str) -> DataError:
        """The error about one array."""
        return fault(self.path, f"array {name!r}", problem)

    def _take(self, name: str, file: IO[bytes], header: Header, shape: tuple[int, ...], last: bool) -> Array:
        wanted = math.prod(shape) * header.dtype.itemsize
        body = file.read(wanted)
        if len(body) < wanted or (last and file.read(1)):  # reading past the end makes zipfile compare the checksum
            raise self.fault(
                name, f"its header announces {header.shape} of {header.dtype}, which is not what it holds; save it again"
            )
        if header.dtype.kind == "U":  # numpy fails only when such a word is taken out
            letters = np.frombuffer(body, np.dtype("u4").newbyteorder(header.dtype.byteorder))
            if (most := int(letters.max(initial=0))) > sys.maxunicode:
                raise self.fault(name, f"holds the number {most:,}, which is no character; save it again")
        return np.frombuffer(body, header.dtype).reshape(shape, order="F" if header.fortran else "C")

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[IO[bytes], Header]]:
        info = self._members[name]
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.fault(name, "is encrypted or packed in a way that numpy never uses; save it with numpy.savez")
        try:
            with self._zip.open(info) as file:
                header = self._header(name, file)
                if header.size > info.file_size or info.file_size > DEFLATE * max(info.compress_size, 1):
                    raise self.fault(
                        name, f"its header announces {header.shape} of {header.dtype}, which it cannot hold; save it again"
                    )
                yield file, header
        except DAMAGE as error:
            raise self.fault(
                name, f"is damaged or cut short ({short(str(error), 80) or 'end of file'}); save or copy the archive again"
            ) from None

    def _header(self, name: str, file: IO[bytes]) -> Header:
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        try:
            version = np.lib.format.read_magic(file)
            shape, fortran, dtype = readers[version](file)
        except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, tokenize.TokenError) as error:
            raise self.fault(
                name, f"has no readable header ({' '.join(str(error).split())[:80]}); save it with numpy.savez"
            ) from None
        if dtype.hasobject:
            raise self.fault(
                name,
                "holds Python objects (a pickle), which are never read, as they may run any program; save plain numbers or "
                "text; of a LIST of series of unequal lengths: numpy.savez(FILE, values=numpy.concatenate(LIST), "
                "lengths=[len(s) for s in LIST], labels=y)",
            )
        if any(size < 0 for size in shape) or dtype.kind == "V" or not dtype.itemsize:
            raise self.fault(name, f"its header announces {shape} of {dtype}; save plain numbers or text with numpy.savez")
        return Header(shape, dtype, fortran)
