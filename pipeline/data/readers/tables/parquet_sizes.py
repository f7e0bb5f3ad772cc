"""What a Parquet file states of its sizes, checked before anything is unpacked.

The library that decodes the file asks for as much memory as a page states, and where there is not so much the process dies
without a message. So the footer, and the header of each page, are read here first. Both are structs of Thrift's compact
protocol; the numbers of their fields are those of parquet.thrift in the Apache Parquet format, 2.11.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

MOST = 2**30  # bytes of a row group, unpacked, that are never too many
RATIO = 1000  # beyond, no row group is unpacked to more than this times its bytes in the file
DEEP = 32  # structs in each other; the format needs half as many


class Damaged(ValueError):
    """The file states what cannot be."""


class Group(NamedTuple):
    """A row group: its rows, and the values of all its columns, of which a list has many in a row."""

    rows: int
    values: int


def check(path: Path) -> list[Group]:
    """The row groups of ``path``.

    Raises Damaged if it is cut short, or if sizes or numbers of values contradict each other or are beyond reason.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        size = len(content)
        if size < 12 or content[-4:] != b"PAR1":
            raise Damaged("it does not end as Parquet does")
        (length,) = struct.unpack("<I", content[-8:-4])
        if length > size - 12:
            raise Damaged("it is cut short")
        try:
            footer = _Reader(content, size - 8 - length, size - 8).struct()
            groups = footer.get(4, [])
            if footer.get(3, 0) != sum(group[3] for group in groups):
                raise Damaged("the row groups do not have the rows that the file has")
            for group in groups:
                _check_group(content, group)
            return [Group(group[3], sum(column[3][5] for column in group[1])) for group in groups]
        except (IndexError, KeyError, TypeError, AttributeError) as error:
            raise Damaged("its footer or the header of a page is damaged") from error


def _check_group(content: mmap.mmap, group: dict[int, Any]) -> None:
    rows, packed, unpacked = group[3], 0, 0
    if rows < 0:
        raise Damaged(f"a row group of {rows} rows")
    for chunk in (column[3] for column in group[1]):
        if len(chunk[3]) == 1 and chunk[5] != rows:
            raise Damaged(f"a column of {chunk[5]} values in a row group of {rows} rows")
        data = dictionary = sizes = 0
        for page in _pages(content, chunk):
            data += page.get(5, page.get(8, {})).get(1, 0)
            dictionary += page.get(7, {}).get(1, 0)
            sizes += page[2]
        if data != chunk[5] or dictionary > sizes:
            raise Damaged(f"pages of {data} values in a column of {chunk[5]} values")
        packed, unpacked = packed + chunk[7], unpacked + max(sizes, 8 * chunk[5])
    if unpacked > max(MOST, RATIO * packed):
        raise Damaged(f"a row group of {packed:,} bytes that unpacks to {unpacked:,}")


def _pages(content: mmap.mmap, chunk: dict[int, Any]) -> Iterator[dict[int, Any]]:
    """The headers of the pages of a column in a row group. Raises Damaged for one that states what it cannot hold."""
    place = min((offset for offset in (chunk.get(9), chunk.get(11)) if offset), default=0)
    end = place + chunk[7]
    if not 4 <= place <= end <= len(content):
        raise Damaged("a column that lies outside of the file")
    while place < end:
        reader = _Reader(content, place, end)
        page = reader.struct()
        numbers = [page[2], page[3], *(page[kind][1] for kind in (5, 7, 8) if kind in page)]
        place = reader.place + page[3]
        if min(numbers) < 0 or place > end:
            raise Damaged(f"a page of {page[2]} bytes that lies outside of its column")
        yield page


class _Reader:
    """Structs of Thrift's compact protocol, as dictionaries by the numbers of their fields, from ``place`` to ``end``."""

    def __init__(self, content: mmap.mmap, place: int, end: int) -> None:
        self.content, self.place, self.end = content, place, end

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """All fields up to the end of the struct."""
        found: dict[int, Any] = {}
        field = 0
        while header := self._byte():
            step, kind = header >> 4, header & 15
            field = field + step if step else self._number()
            found[field] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if depth > DEEP:
            raise Damaged("structs too deep in each other")
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (4, 5, 6):
            return self._number()
        if kind == 7:
            return self._take(8)
        if kind == 8:
            return self._take(self._unsigned())
        if kind in (9, 10):
            header = self._byte()
            count = header >> 4 if header >> 4 < 15 else self._unsigned()
            if count > self.end - self.place:
                raise Damaged("a list longer than the file")
            return [self._value(header & 15, depth + 1) for _ in range(count)]
        if kind == 12:
            return self.struct(depth + 1)
        raise Damaged(f"a field of the unknown kind {kind}")

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, count: int) -> bytes:
        if count > self.end - self.place:
            raise Damaged("its footer or the header of a page is cut short")
        self.place += count
        return self.content[self.place - count : self.place]

    def _unsigned(self) -> int:
        number = shift = 0
        while shift < 70:
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
        raise Damaged("a number of too many bytes")

    def _number(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)
