"""CSV as a table: UTF-8, a header, one line a row, separated by commas, semicolons or tabs.

A line is a row: a cell may stand in quotes, but not go on in the next line. So every message can name the line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.data.readers import limits
from pipeline.data.readers.cells import NUMBERS, fault
from pipeline.data.readers.table import Table, Wanted, check_names, refuse_long, tidy
from pipeline.data.series import Array
from pipeline.errors import DataError, quoted

BLOCK = 16 * 2**20  # bytes parsed at a time
SEPARATORS = ",;\t"
MISSING = ("NA", "?")  # besides NaN, which is a number to every parser


def open_csv(path: Path) -> Table:
    """The table in a CSV file. Raises DataError, which names the line, for whatever is not as this module's docstring says."""
    _, start = next(_blocks(path), (1, b""))
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

    def read(wanted: Wanted) -> Iterator[pl.DataFrame]:
        for first, block in _blocks(path):
            lines, block = _rows(table, first, block, separator)
            if len(lines):
                yield _parse(table, wanted, lines, block, separator)

    table = Table(path, names, "line", path.stat().st_size, read)
    return table


def _blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines that end in a line feed, with the number of the first; no byte order mark, no carriage returns."""
    line, rest = 1, b""
    with path.open("rb") as file:
        while chunk := file.read(BLOCK):
            if line == 1 and not rest:
                chunk = chunk.removeprefix(b"\xef\xbb\xbf")
            rest += chunk
            end = rest.rfind(b"\n") + 1
            if end:
                yield line, _text(path, line, rest[:end])
                line += rest.count(b"\n", 0, end)
                rest = rest[end:]
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


def _rows(table: Table, first: int, block: bytes, separator: str) -> tuple[Array, bytes]:
    """The line of each row, the header and blank lines left out, and the text of these lines.

    Raises DataError for a line with too many or too few cells, or quotes that are not around a whole cell.
    """
    text = np.frombuffer(block, np.uint8)
    ends, breaks = np.flatnonzero(text == ord("\n")), np.flatnonzero(text == ord(separator))
    if b'"' in block:
        quotes = _quotes(table, first, text, ends, separator)
        inside = np.searchsorted(quotes, breaks) % 2 == 1  # an odd number of quotes stands before
        breaks = breaks[~inside]
    lines = first + np.arange(len(ends))
    cells = np.diff(np.searchsorted(breaks, ends), prepend=0) + 1  # of each line: one more than its separators
    blank = np.diff(ends, prepend=-1) == 1  # the line feed follows that of the line before
    wrong = ~blank & (cells != len(table.names))
    if wrong.any():
        number = int(wrong.argmax())
        problem = f"{cells[number]} cells, but the header names {len(table.names)} columns; give each row one cell a column"
        raise fault(table.path, f"line {lines[number]}", problem)
    if first == 1:
        block, lines, blank = block[ends[0] + 1 :], lines[1:], blank[1:]
    if blank.any():
        block = b"\n".join(filter(None, block.split(b"\n"))) + b"\n"
    return lines[~blank], block


def _quotes(table: Table, first: int, text: Array, ends: Array, separator: str) -> Array:
    """Where quotes stand: of each two one begins a cell and one ends it, or they are two that mean one."""
    quotes = np.flatnonzero(text == ord('"'))
    odd = np.diff(np.searchsorted(quotes, ends), prepend=0) % 2 == 1
    if odd.any():
        raise fault(table.path, f"line {first + odd.argmax()}", "a quote is not closed; close it on its line, or leave it out")
    closing = np.arange(len(quotes)) % 2 == 1  # every second one; the others open
    beside = np.where(closing, quotes + 1, quotes - 1)
    inside = (beside >= 0) & ~np.isin(text[beside], np.frombuffer(f'{separator}\n"'.encode(), np.uint8))
    if inside.any():
        line = first + np.searchsorted(ends, quotes[inside.argmax()])
        raise fault(
            table.path, f"line {line}", "a quote inside a cell; put the whole cell in quotes, and write this quote twice"
        )
    return quotes


def _parse(table: Table, wanted: Wanted, lines: Array, block: bytes, separator: str) -> pl.DataFrame:
    def cells(numbers: type[pl.DataType]) -> pl.DataFrame:
        kinds: dict[str, type[pl.DataType]] = dict.fromkeys(map(str, range(len(table.names))), pl.String)
        kinds |= dict.fromkeys(map(str, wanted.numbers), numbers)
        used = sorted({*wanted.roles.values(), *wanted.numbers})
        quote = '"' if b'"' in block else None
        return pl.read_csv(block, has_header=False, separator=separator, quote_char=quote, schema=kinds, columns=used)

    try:
        read = cells(pl.Float64)
        numbers = [read[str(place)].alias(str(k)) for k, place in enumerate(wanted.numbers)]
    except pl.exceptions.PolarsError:  # a cell that is not just a number: NA, ?, spaces around it, or a mistake
        read = cells(pl.String)
        numbers = [
            _numbers(table, wanted, place, lines, read[str(place)]).alias(str(k)) for k, place in enumerate(wanted.numbers)
        ]
    assert len(read) == len(lines), f"{table.path}: {len(read)} rows in {len(lines)} lines"
    roles = read.select(tidy(pl.col(str(place))).alias(role) for role, place in wanted.roles.items())
    frame = pl.DataFrame([pl.Series("row", lines), *roles, *numbers])
    refuse_long(table, frame, wanted.roles)
    return frame


def _numbers(table: Table, wanted: Wanted, column: int, lines: Array, cells: pl.Series) -> pl.Series:
    frame = cells.to_frame("cell").select(tidy(pl.col("cell")))
    frame = frame.with_columns(
        number=pl.when(pl.col("cell").is_in(MISSING))
        .then(float("nan"))
        .otherwise(pl.col("cell").cast(pl.Float64, strict=False))
    )
    wrong = frame.select(pl.col("number").is_null() & pl.col("cell").is_not_null()).to_series()
    if wrong.any():
        number = wrong.arg_max() or 0
        raise _no_number(table, wanted, int(lines[number]), column, frame["cell"][number])
    return frame["number"]


def _no_number(table: Table, wanted: Wanted, line: int, column: int, cell: str) -> DataError:
    others = f"{wanted.columns.option('channels')}=[NAME, ...]"
    return table.fault(line, column, f"{quoted(cell)} is not a number; {NUMBERS}. If this column is no channel: {others}")
