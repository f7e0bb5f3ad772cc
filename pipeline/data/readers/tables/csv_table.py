"""CSV as a table: UTF-8, one line a row, plain or gzip; ``csv_dialect`` tells how its cells are separated.

A line is a row: a cell may stand in quotes, but not go on in the next line. So every message can name the line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.data.readers.cells import GROUPED, MISSING, NUMBERS, THOUSANDS, TRUTH, fault, is_number
from pipeline.data.readers.tables import csv_lines
from pipeline.data.readers.tables.csv_dialect import Dialect
from pipeline.data.readers.tables.rows import Rows, dense
from pipeline.data.readers.tables.table import Table, Wanted, runs_of, tidy, worded
from pipeline.data.series import Array
from pipeline.errors import DataError, quoted

Kind = type[pl.DataType]


def open_csv(path: Path, header: bool | None = True, decimal: str = ".") -> Table:
    """The table in a CSV file; ``header`` as ``csv_dialect.find`` takes it, ``decimal`` the point or comma in its numbers.

    Raises DataError, which names the line, for whatever is not as this module's docstring says.
    """
    dialect = csv_lines.dialect_of(path, header, decimal)

    def read(wanted: Wanted) -> Iterator[Rows]:
        parser = _Parser(table, dialect, wanted, decimal)
        for first, block in csv_lines.lines(path, dialect):
            if (rows := parser.parse(first, block)) is not None:
                yield rows

    table = Table(path, dialect.names, "line", read)
    return table


class _Parser:
    """What makes rows of the blocks of one table."""

    def __init__(self, table: Table, dialect: Dialect, wanted: Wanted, decimal: str) -> None:
        self.table, self.dialect, self.wanted, self.decimal = table, dialect, wanted, decimal
        self.time: Kind = pl.Float64  # until a block holds dates

    def parse(self, first: int, block: bytes) -> Rows | None:
        """The rows of a block of whole lines, of which ``first`` is the first; None if all lines are blank.

        Raises DataError, which names the line.
        """
        count = csv_lines.even(block, self.dialect)
        lines = np.arange(first, first + count)
        read = None
        if count:
            with suppress(pl.exceptions.PolarsError):  # a line has more cells than columns; another has fewer
                read = self._read(block)
        if read is None or len(read) != count or (not self.wanted.numbers and any(cells.null_count() for cells in read)):
            lines, block = csv_lines.rows(self.table.path, self.dialect, first, block)
            if not len(lines):
                return None
            read = self._read(block)
        assert len(read) == len(lines), f"{self.table.path}: {len(read)} rows in {len(lines)} lines"
        for place in self.dialect.idle:
            self._refuse_value(lines, place, read[str(place)])
        numbers = read.select(map(str, self.wanted.numbers))
        if numbers.width and numbers.dtypes[0] == pl.String:
            numbers = pl.DataFrame([self._numbers(lines, place, numbers[:, k]) for k, place in enumerate(self.wanted.numbers)])
        words = read.select(pl.col(str(place)).alias(role) for role, place in self.wanted.words.items())
        heads = worded(self.table, self.wanted, runs_of(words, len(lines)), lines)
        return Rows(lines, heads, self._time(read), *dense(numbers, self.wanted.columns.layout == "wide", len(lines)))

    def _read(self, block: bytes) -> pl.DataFrame:
        """The cells of a block, by the places of their columns: numbers as numbers if all are, else as text."""
        if self.decimal == "," and b"." in block:  # polars would take 1.234 for a number, where it may mean a thousand
            return self._cells(block, pl.String, pl.String)
        try:
            read = self._cells(block, pl.Float64, self.time)
            time = self._time(read)
            if time is None or time.dtype == pl.String or time.is_finite().fill_null(False).all():
                return read
        except pl.exceptions.PolarsError:  # a cell that is not just a number: NA, ?, spaces around it, a date, or a mistake
            pass
        try:
            return self._cells(block, pl.Float64, pl.String)
        except pl.exceptions.PolarsError:
            return self._cells(block, pl.String, pl.String)

    def _cells(self, block: bytes, numbers: Kind, time: Kind) -> pl.DataFrame:
        """With the last column, a line of more cells is an error; where only words are read, lines are read again anyway."""
        wanted = self.wanted
        kinds: dict[str, Kind] = dict.fromkeys(map(str, range(len(self.table.names))), pl.String)
        kinds |= dict.fromkeys(map(str, wanted.numbers), numbers)
        if "time" in wanted.roles:
            kinds[str(wanted.roles["time"])] = time
        return pl.read_csv(
            block,
            has_header=False,
            separator=self.dialect.separator,
            quote_char='"' if b'"' in block else None,
            schema=kinds,
            columns=sorted(
                {*wanted.roles.values(), *wanted.numbers, *self.dialect.idle} | ({len(kinds) - 1} if wanted.numbers else set())
            ),
            decimal_comma=self.decimal == ",",
        )

    def _refuse_value(self, lines: Array, place: int, cells: pl.Series) -> None:
        """Raise DataError for a value in a column without a name that had none in the first lines."""
        there = cells.str.strip_chars().fill_null("") != ""
        if there.any():
            row = there.arg_max() or 0
            problem = f"{quoted(cells[row])} stands in a column without a name; name column {place + 1} in the header"
            raise fault(self.table.path, f"line {lines[row]}", problem)

    def _time(self, read: pl.DataFrame) -> pl.Series | None:
        if "time" not in self.wanted.roles:
            return None
        time = read[str(self.wanted.roles["time"])]
        if time.dtype == pl.String:
            time = time.to_frame("time").select(tidy(pl.col("time"))).to_series()
            if self.decimal == ",":
                time = self._with_point(time)
            if time.cast(pl.Float64, strict=False).null_count() > time.null_count():
                self.time = pl.String
        return time

    def _with_point(self, time: pl.Series) -> pl.Series:
        """Times with decimal commas, with decimal points instead."""
        pointed = time.filter(time.str.contains(r"^[-+]?\d+\.\d+$").fill_null(False))
        if len(pointed):
            problem = f"the time {quoted(pointed[0])} has a point, and data.decimal is ','; write all numbers in one way"
            raise DataError(f"{self.table.path}: {problem}")
        comma = pl.col("time").str.contains(r"^[-+]?\d*,\d+$")
        return (
            time.to_frame("time")
            .select(pl.when(comma).then(pl.col("time").str.replace(",", ".", literal=True)).otherwise(pl.col("time")))
            .to_series()
        )

    def _numbers(self, lines: Array, column: int, cells: pl.Series) -> pl.Series:
        cell, lower = pl.col("cell"), pl.col("cell").str.to_lowercase()
        written = cell
        if self.decimal != ".":
            written = pl.when(~cell.str.contains(".", literal=True)).then(cell.str.replace(self.decimal, "."))
        elif (number := cells.cast(pl.Float64, strict=False)).null_count() == cells.null_count():
            return number
        frame = cells.to_frame("cell").select(tidy(cell))
        frame = frame.with_columns(
            number=pl.when(lower.is_in(MISSING))
            .then(float("nan"))
            .when(lower.is_in(TRUTH))
            .then((lower == "true").cast(pl.Float64))
            .otherwise(written.cast(pl.Float64, strict=False))
        )
        wrong = frame.select(pl.col("number").is_null() & pl.col("cell").is_not_null()).to_series()
        if wrong.any():
            row = wrong.arg_max() or 0
            raise self._no_number(int(lines[row]), column, frame["cell"][row])
        return frame["number"].alias(cells.name)

    def _no_number(self, line: int, column: int, cell: str) -> DataError:
        if self.decimal == "." and is_number(cell, ",") and self.wanted.columns.labelled:
            remedy = "write a decimal point, or set data.decimal=','"
            if THOUSANDS.fullmatch(cell):  # as a decimal comma it would be another number, without a word
                remedy = "if the comma sets thousands apart, take it out; if it is a decimal comma, set data.decimal=','"
            return self.table.fault(line, column, f"{quoted(cell)} is not a number; {remedy}")
        if GROUPED.fullmatch(cell):
            problem = f"{quoted(cell)} is not a number; take out what sets its thousands apart, here and in all rows"
            return self.table.fault(line, column, problem)
        if cell == self.table.names[column]:
            problem = f"{quoted(cell)} is the name of this column: line {line} is the header once more; leave it out"
            return self.table.fault(line, column, problem)
        if self.dialect.header and line == self.dialect.first and not is_number(cell, ","):
            problem = (
                f"{quoted(cell)} is not a number; if this line holds units or a second header, leave it out; else {NUMBERS}"
            )
            return self.table.fault(line, column, problem)
        others = f"{self.wanted.columns.option('channels')}=[NAME, ...]"
        problem = f"{quoted(cell)} is not a number; {NUMBERS}. If this column is no channel: {others}"
        return self.table.fault(line, column, problem)
