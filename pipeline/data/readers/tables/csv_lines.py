"""The lines of a CSV file: whole, UTF-8, with as many cells as the header. A cell may stand in quotes, but ends on its line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.readers import limits
from pipeline.data.readers.cells import fault
from pipeline.data.readers.tables.table import check_names
from pipeline.data.series import Array

BLOCK = 16 * 2**20  # bytes read at a time
TALL = 1000  # lines that a block should have, since each column of a block has a cost of its own,
LARGE = 8  # if it is then no larger than so many BLOCK
SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Header:
    """What the first line of a file says."""

    names: tuple[str, ...]  # of the columns
    separator: str


def header_of(path: Path) -> Header:
    """The header of a CSV file. Raises DataError for one that does not name columns, each by a name of its own."""
    _, start = next(blocks(path), (1, b""))
    header = start[: start.find(b"\n")].decode()
    if not header.strip():
        raise fault(path, "line 1", "is empty; begin the file with a line that names the columns")
    separator = max(SEPARATORS, key=header.count)
    if header.count(separator) >= limits.COLUMNS:
        raise fault(path, "line 1", f"names more than {limits.COLUMNS:,} columns, which is the limit; use the long layout")
    try:
        names = tuple(name.strip() for name in next(csv.reader([header], delimiter=separator)))
    except csv.Error as error:
        raise fault(path, "line 1", f"is no header ({error}); end each line with a line feed, and name the columns") from None
    check_names(path, names, "line 1")
    return Header(names, separator)


def blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines that end in a line feed, with the number of the first; no byte order mark, no carriage returns."""
    line, rest, size = 1, b"", BLOCK
    with path.open("rb") as file:
        while chunk := file.read(size):
            if line == 1 and not rest:
                chunk = chunk.removeprefix(b"\xef\xbb\xbf")
            end = chunk.rfind(b"\n") + 1
            if end:
                block = _text(path, line, b"".join((rest, memoryview(chunk)[:end])))
                yield line, block
                count = _count(block, "\n")
                line += count
                rest = chunk[end:]
                size = max(BLOCK, min(len(block) // count * TALL, LARGE * BLOCK))
            else:
                rest += chunk
            if len(rest) > limits.LINE:
                raise fault(path, f"line {line}", f"is longer than {limits.LINE >> 20} MB; a row of a CSV file is a line")
    if rest:
        yield line, _text(path, line, rest + b"\n")


def _text(path: Path, line: int, block: bytes) -> bytes:
    if not block.isascii():
        try:
            block.decode()
        except UnicodeDecodeError as error:
            line += block.count(b"\n", 0, error.start)
            problem = f"byte 0x{block[error.start]:02x} is not UTF-8; save the file as UTF-8"
            raise fault(path, f"line {line}", problem) from None
    return block.replace(b"\r\n", b"\n") if b"\r" in block else block


def even(block: bytes, header: Header) -> int:
    """How many lines a block has if it has no quotes and the separators of so many rows; else 0."""
    count, cells = _count(block, "\n"), len(header.names)
    breaks = _count(block, header.separator)
    return count if breaks == count * (cells - 1) and cells > 1 and b'"' not in block else 0


def _count(block: bytes, mark: str) -> int:
    """How often a character of ASCII stands in a block; for one that is frequent, faster than ``bytes.count``."""
    return int(np.count_nonzero(np.frombuffer(block, np.uint8) == ord(mark)))


def rows(path: Path, header: Header, first: int, block: bytes) -> tuple[Array, bytes]:
    """The line of each row of a block without the blank lines, and the text of these lines.

    Raises DataError for a line with too many or too few cells, or quotes that are not around a whole cell.
    """
    text = np.frombuffer(block, np.uint8)
    ends, breaks = np.flatnonzero(text == ord("\n")), np.flatnonzero(text == ord(header.separator))
    if b'"' in block:
        quotes = _quotes(path, header, first, text, ends)
        inside = np.searchsorted(quotes, breaks) % 2 == 1  # an odd number of quotes stands before
        breaks = breaks[~inside]
    lines = first + np.arange(len(ends))
    cells = np.diff(np.searchsorted(breaks, ends), prepend=0) + 1  # of each line: one more than its separators
    blank = np.diff(ends, prepend=-1) == 1  # the line feed follows that of the line before
    wrong = ~blank & (cells != len(header.names))
    if wrong.any():
        number = int(wrong.argmax())
        problem = f"{cells[number]} cells, but the header names {len(header.names)} columns; give each row one cell a column"
        raise fault(path, f"line {lines[number]}", problem)
    if blank.any():
        block = b"\n".join(filter(None, block.split(b"\n"))) + b"\n"
    return lines[~blank], block


def _quotes(path: Path, header: Header, first: int, text: Array, ends: Array) -> Array:
    """Where quotes stand: of each two one begins a cell and one ends it, or they are two that mean one."""
    quotes = np.flatnonzero(text == ord('"'))
    odd = np.diff(np.searchsorted(quotes, ends), prepend=0) % 2 == 1
    if odd.any():
        raise fault(path, f"line {first + odd.argmax()}", "a quote is not closed; close it on its line, or leave it out")
    closing = np.arange(len(quotes)) % 2 == 1  # every second one; the others open
    beside = np.where(closing, quotes + 1, quotes - 1)
    inside = (beside >= 0) & ~np.isin(text[beside], np.frombuffer(f'{header.separator}\n"'.encode(), np.uint8))
    if inside.any():
        line = first + np.searchsorted(ends, quotes[inside.argmax()])
        raise fault(path, f"line {line}", "a quote inside a cell; put the whole cell in quotes, and write this quote twice")
    return quotes
