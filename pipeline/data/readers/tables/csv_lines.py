"""The lines of a CSV file: whole, UTF-8, with as many cells as the header. A cell may stand in quotes, but ends on its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.data.readers import limits, text_files
from pipeline.data.readers.cells import fault, of_values
from pipeline.data.readers.tables import csv_dialect
from pipeline.data.readers.tables.csv_dialect import Dialect
from pipeline.data.readers.tables.table import check_names
from pipeline.data.series import Array
from pipeline.errors import DataError

BLOCK = 16 * 2**20  # bytes read at a time
CACHED = 2**16  # characters that a processor keeps at hand
IDLE = 2**24  # of lines of separators alone, of which nobody knows yet whether rows follow
TALL = 1000  # lines that a block should have, since each column of a block has a cost of its own,
LARGE = 8  # if it is then no larger than so many BLOCK


def dialect_of(path: Path, header: bool | None = True, decimal: str = ".") -> Dialect:
    """How a CSV file is written. Raises DataError for one that does not name its columns, each by a name of its own.

    ``header``, ``decimal``: as ``csv_dialect.find`` takes them.
    """
    dialect = csv_dialect.find(path, header, decimal)
    try:
        check_names(path, dialect.names, f"line {dialect.first - 1}")
    except DataError as error:
        raise of_values(error, dialect.names) from None
    return dialect


def lines(path: Path, dialect: Dialect) -> Iterator[tuple[int, bytes]]:
    """The lines of the rows, whole ones in blocks, in one form, with the number of the first of each block.

    Lines of separators alone at the end of the file, as spreadsheets leave them, are none.
    """
    held: list[tuple[int, bytes]] = []
    for line, block in blocks(path):
        at = 0
        while line < dialect.first and at < len(block):
            line, at = line + 1, block.index(b"\n", at) + 1
        block = _in_one_form(block[at:] if at else block, dialect)
        end = _end(block, f"{dialect.separator} \n".encode())
        if end or sum(len(rest) for _, rest in held) > IDLE:
            yield from held
            held = []
        if end:
            yield line, block[:end]
        if end < len(block):
            held.append((line + block.count(b"\n", 0, end), block[end:]))


def _end(block: bytes, idle: bytes) -> int:
    """Where the last line ends that has more than ``idle`` characters; 0 if there is none."""
    last = max(0, len(block) - CACHED)
    kept = len(block[last:].rstrip(idle)) + last if last else 0
    if kept <= last:
        kept = len(block.rstrip(idle))
    return block.find(b"\n", kept) + 1 if kept else 0


def _in_one_form(block: bytes, dialect: Dialect) -> bytes:
    """Lines with one separator between two cells, and none after the last."""
    if dialect.ending:
        block = re.sub(re.escape(dialect.ending) + rb"(?=\n)", b"", block)
    if dialect.separator == csv_dialect.BLANKS:
        block = re.sub(rb'("[^"\n]*")|[ \t]+', lambda found: found[1] or b" ", block)
        block = re.sub(rb"(?m)^ | $", b"", block)
    return block


def blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines that end in a line feed, with the number of the first; no byte order mark, no carriage returns."""
    line, rest, size = 1, b"", BLOCK
    with text_files.opened(path) as file:
        while chunk := file.read(size):
            if line == 1 and not rest:
                chunk = chunk.removeprefix(b"\xef\xbb\xbf")
            end = chunk.rfind(b"\n") + 1
            if end:
                whole = not rest and end == len(chunk)
                block = _text(path, line, chunk if whole else b"".join((rest, memoryview(chunk)[:end])))
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
            problem = text_files.not_utf8(path, block[error.start])
            raise fault(path, f"line {line}", problem) from None
    return block.replace(b"\r\n", b"\n") if b"\r" in block else block


