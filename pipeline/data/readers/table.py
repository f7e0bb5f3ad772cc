"""A table of rows, read in blocks of bounded size, whatever kind of file it is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.data.readers import cells
from pipeline.data.series import WORD, Array, Columns, place, refuse_unfit
from pipeline.errors import DataError, quoted, some

DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%.f")


@dataclass(frozen=True)
class Wanted:
    """The columns to read, by their places in the table: ``roles`` (id, time, label, group) and ``numbers`` (K)."""

    columns: Columns
    roles: Mapping[str, int]
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Table:
    """A file's columns, and its rows as frames of bounded size.

    A frame has the columns ``row`` (where the row stands in the file), one for each role, then "0" to "K - 1" with the numbers:
    float64, or float32 as the file has them; null where a cell is empty and NaN where a value is called missing. Roles are
    words without space around them, null where there is none; ``time`` is a number, a date or text.
    """

    path: Path
    names: tuple[str, ...]
    unit: str  # "line" from 1, "row" from 0
    size: int  # bytes that its cells take
    read: Callable[[Wanted], Iterator[pl.DataFrame]]

    def fault(self, row: int, column: int, problem: str) -> DataError:
        """The error about one cell."""
        return cells.fault(self.path, f"{place(self.unit, row)}, column {self.names[column]!r}", problem)


def check_names(path: Path, names: tuple[str, ...], where: str) -> None:
    """Raise DataError if a column has no name, or two have the same."""
    refuse_unfit(names, lambda _: f"{path}: {where}: the name")
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name or name in seen:
            problem = f"the name {name!r} of column {number} was there before" if name else f"column {number} has no name"
            raise cells.fault(path, where, f"{problem}; give each column a name of its own")
        seen.add(name)


def tidy(word: pl.Expr) -> pl.Expr:
    """Text without space around it, null where nothing is left."""
    stripped = word.str.strip_chars()
    return pl.when(stripped != "").then(stripped)


def refuse_long(table: Table, frame: pl.DataFrame, roles: Mapping[str, int]) -> None:
    """Raise DataError for a word of ``roles`` that is too long, before it is copied as often as a small file may ask for."""
    for role, column in roles.items():
        kind = frame[role].dtype
        if isinstance(kind, pl.String | pl.Categorical | pl.Enum):
            lengths = frame[role].str.len_bytes() if isinstance(kind, pl.String) else frame[role].cat.len_bytes()
            if (lengths > WORD).any():
                row = lengths.arg_max() or 0
                problem = f"has {lengths[row]:,} bytes; the limit is {WORD:,}: shorten it, or choose another column"
                raise table.fault(frame["row"][row], column, problem)


def find_roles(table: Table, columns: Columns) -> dict[str, int]:
    """The places of the columns that are the id, time, label and group.

    In a wide table, id and time may be absent under their usual names; for prediction, label and group may be absent.
    Raises DataError, with the nearest name, for a column that must be there and is not.
    """
    wide = columns.layout == "wide"
    found: dict[str, int] = {}
    for role in ("id", "time", "label", "group"):
        name, key = getattr(columns, role), columns.option(role)
        if name in table.names:
            found[role] = table.names.index(name)
        elif not name:
            if (role == "id" and not wide) or (role == "label" and columns.labelled):
                raise DataError(f"{table.path}: {key} names no column; type {key}=NAME with one of: {some(table.names)}")
        elif role in ("label", "group") and not columns.labelled:
            continue
        elif not (wide and role in ("id", "time") and name == Columns.model_fields[role].default):
            raise cells.unknown(table.path, name, table.names, "column", key)
    return found


def frames(table: Table, wanted: Wanted) -> Iterator[pl.DataFrame]:
    """The frames of a table with the time as float64 or as a date, and every role filled.

    Raises DataError for a table without rows, an empty id or time, and an empty label or group; these two become "" if
    labels need not be there.
    """
    labelled = wanted.columns.labelled
    if not wanted.numbers:
        other = wanted.columns.option("channels")
        raise DataError(f"{table.path}: no column is left for channels; add one, or change {other}")
    kind: pl.DataType | None = None
    empty = True
    for frame in table.read(wanted):
        for role, column in wanted.roles.items():
            missing = frame[role].is_null()
            if missing.any() and (labelled or role in ("id", "time")):
                problem = f"is empty; each row needs its {role}: fill it in, or leave the row out"
                raise table.fault(frame["row"][missing.arg_max() or 0], column, problem)
            frame = frame.with_columns(_time(table, frame, column, kind) if role == "time" else frame[role].fill_null(""))
        kind = frame["time"].dtype if "time" in wanted.roles else None
        yield frame
        empty = False
    if empty:
        raise DataError(f"{table.path}: no rows; it needs at least one series")


def _time(table: Table, frame: pl.DataFrame, column: int, kind: pl.DataType | None) -> pl.Series:
    """Times as float64 or dates: all like the first, which is of ``kind`` if there were frames before."""
    stored = time = frame["time"]
    if stored.dtype == pl.String:
        time = stored.cast(pl.Float64, strict=False)
        if isinstance(kind, pl.Datetime) or (kind is None and time[0] is None):
            plain = stored.str.strip_suffix("Z")
            time = pl.select(
                pl.coalesce(plain.str.to_datetime(form, time_unit="us", strict=False) for form in DATES)
            ).to_series()
    wrong = ~time.is_finite().fill_null(False) if time.dtype == pl.Float64 else time.is_null()
    if wrong.any():
        row = wrong.arg_max() or 0
        problem = f"{quoted(str(stored[row]))} is no time, or none like those before it"
        raise table.fault(frame["row"][row], column, f"{problem}; write all as numbers, or all as YYYY-MM-DD HH:MM:SS")
    return time.alias("time")


def numbers(frame: pl.DataFrame, wanted: Wanted) -> pl.DataFrame:
    """The columns "0" to "K - 1" of a frame."""
    first = 1 + len(wanted.roles)
    return frame[:, first : first + len(wanted.numbers)]


def values(table: Table, frame: pl.DataFrame, wanted: Wanted) -> Array:
    """The numbers of a frame, (rows, K), NaN where missing. Raises DataError for one that is infinite."""
    made = cells.real(numbers(frame, wanted).to_numpy(order="c"))
    if found := cells.first_infinite(made):
        raise table.fault(frame["row"][found[0]], wanted.numbers[found[1]], cells.INFINITE)
    return made
