"""The first rows of a table that nobody has described: numbers, dates and words as what they are."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.data.readers.cells import EXACT, MISSING
from pipeline.data.readers.tables import csv_dialect, csv_lines
from pipeline.data.readers.tables.parquet_table import open_parquet
from pipeline.data.readers.tables.table import dates
from pipeline.errors import DataError

MOST_BYTES = 2**28  # that are looked at
ABSENT = sorted({"", "NaN", "-NaN", "None", "Null", *MISSING, *(word.upper() for word in MISSING)})


def of(source: str, path: Path, most: int) -> tuple[pl.DataFrame, tuple[str, ...], dict[str, Any]]:
    """At most ``most`` rows of a CSV or Parquet file, the names of its columns, and how a CSV is written, by keys of Columns.

    Columns of lists are left out. Raises DataError for what is no such file.
    """
    if source == "parquet":
        table = open_parquet(path)
        flat = [place for place in range(len(table.names)) if place not in table.nested]
        frame = pl.scan_parquet(path, glob=False).head(most).select(pl.nth(*flat)).collect() if flat else pl.DataFrame()
        return frame, tuple(table.names[place] for place in flat), {}
    dialect, decimal = csv_dialect.guess(path)
    csv_lines.dialect_of(path, dialect.header, decimal)
    text = bytearray()
    lines = 0
    for first, block in csv_lines.lines(path, dialect):
        text += csv_lines.rows(path, dialect, first, block)[1]  # refuses a line of another number of cells
        lines += block.count(b"\n")
        if lines >= most or len(text) >= MOST_BYTES:
            break
    if not text:
        raise DataError(f"{path}: has no rows; it needs at least one series")
    frame = pl.read_csv(
        io.BytesIO(bytes(text)),
        has_header=False,
        separator=dialect.separator,
        n_rows=most,
        infer_schema_length=most,
        null_values=ABSENT,
        truncate_ragged_lines=True,
        decimal_comma=decimal == ",",
    )
    return (
        pl.DataFrame([_typed(_bare(column, decimal)) for column in frame]),
        dialect.names,
        {"header": dialect.header, "decimal": decimal},
    )


def nested(path: Path) -> tuple[str, ...]:
    """The columns of a Parquet file whose cells are lists. Raises DataError for what is no such file."""
    table = open_parquet(path)
    return tuple(table.names[place] for place in table.nested)


def _bare(column: pl.Series, decimal: str) -> pl.Series:
    """A column of numbers with spaces around them as numbers."""
    if column.dtype != pl.String:
        return column
    words = column.str.strip_chars()
    words = words.set(words.is_in(ABSENT), None)
    for kind in (pl.Int64, pl.Float64):
        made = (words.str.replace(",", ".", literal=True) if decimal == "," else words).cast(kind, strict=False)
        if made.null_count() == words.null_count() < len(words):
            return made
    return column


def _typed(column: pl.Series) -> pl.Series:
    """A column of True and False, of whole numbers, or of dates that a reader knows, however written, as what it is."""
    if column.dtype == pl.Float64 and len(there := column.drop_nulls()) and ((there % 1 == 0) & (there.abs() < EXACT)).all():
        return column.cast(pl.Int64)  # 3.0 comes of a table that once had a gap
    if column.dtype == pl.String and (found := dates(column.str.strip_chars())) is not None:
        return found.alias(column.name)
    if column.dtype == pl.String and set(column.drop_nulls().unique().str.to_lowercase()) in (
        {"true", "false"},
        {"true"},
        {"false"},
    ):
        return (column.str.to_lowercase() == "true").alias(column.name)
    return column