def even(block: bytes, dialect: Dialect) -> int:
    """How many lines a block has if it has no quotes and the separators of so many rows; else 0."""
    count, cells = _count(block, "\n"), len(dialect.names)
    breaks = _count(block, dialect.separator)
    return count if breaks == count * (cells - 1) and cells > 1 and b'"' not in block else 0


def _count(block: bytes, mark: str) -> int:
    """How often a character of ASCII stands in a block; for one that is frequent, faster than ``bytes.count``."""
    text = np.frombuffer(block, np.uint8)
    pieces = (text[first : first + CACHED] for first in range(0, len(text), CACHED))
    return sum(int(np.count_nonzero(piece == ord(mark))) for piece in pieces)


def rows(path: Path, dialect: Dialect, first: int, block: bytes) -> tuple[Array, bytes]:
    """The line of each row of a block without the blank lines, and the text of these lines.

    Where each line ends with a mark of its own, an empty cell more before that mark is none.

    Raises DataError for a line with too many or too few cells, or quotes that are not around a whole cell.
    """
    text = np.frombuffer(block, np.uint8)
    ends, breaks = np.flatnonzero(text == ord("\n")), np.flatnonzero(text == ord(dialect.separator))
    if b'"' in block:
        quotes = _quotes(path, dialect, first, text, ends)
        inside = np.searchsorted(quotes, breaks) % 2 == 1  # an odd number of quotes stands before
        breaks = breaks[~inside]
    lines = first + np.arange(len(ends))
    cells = np.diff(np.searchsorted(breaks, ends), prepend=0) + 1  # of each line: one more than its separators
    blank = np.diff(ends, prepend=-1) == 1  # the line feed follows that of the line before
    idle = (cells == len(dialect.names) + 1) & (text[ends - 1] == ord(dialect.separator)) & bool(dialect.ending)
    wrong = ~blank & ~idle & (cells != len(dialect.names))
    if wrong.any():
        number = int(wrong.argmax())
        line = text[ends[number - 1] + 1 if number else 0 : ends[number]].tobytes()
        raise fault(path, f"line {lines[number]}", _uneven(dialect, int(cells[number]), line))
    if idle.any():
        block = np.delete(text, ends[idle] - 1).tobytes()
    if blank.any():
        block = b"\n".join(filter(None, block.split(b"\n"))) + b"\n"
    return lines[~blank], block


def _uneven(dialect: Dialect, cells: int, line: bytes) -> str:
    """What is said of a line that has not as many cells as there are columns."""
    there = f"the header names {len(dialect.names)} columns" if dialect.header else f"line 1 has {len(dialect.names)}"
    if dialect.ending and dialect.ending in line:
        mark = dialect.ending.decode()
        return f"{cells} cells, but {there}, and {mark!r} stands within: two rows are on one line; give each a line of its own"
    above = f", and begin what stands above the names of the columns with # (line {dialect.first - 1}), or take it out"
    alone = len(dialect.names) == 1 and dialect.header
    return f"{cells} cells, but {there}; give each row one cell a column{above * alone}"


def _quotes(path: Path, dialect: Dialect, first: int, text: Array, ends: Array) -> Array:
    """Where quotes stand: of each two one begins a cell and one ends it, or they are two that mean one."""
    quotes = np.flatnonzero(text == ord('"'))
    odd = np.diff(np.searchsorted(quotes, ends), prepend=0) % 2 == 1
    if odd.any():
        raise fault(path, f"line {first + odd.argmax()}", "a quote is not closed; close it on its line, or leave it out")
    closing = np.arange(len(quotes)) % 2 == 1  # every second one; the others open
    beside = np.where(closing, quotes + 1, quotes - 1)
    inside = (beside >= 0) & ~np.isin(text[beside], np.frombuffer(f'{dialect.separator}\n"'.encode(), np.uint8))
    if inside.any():
        line = first + np.searchsorted(ends, quotes[inside.argmax()])
        raise fault(path, f"line {line}", "a quote inside a cell; put the whole cell in quotes, and write this quote twice")
    return quotes
