"""Several files of one table as one: parts of it, or recordings, each of which is a series of the class of its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, repeat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.data.readers.cells import EXACT
from pipeline.data.readers.folders import Folder
from pipeline.data.readers.tables.rows import Rows
from pipeline.data.readers.tables.rows import joined as joined_rows
from pipeline.data.readers.tables.table import Table, Wanted
from pipeline.data.series import PART, Columns, Series
from pipeline.errors import DataError, quoted, some

ANEW = "if each file counts its series anew, type data.recordings=ANY, or give them ids of their own: FILE-ID"
GROUP = "GROUP"  # the column of the groups that the paths of files name, which takes nobody's place
BLOCK = 2**23  # bytes of rows that are handed on at a time


@dataclass(frozen=True)
class Told:
    """What the place of a recording says of it: the words, one a file, of columns that it does not have."""

    ids: tuple[str, Sequence[str]] | None = None  # the name of the column, and its words
    labels: tuple[str, Sequence[str]] | None = None
    groups: tuple[str, Sequence[str]] | None = None

    @property
    def columns(self) -> dict[str, Sequence[str]]:
        """The columns that are added."""
        return dict(filter(None, (self.ids, self.labels, self.groups)))


def of_folder(found: Folder, tables: Sequence[Table], columns: Columns) -> tuple[Table, Columns]:
    """The tables in a folder as one, and what is what in it: with class folders, or as ``recordings`` says, each file is one;
    without, and without a column of ids, those to predict are too.
    """
    absent = columns.layout == "long" and columns.id not in tables[0].names and not tables[0].nested
    if not found.recordings and absent and columns.labelled:
        said = f"has no column {columns.id!r}, which parts of one table need; recordings need a folder for each class"
        said += (
            f": {found.path.name}/CLASS/{tables[0].path.name}, or names that data.recordings describes, such as LABEL_GROUP_ANY"
        )
        raise DataError(f"{tables[0].path}: {said}")
    if not found.recordings and not absent:
        return joined(found.path, tables, Told()), columns
    changes: dict[str, str] = {"layout": "long", "id": columns.id or "id", "label": columns.label or "label"}
    if columns.time not in tables[0].names and columns.time == Columns.model_fields["time"].default:
        changes["time"] = ""
    labels = (changes["label"], found.labels) if found.labels else None
    taken = {*tables[0].names, *changes.values()}
    group = next(name for name in accumulate(repeat("_"), initial=GROUP) if name not in taken)
    groups = (group, found.groups) if found.groups else None
    changes |= {"group": group} if groups else {}
    told = Told((changes["id"], found.ids), labels, groups)
    if changes.get("time", columns.time) in told.columns:
        said = f"the column {quoted(columns.time)} cannot be the time of a recording, as it is its id or its label"
        raise DataError(f"{tables[0].path}: {said}; rename it, or name another: {columns.option('time')}=NAME")
    return joined(found.path, tables, told), columns.model_copy(update=changes)


def joined(path: Path, tables: Sequence[Table], told: Told) -> Table:
    """The rows of ``tables`` one after the other, with the columns that are ``told``; one there of the same name is hidden,
    but ids within a file stay apart. ``path`` is what messages call all of them.

    Raises DataError for a table whose columns are not those of the first.
    """
    first = tables[0]
    for other in tables[1:]:
        if {*other.names} != {*first.names}:
            lacking, more = ([name for name in one if name not in two] for one, two in _both(first, other))
            said = [f"lacks {some(lacking)}"] * bool(lacking) + [f"has {some(more)} besides"] * bool(more)
            raise DataError(
                f"{other.path}: {' and '.join(said)}, unlike {first.path}; give all files the same columns. If one of "
                "them says the class of the others, move each recording into a folder of its class, and that file away"
            )
        if {other.names[place] for place in other.nested} != {first.names[place] for place in first.nested}:
            raise DataError(f"{other.path}: other columns than in {first.path} hold lists; give all files the same")
    own = [name for name in first.names if name not in told.columns]
    names = (*own, *told.columns)
    nested = {place: first.nested[first.names.index(name)] for place, name in enumerate(own) if _nested(first, name)}

    def read(wanted: Wanted) -> Iterator[Rows]:
        held: list[Rows] = []
        for number, table in enumerate(tables):
            words = {name: column[number] for name, column in told.columns.items()}
            empty = True
            for rows in _part(table, number * PART, wanted, names, words, told):
                if held and not _go_together(held, rows):
                    yield joined_rows(held)
                    held = []
                held.append(rows)
                empty = False
            if empty and told.ids:
                raise DataError(f"{table.path}: has no rows; a recording has at least one: move it away")
        if held:
            yield joined_rows(held)

    return replace(first, path=path, names=names, read=read, nested=nested, parts=tuple(tables))


def otherwise(first: int, second: int, time: Any) -> str:
    """What else two rows of a series may be, at the places ``first`` and ``second``, than one too many at that ``time``."""
    said = f", or {ANEW}" * (first // PART != second // PART)
    rounded = isinstance(time, float) and bool(abs(time) > EXACT)
    return said + "; numbers of this size are rounded: if these differ, subtract the first, or divide them" * rounded


def doubted(table: Table, rows: Rows, made: Series, crossing: set[tuple[int, int]]) -> Series:
    """Series ``made`` of ``rows``, with a warning about the second, of all blocks, with rows in the same two files that no time
    orders: of a table that is cut into parts, one series goes on in the next. ``crossing``: the pairs of files before.
    """
    if not table.parts or rows.time is not None:
        return made
    files = rows.places // PART
    first, last = (extreme.reduceat(files, made.offsets[:-1]) for extreme in (np.minimum, np.maximum))
    for number in np.flatnonzero(first != last):
        pair = int(first[number]), int(last[number])
        if pair in crossing:
            both = " and in ".join(str(table.parts[part].path) for part in pair)
            said = f"series {quoted(made.ids[int(number)])} and others have rows in {both}, one after the other; {ANEW}"
            return replace(made, doubts=(*made.doubts, said))
        crossing.add(pair)
    return made


def _go_together(held: Sequence[Rows], rows: Rows) -> bool:
    """Whether rows may stand in one block with those before: small ones do, or each file would be a block of its own."""
    last = held[-1]
    plain = last.empty is None and rows.empty is None and not rows.lists
    same = rows.time is None or last.time is None or rows.time.dtype == last.time.dtype
    return plain and same and sum(one.nbytes for one in held) + rows.nbytes <= BLOCK


def _both(first: Table, other: Table) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    return ((first.names, other.names), (other.names, first.names))


def _nested(table: Table, name: str) -> bool:
    return table.names.index(name) in table.nested


def _part(
    table: Table, start: int, wanted: Wanted, names: tuple[str, ...], words: Mapping[str, str], told: Told
) -> Iterator[Rows]:
    """The rows of one of the tables, with the words of the columns that it does not have."""
    roles = {role: table.names.index(names[place]) for role, place in wanted.roles.items() if names[place] not in words}
    added = {role: words[names[place]] for role, place in wanted.roles.items() if names[place] in words}
    hidden = told.ids is not None and "id" in added and told.ids[0] in table.names
    if hidden and told.ids:
        roles["id"] = table.names.index(told.ids[0])
    numbers = tuple(table.names.index(names[place]) for place in wanted.numbers)
    counted = not roles and not numbers  # something must be read for the rows to be counted
    inner = Wanted(wanted.columns, {"group": 0} if counted else roles, numbers)
    for rows in table.read(inner):
        heads = rows.heads.select("first")[:1] if counted else rows.heads
        if hidden and "id" in added:
            heads = heads.with_columns(id=pl.lit(f"{added['id']}/") + pl.col("id"))
        plain = {role: word for role, word in added.items() if not (hidden and role == "id")}
        heads = heads.with_columns(pl.lit(word, pl.String).alias(role) for role, word in plain.items())
        kept = heads.select("first", *wanted.words)
        yield replace(rows, places=rows.places + start, heads=kept, values=rows.values.astype(np.float64, copy=False))
