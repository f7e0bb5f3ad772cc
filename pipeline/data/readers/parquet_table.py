"""Parquet, or a frame of polars, as a table, a slice of its rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from pipeline.data.readers import parquet_sizes
from pipeline.data.readers.cells import fault
from pipeline.data.readers.table import Table, Wanted, check_names, refuse_long, tidy
from pipeline.errors import DataError, short

BLOCK = 32 * 2**20  # bytes of decoded cells at a time, at 8 bytes a cell
EXACT = 2**53  # up to here each integer is a float64


def open_parquet(path: Path) -> Table:
    """The table in a Parquet file. Raises DataError for a file that is none, is cut short or is damaged."""
    try:
        parquet_sizes.check(path)
    except parquet_sizes.Damaged as error:
        raise _damaged(path, str(error)) from None
    with _faults(path):
        scan = pl.scan_parquet(path, glob=False, hive_partitioning=False, low_memory=True)
        scan.collect_schema()
    return open_frame(path, scan)


def open_frame(path: Path, scan: pl.LazyFrame) -> Table:
    """The table in a frame; ``path`` is what messages call it. Raises DataError if it cannot be read."""
    with _faults(path):
        schema = scan.collect_schema()
        count = int(scan.select(pl.len()).collect().item())
    names = tuple(schema.names())
    check_names(path, names, "the schema")

    def read(wanted: Wanted) -> Iterator[pl.DataFrame]:
        kinds = schema.dtypes()
        roles = [_role(table, role, place, kinds[place]) for role, place in wanted.roles.items()]
        numbers = [_number(table, wanted, place, kinds[place]).alias(str(k)) for k, place in enumerate(wanted.numbers)]
        height = max(1, BLOCK // (8 * len(roles + numbers)))
        for start in range(0, count, height):
            with _faults(path):
                frame = scan.slice(start, height).select(*roles, *numbers).collect(engine="streaming")
            frame = frame.insert_column(0, pl.Series("row", range(start, start + len(frame)), pl.Int64))
            refuse_long(table, frame, wanted.roles)
            yield frame.with_columns(tidy(pl.col(name).cast(pl.String)) for name in wanted.roles if _is_text(frame[name].dtype))

    table = Table(path, names, "row", 8 * len(names) * count, read)
    return table


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        said = (str(error).splitlines() or [repr(error)])[0]
        raise _damaged(path, said) from None


def _damaged(path: Path, said: str) -> DataError:
    return DataError(f"{path}: not a whole Parquet file ({short(said, 120)}); write or copy it again")


def _role(table: Table, role: str, place: int, kind: pl.DataType) -> pl.Expr:
    column = pl.nth(place)
    if role == "time" and kind.is_temporal() and not isinstance(kind, pl.Duration | pl.Time):
        column = column.cast(pl.Datetime("us"))  # of a time zone the time in UTC
    elif role == "time" and kind.is_numeric():
        column = column.cast(pl.Float64)
    elif kind.is_float():
        whole = (column == column.floor()) & (column.abs() <= EXACT)
        word = pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(column.cast(pl.String))
        column = pl.when(column.is_not_nan()).then(word)  # 3.0 is the class 3
    elif kind.is_integer() or isinstance(kind, pl.Boolean):
        column = column.cast(pl.String)
    elif not _is_text(kind):
        raise fault(table.path, f"column {table.names[place]!r}", f"holds {kind}; {role} must be text or a number")
    return column.alias(role)


def _is_text(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.String | pl.Categorical | pl.Enum)


def _number(table: Table, wanted: Wanted, place: int, kind: pl.DataType) -> pl.Expr:
    if isinstance(kind, pl.Float32):
        return pl.nth(place)
    if kind.is_numeric() or isinstance(kind, pl.Boolean | pl.Null):
        return pl.nth(place).cast(pl.Float64)
    others = f"{wanted.columns.option('channels')}=[NAME, ...]"
    problem = f"holds {kind}, not numbers; convert it, or name the columns that are channels: {others}"
    raise fault(table.path, f"column {table.names[place]!r}", problem)
