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
            footer, _ = _struct(content, size - 8 - length, size - 8)
            groups = footer.get(4, [])
            if footer.get(3, 0) != sum(group[3] for group in groups):
                raise Damaged("the row groups do not have the rows that the file has")
            taken = 0
            for group in groups:
                taken += _check_group(content, group, size - taken)
            return [Group(group[3], sum(column[3][5] for column in group[1])) for group in groups]
        except (IndexError, KeyError, TypeError, AttributeError) as error:
            raise Damaged("its footer or the header of a page is damaged") from error


def _check_group(content: mmap.mmap, group: dict[int, Any], most: int) -> int:
    """The bytes that the columns of a group take. Raises Damaged if they are more than ``most``, too, as where columns share
    their pages: a small file would take as long as one in which each column has its own."""
    rows, packed, unpacked = group[3], 0, 0
    if rows < 0:
        raise Damaged(f"a row group of {rows} rows")
    for chunk in (column[3] for column in group[1]):
        if len(chunk[3]) == 1 and chunk[5] != rows:
            raise Damaged(f"a column of {chunk[5]} values in a row group of {rows} rows")
        if chunk[7] > most - packed:
            raise Damaged("its columns take more bytes than the file has")
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
    return int(packed)


def _pages(content: mmap.mmap, chunk: dict[int, Any]) -> Iterator[dict[int, Any]]:
    """The headers of the pages of a column in a row group. Raises Damaged for one that states what it cannot hold."""
    place = min((offset for offset in (chunk.get(9), chunk.get(11)) if offset), default=0)
    end = place + chunk[7]
    if not 4 <= place <= end <= len(content):
        raise Damaged("a column that lies outside of the file")
    while place < end:
        page, place = _struct(content, place, end)
        numbers = [page[2], page[3], *(page[kind][1] for kind in (5, 7, 8) if kind in page)]
        place += page[3]
        if min(numbers) < 0 or place > end:
            raise Damaged(f"a page of {page[2]} bytes that lies outside of its column")
        yield page


def _struct(content: mmap.mmap, place: int, end: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """A struct of Thrift's compact protocol, as a dictionary by the numbers of its fields, and the place behind it.

    Text, of which nothing is asked, is None. A wide table has a dozen structs a column, so little is called for each field.
    """
    found: dict[int, Any] = {}
    field = 0
    while header := content[place]:
        place += 1
        step, kind = header >> 4, header & 15
        if step:
            field += step
        else:
            field, place = _number(content, place)
        if kind in (5, 6):
            found[field], place = _number(content, place)
        elif kind == 8:
            count, place = _unsigned(content, place)
            found[field], place = None, place + count
        elif kind in (1, 2):
            found[field] = kind == 1
        else:
            found[field], place = _value(content, place, end, kind, depth)
        if place > end:
            break
    if place >= end:
        raise Damaged("its footer or the header of a page is cut short")
    return found, place + 1


def _value(content: mmap.mmap, place: int, end: int, kind: int, depth: int) -> tuple[Any, int]:
    """A value of a ``kind`` that is not a truth, and the place behind it."""
    if depth > DEEP:
        raise Damaged("structs too deep in each other")
    if kind in (1, 2, 3):
        return content[place], place + 1
    if kind in (4, 5, 6):
        return _number(content, place)
    if kind == 7:
        return None, place + 8
    if kind == 8:
        count, place = _unsigned(content, place)
        return None, place + count
    if kind in (9, 10):
        header, place = content[place], place + 1
        count, place = (header >> 4, place) if header >> 4 < 15 else _unsigned(content, place)
        if count > end - place:
            raise Damaged("a list longer than the file")
        values = []
        for _ in range(count):
            value, place = _value(content, place, end, header & 15, depth + 1)
            values.append(value)
        return values, place
    if kind == 12:
        return _struct(content, place, end, depth + 1)
    raise Damaged(f"a field of the unknown kind {kind}")


def _unsigned(content: mmap.mmap, place: int) -> tuple[int, int]:
    number = shift = 0
    while shift < 70:
        byte = content[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
        shift += 7
    raise Damaged("a number of too many bytes")


def _number(content: mmap.mmap, place: int) -> tuple[int, int]:
    number = content[place]
    place += 1
    if number > 127:
        number, place = _unsigned(content, place - 1)
    return (number >> 1) ^ -(number & 1), place
