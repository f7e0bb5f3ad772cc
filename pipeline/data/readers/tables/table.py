"""A table of rows, read in blocks of bounded size, whatever kind of file it is in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.data.readers import cells
from pipeline.data.readers.tables.rows import Rows
from pipeline.data.series import PART, WORD, Array, Columns, place, refuse_unfit
from pipeline.errors import DataError, quoted, some

DATES = (
    *("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%.f"),
    *("%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S%.f"),  # with dots the day is the first
)
DATE = r"^\d{4}-\d|^\d\d?\.\d\d?\.\d{4}"
SPACED = r"\s|^$"  # what may become another word
INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)  # that NumPy has too
OFFSET = re.compile(r".*\d\d:\d\d.*[+-]\d\d(?::?\d\d)?")  # a time of day, and how far it is from UTC


@dataclass(frozen=True)
class Wanted:
    """The columns to read, by their places in the table: ``roles`` (id, time, label, group) and ``numbers`` (K)."""

    columns: Columns
    roles: Mapping[str, int]
    numbers: tuple[int, ...]

    @property
    def words(self) -> dict[str, int]:
        """The roles that are words: all but the time."""
        return {role: column for role, column in self.roles.items() if role != "time"}


@dataclass(frozen=True)
class Table:
    """A file's columns, and its rows in blocks of bounded size."""

    path: Path
    names: tuple[str, ...]
    unit: str  # "line" from 1, "row" from 0
    read: Callable[[Wanted], Iterator[Rows]]
    nested: Mapping[int, pl.DataType] = field(default_factory=dict)  # the places of columns whose cells are lists, and of what
    parts: tuple[Table, ...] = ()  # of which it is made, if it is of several files

    def spot(self, row: int) -> str:
        """Where a row stands: in which of several files too."""
        if not self.parts:
            return place(self.unit, row)
        part = self.parts[int(row) // PART]
        return f"{place(part.unit, int(row) % PART)} of {part.path}"

    def fault(self, row: int, column: int, problem: str) -> DataError:
        """The error about one cell."""
        if self.parts:
            part = self.parts[int(row) // PART]
            where = f"{place(part.unit, int(row) % PART)}, column {self.names[column]!r}"
            return cells.fault(part.path, where, problem)
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


def runs_of(cells: pl.DataFrame, count: int) -> pl.DataFrame:
    """The first of each run of equal rows of ``cells``, which has ``count`` rows, with its number as ``first``."""
    new = np.zeros(count, bool)
    new[:1] = True
    for column in cells:
        end = 0
        for piece in column.get_chunks():  # of which to make one takes longer than all comparisons
            begin, end = end, end + len(piece)
            numbers = piece.to_numpy() if piece.dtype in INTEGERS and not piece.null_count() else None
            changes = piece[1:].ne_missing(piece[:-1]).to_numpy() if numbers is None else numbers[1:] != numbers[:-1]
            new[begin + 1 : end] |= changes
            if 0 < begin < end:
                new[begin] |= column[begin - 1] != column[begin]
    first = np.flatnonzero(new)
    heads = cells if len(first) == count or not cells.width else cells.filter(pl.Series(new))
    return pl.DataFrame([pl.Series("first", first, pl.Int64), *heads])


def worded(table: Table, wanted: Wanted, heads: pl.DataFrame, places: Array) -> pl.DataFrame:
    """Heads of rows at ``places`` (n) with the words of every role without space around them, null where nothing is left.

    Raises DataError for one that is too long, before it is copied as often as a small file may ask for.
    """
    for role, column in wanted.words.items():
        kind = heads[role].dtype
        if not isinstance(kind, pl.String | pl.Categorical | pl.Enum):
            continue
        lengths = heads[role].str.len_bytes() if isinstance(kind, pl.String) else heads[role].cat.len_bytes()
        if (lengths > WORD).any():
            row = lengths.arg_max() or 0
            problem = f"has {lengths[row]:,} bytes; the limit is {WORD:,}: shorten it, or choose another column"
            raise table.fault(places[heads["first"][row]], column, problem)
    heads = heads.with_columns(pl.col(role).cast(pl.String) for role in wanted.words)
    spaced = [role for role in wanted.words if heads[role].str.contains(SPACED).any()]
    return heads.with_columns(tidy(pl.col(role)) for role in spaced) if spaced else heads


def find_roles(table: Table, columns: Columns) -> dict[str, int]:
    """The places of the columns that are the id, time, label and group.

    In a wide table, id and time may be absent under their usual names; for prediction, label and group may be absent. A long
    table without an id is one series, to be predicted or to be cut into windows.
    Raises DataError, with the nearest name, for a column that must be there and is not.
    """
    wide = columns.layout == "wide"
    found: dict[str, int] = {}
    for role in ("id", "time", "label", "group"):
        name, key = getattr(columns, role), columns.option(role)
        if not columns.header and re.fullmatch(r"-\d{1,7}", name) and int(name) + len(table.names) >= 0:
            name = table.names[int(name)]  # -1 is the last
        if name in table.names:
            found[role] = table.names.index(name)
        elif not name:
            several = role == "id" and not wide and not columns.window  # series, which only ids tell apart
            if columns.labelled and (several or role == "label"):
                raise DataError(f"{table.path}: {key} names no column; type {key}=NAME with one of: {some(table.names)}")
        elif role in ("label", "group") and not columns.labelled:
            continue
        elif not (wide and role in ("id", "time") and name == Columns.model_fields[role].default):
            raise _unknown(table, name, key, role == "id" and (not columns.labelled or columns.window > 0))
    return found


def _unknown(table: Table, name: str, key: str, spare: bool) -> DataError:
    """The error about a column that is not there, with what the file may be instead of what it was taken for; ``spare``: one
    series needs no such column."""
    if len(table.names) == 1 and table.unit == "line":
        return DataError(
            f"{table.path}: no separator was found in {quoted(table.names[0])}, so there is one column, and there is no column "
            f"{name!r}; separate the cells by commas, semicolons, tabs, | or spaces"
        )
    error = cells.unknown(table.path, name, table.names, "column", key)
    return cells.of_values(DataError(f"{error}; if the file is one series: {key}=''") if spare else error, table.names)


def blocks(table: Table, wanted: Wanted) -> Iterator[Rows]:
    """The rows of a table with the time as float64 or as a date, every role filled, and no infinite number.

    Raises DataError for a table without rows, an empty id or time, an empty label or group, and an infinite number. Labels
    and groups become "" if labels need not be there, and so does the label of a step that is cut into windows.
    """
    labelled = wanted.columns.labelled
    kind: pl.DataType | None = None
    empty = True
    for rows in table.read(wanted):
        heads, time = rows.heads, rows.time
        for role, column in wanted.roles.items():
            missing = (heads[role] if time is None or role != "time" else time).is_null()
            may_lack = role == "label" and wanted.columns.window and wanted.columns.layout == "long"  # a step may have none
            if missing.any() and (labelled or role in ("id", "time")) and not may_lack:
                first = missing.arg_max() or 0
                problem = f"is empty; each row needs its {role}: fill it in, or leave the row out"
                raise table.fault(rows.places[first if role == "time" else heads["first"][first]], column, problem)
            if role == "time":
                time = _time(table, rows, column, kind)
                kind = time.dtype
            elif missing.any():
                heads = heads.with_columns(heads[role].fill_null(""))
            if role in ("label", "group"):
                heads = _of_classes(heads, role)
        if found := cells.put_right(rows.values):
            raise table.fault(rows.places[found[0]], wanted.numbers[found[1]], cells.INFINITE)
        yield Rows(rows.places, heads, time, rows.values, rows.empty, rows.lists)
        empty = False
    if empty:
        raise DataError(f"{table.path}: no rows; it needs at least one series")


def _of_classes(heads: pl.DataFrame, role: str) -> pl.DataFrame:
    """Heads with the words of a role as they are called in every kind of file."""
    words = heads[role]
    other = {word: called for word in words.unique().to_list() if (called := cells.class_word(word)) != word}
    return heads.with_columns(words.replace(other)) if other else heads


def dates(words: pl.Series) -> pl.Series | None:
    """A column of words as dates, if all of them are, in a form that is read."""
    there = words.drop_nulls()
    if not len(there) or not there[:100].str.contains(DATE).all():
        return None
    made = _dates(words, OFFSET.fullmatch(there[0]) is not None)
    return made if made.null_count() == words.null_count() else None


def _dates(words: pl.Series, offset: bool) -> pl.Series:
    """Dates of words, null where there is none. ``offset``: each says how far it is from UTC, and the dates are in UTC."""
    plain, end = (words, "%#z") if offset else (words.str.strip_suffix("Z"), "")
    forms = (form + end for form in DATES[offset:])
    made = pl.select(pl.coalesce(plain.str.to_datetime(form, time_unit="us", strict=False) for form in forms)).to_series()
    return made.set(~words.str.contains(DATE).fill_null(False), None)  # a year has four digits


def _time(table: Table, rows: Rows, column: int, kind: pl.DataType | None) -> pl.Series:
    """Times as float64 or dates: all like the first, which is of ``kind`` if there were blocks before."""
    assert rows.time is not None
    stored = time = rows.time
    if stored.dtype == pl.String:
        time = stored.cast(pl.Float64, strict=False)
        if isinstance(kind, pl.Datetime) or (kind is None and time[0] is None):
            time = _dates(stored, bool(kind.time_zone if isinstance(kind, pl.Datetime) else OFFSET.fullmatch(stored[0])))
    if time.dtype == pl.Float64 and not time.null_count() and len(time):
        numbers = time.to_numpy()
        if np.isfinite(numbers.min()) and np.isfinite(numbers.max()):  # either is NaN if there is one
            return time
    wrong = ~time.is_finite().fill_null(False) if time.dtype == pl.Float64 else time.is_null()
    if wrong.any():
        row = wrong.arg_max() or 0
        problem = f"{quoted(str(stored[row]))} is no time, or none like those before it"
        remedy = "write all as numbers, or all as YYYY-MM-DD HH:MM:SS or DD.MM.YYYY HH:MM:SS, with +HH:MM or without"
        raise table.fault(rows.places[row], column, f"{problem}; {remedy}")
    return time
