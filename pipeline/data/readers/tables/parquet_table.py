"""Parquet, or a frame of polars, as a table: a row group at a time, and of that the columns one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.data.readers.cells import fault
from pipeline.data.readers.held import held
from pipeline.data.readers.tables import parquet_sizes
from pipeline.data.readers.tables.parquet_sizes import Group
from pipeline.data.readers.tables.rows import Rows, fill
from pipeline.data.readers.tables.table import Table, Wanted, check_names, runs_of, tidy, worded
from pipeline.data.readers.text_files import refuse_stand_in
from pipeline.data.series import Array
from pipeline.errors import DataError, short

BLOCK = 32 * 2**20  # bytes of decoded cells at a time, at 8 bytes a cell
GROUP = 2**30  # of a row group, which is decoded once; a larger one is decoded again for each GROUP of its rows
EXACT = 2**53  # up to here each integer is a float64


def open_parquet(path: Path) -> Table:
    """The table in a Parquet file. Raises DataError for a file that is none, is cut short or is damaged."""
    try:
        groups = parquet_sizes.check(path)
    except parquet_sizes.Damaged as error:
        raise _damaged(path, str(error)) from None
    with _faults(path):
        scan = pl.scan_parquet(path, glob=False, hive_partitioning=False, low_memory=True)
        return _table(path, scan, groups, GROUP)


def open_frame(path: Path, scan: pl.LazyFrame) -> Table:
    """The table in a frame; ``path`` is what messages call it. Raises DataError if it cannot be read."""
    with _faults(path):
        rows = int(scan.select(pl.len()).collect().item())
        nested = any(kind.is_nested() for kind in scan.collect_schema().dtypes())
        return _table(path, scan, [Group(rows, int(scan.collect().estimated_size()) // 8 if nested else 0)], BLOCK)


def _table(path: Path, scan: pl.LazyFrame, groups: Sequence[Group], most: int) -> Table:
    """The table in a frame made of ``groups``, of which ``most`` bytes are decoded at a time."""
    schema = scan.collect_schema()
    names, kinds = tuple(schema.names()), schema.dtypes()
    check_names(path, names, "the schema")
    nested = {place: kind for place, kind in enumerate(kinds) if isinstance(kind, pl.List | pl.Array)}

    def read(wanted: Wanted) -> Iterator[Rows]:
        roles = {role: _role(table, role, place, kinds[place]) for role, place in wanted.roles.items()}
        lists = [_listed(place, kinds[place]).alias(str(k)) for k, place in enumerate(wanted.numbers) if place in nested]
        numbers = [] if lists else list(wanted.numbers)
        for place in numbers:
            _refuse_words(table, wanted, place, kinds[place])
        single = all(kinds[place] == pl.Float32 for place in wanted.numbers)
        width = 8 * max(1, len(roles) + len(numbers))  # bytes of a row
        if lists:
            width += max((8 * group.values // group.rows for group in groups if group.rows), default=0)
        height = max(1, BLOCK // width)
        for start, count in _pieces([group.rows for group in groups], height, max(1, most // width)):
            piece = scan.slice(start, count)
            with _faults(path):
                told = piece.select(pl.nth(place).alias(role) for role, place in wanted.roles.items()).collect()
                values, empty = _decoded(piece, count, numbers, single, wanted)
                listed = piece.select(lists).collect()
            for low in range(0, count, height):
                rows = slice(low, low + height)
                part, masked = told[rows], None if empty is None else empty[rows]
                places = np.arange(start + low, start + min(low + height, count))
                heads = _heads(table, wanted, roles, part, places)
                yield Rows(places, heads, _time(roles, part), values[rows], masked, tuple(listed[rows]))

    table = Table(path, names, "row", read, nested)
    return table


def _listed(place: int, kind: pl.DataType) -> pl.Expr:
    """A column of lists, or of arrays, as lists."""

    def of_lists(kind: Any) -> Any:
        return pl.List(of_lists(kind.inner)) if isinstance(kind, pl.List | pl.Array) else kind

    return pl.nth(place) if of_lists(kind) == kind else pl.nth(place).cast(of_lists(kind))


def _pieces(groups: Sequence[int], least: int, most: int) -> Iterator[tuple[int, int]]:
    """Row groups as the first row and the number of rows of each piece to decode: small ones together, large ones cut."""
    start = end = 0
    for number, rows in enumerate(groups, 1):
        end += rows
        if end - start >= least or number == len(groups):
            for first in range(start, end, most):
                yield first, min(most, end - first)
            start = end


def _decoded(piece: pl.LazyFrame, count: int, numbers: list[int], single: bool, wanted: Wanted) -> tuple[Array, Array | None]:
    """``values`` and ``empty`` of ``count`` rows of the columns ``numbers``, some at a time, as they lie together in a file.

    ``single``: all are float32.
    """
    values, empty = np.empty((count, len(numbers)), np.float32 if single else np.float64), None
    step = max(1, BLOCK // (8 * count))
    for first in range(0, len(numbers), step):
        chosen = pl.nth(numbers[first : first + step])
        frame = piece.select(chosen if single else chosen.cast(pl.Float64)).collect()
        columns = slice(first, first + step)
        fill(values[:, columns], frame)
        if wanted.columns.layout == "wide" and any(frame.null_count().row(0)):
            empty = np.zeros(values.shape, bool) if empty is None else empty
            empty[:, columns] = frame.select(pl.all().is_null()).to_numpy()
    return values, empty


def _heads(table: Table, wanted: Wanted, roles: dict[str, pl.Expr], told: pl.DataFrame, places: Array) -> pl.DataFrame:
    """``heads`` of the rows at ``places``, of which ``told`` is what the file has for each role."""
    heads = runs_of(told.select(list(wanted.words)), len(places))
    return worded(table, wanted, heads.select("first", *(roles[role] for role in wanted.words)), places)


def _time(roles: dict[str, pl.Expr], told: pl.DataFrame) -> pl.Series | None:
    if "time" not in roles:
        return None
    time = told.select(roles["time"]).to_series()
    if not _is_text(time.dtype):
        return time
    return time.cast(pl.String).to_frame().select(tidy(pl.col("time"))).to_series()


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        with held(pl.exceptions.PanicException, pl.exceptions.PolarsError):
            yield
    except pl.exceptions.PanicException:
        raise _damaged(path, "a part of it cannot be decoded") from None
    except pl.exceptions.PolarsError as error:
        said = (str(error).splitlines() or [repr(error)])[0]
        raise _damaged(path, said) from None


def _damaged(path: Path, said: str) -> DataError:
    with suppress(OSError):  # it is a frame, or gone by now
        refuse_stand_in(path)
    return DataError(f"{path}: not a whole Parquet file ({short(said, 120)}); write or copy it again")


def _role(table: Table, role: str, place: int, kind: pl.DataType) -> pl.Expr:
    """What the column of a role, under its name, is taken for."""
    column = pl.col(role)
    if role == "time" and isinstance(kind, pl.Duration):
        column = column.dt.total_microseconds().cast(pl.Float64) / 1e6  # in seconds, as between dates
    elif role == "time" and kind.is_temporal() and not isinstance(kind, pl.Time):
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


def _refuse_words(table: Table, wanted: Wanted, place: int, kind: pl.DataType) -> None:
    """Raise DataError for a column that holds no numbers."""
    if kind.is_numeric() or isinstance(kind, pl.Boolean | pl.Null):
        return
    others = f"{wanted.columns.option('channels')}=[NAME, ...]"
    problem = f"holds {kind}, not numbers; convert it, or name the columns that are channels: {others}"
    raise fault(table.path, f"column {table.names[place]!r}", problem)
