"""The rows of a long table with those of each series together, series in the order in which they first come.

A table of up to IN_MEMORY bytes is put in order in memory. Of a larger one the ids are read first or, if its reader is ready to
begin anew, with the rest. If the rows of each series stand together, the table is read as a stream. If not, its rows go to
files of some series each, by the place of the series, and each file is put in order in memory.
Shapes: n rows, N series, K numbers of a row.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline import files
from pipeline.data.readers import limits
from pipeline.data.readers.tables.rows import Numbers, Rows, joined
from pipeline.data.readers.tables.table import Table, Wanted, blocks
from pipeline.data.series import Array, cuts, offsets_of
from pipeline.errors import quoted

IN_MEMORY = 256 * 2**20  # bytes of rows that are held as a whole
HOPED = 8  # the part of that, an eighth, after which rows are handed on if those of each series stood together so far
MOST = 256  # files at a time


class Scattered(Exception):
    """The rows of a series do not stand together, in a table that was read in the hope that they do."""


def by_series(table: Table, wanted: Wanted, folder: Path | None) -> Iterator[Rows]:
    """All rows of a table, in pieces of whole series. Temporary files lie in ``folder``, or in that of the system.

    Raises DataError for a series of more than ``limits.ONE`` bytes that cannot be held as a whole, UserError if the disk of
    ``folder`` cannot be written, and Scattered, after the last row, if ``wanted.columns.hopeful`` was in vain.
    """
    rest = blocks(table, wanted)
    held: list[Rows] = []
    hopeful = wanted.columns.hopeful
    size, most = 0, IN_MEMORY // HOPED if hopeful else IN_MEMORY
    for block in rest:
        held.append(block)
        size += block.nbytes
        if size > most and not _together(held):
            most = IN_MEMORY
        if size > most:
            break
    else:
        if _together(held):
            yield from held if len(held) == 1 else _stream(table, wanted, held)
        else:
            rows = joined(held)
            yield rows.ordered(np.argsort(Numbers().of(rows.heads["id"]), kind="stable"))
        return
    ids = Wanted(wanted.columns, {"id": wanted.roles["id"]}, ())
    together = _together(held) and (hopeful or _together(blocks(table, ids)))
    every = chain(held, rest)
    del held
    if together:
        yield from _stream(table, wanted, _compared(every) if hopeful else every)
    else:
        yield from _through_files(table, wanted, every, _counts(table, ids), folder)


def _together(parts: Iterable[Rows]) -> bool:
    """Whether the rows of each series stand together; False, too, if two ids have the same hash."""
    try:
        deque(_compared(parts), maxlen=0)
    except Scattered:
        return False
    return True


def _compared(parts: Iterable[Rows]) -> Iterator[Rows]:
    """``parts``. Raises Scattered after the last if the rows of some series do not stand together."""
    hashes: list[Array] = []
    last: int | None = None
    for rows in parts:
        found = rows.heads["id"].hash().to_numpy()
        new = found[1:] != found[:-1]
        hashes.append(found[np.append(found[0] != last, new)])
        last = int(found[-1])
        yield rows
    every = np.sort(np.concatenate(hashes))
    if (every[1:] == every[:-1]).any():
        raise Scattered


def _counts(table: Table, ids: Wanted) -> Array:
    """(N) the rows of each series."""
    known, counts = Numbers(), np.zeros(0, np.int64)
    for rows in blocks(table, ids):
        numbers = known.of(rows.heads["id"])
        counts = np.append(counts, np.zeros(len(known) - len(counts), np.int64))
        counts += np.bincount(numbers, rows.lengths, len(known)).astype(np.int64)
    return counts


def _stream(table: Table, wanted: Wanted, every: Iterable[Rows]) -> Iterator[Rows]:
    carried: Rows | None = None  # the rows of the last series, which may go on in the next block
    for block in every:
        rows = block if carried is None else joined([carried, block])
        ids = rows.heads["id"]
        same = (ids == ids[-1]).to_numpy()
        last = int(rows.first[same.argmax()])
        carried = rows.cut(last, len(rows))
        _refuse_large(table, wanted, carried.nbytes, carried.heads["id"][0], carried.places[0])
        if last:
            yield rows.cut(0, last)
    assert carried is not None
    yield carried


def _refuse_large(table: Table, wanted: Wanted, size: int, name: str, place: int) -> None:
    if size > limits.ONE:
        problem = f"series {quoted(name)} takes more than {limits.ONE:,} bytes, which is the limit; cut it"
        raise table.fault(place, wanted.roles["id"], problem)


def _through_files(table: Table, wanted: Wanted, every: Iterator[Rows], counts: Array, folder: Path | None) -> Iterator[Rows]:
    """The rows by way of files that have no names, so that nothing can be left behind."""
    first = next(every)
    numbers = {role: Numbers() for role in wanted.words}
    record = _record(first, wanted)
    sizes = counts * record.itemsize
    ends = np.array([piece.stop for piece in cuts(sizes, max(1, IN_MEMORY // 4, int(sizes.sum()) // MOST))])
    what = f"the rows of {table.path.name} in the order of their series"
    what += "" if folder else " (the variable TMPDIR names the folder)"
    place = folder or Path(tempfile.gettempdir())
    with ExitStack() as stack:
        with files.disk_errors(what, place):
            made = [stack.enter_context(tempfile.TemporaryFile(dir=place, buffering=0)) for _ in ends]
        for rows in chain([first], every):
            records = _records(rows, record, numbers)
            large = sizes[records["id"]] > limits.ONE
            if large.any():
                row = int(large.argmax())
                _refuse_large(table, wanted, int(sizes[records["id"][row]]), rows.words("id")[row], rows.places[row])
            with files.disk_errors(what, place):
                _write(records, ends, made)
        words = {role: known.words() for role, known in numbers.items()}
        time = None if first.time is None else first.time.dtype
        for file in made:
            file.seek(0)
            records = np.fromfile(file, record)
            file.close()
            yield _rows(records, words, time)


def _record(rows: Rows, wanted: Wanted) -> np.dtype[Any]:
    """What is written of a row."""
    words = [(role, "u4") for role in wanted.words]
    time = [] if rows.time is None else [("time", "i8" if rows.time.dtype.is_temporal() else "f8")]
    return np.dtype([*words, *time, ("place", "i8"), ("values", rows.values.dtype, rows.values.shape[1:])])


def _records(rows: Rows, record: np.dtype[Any], numbers: Mapping[str, Numbers]) -> Array:
    made = np.empty(len(rows), record)
    for role, known in numbers.items():
        made[role] = np.repeat(known.of(rows.heads[role]), rows.lengths)
    if rows.time is not None:
        made["time"] = rows.time.to_physical().to_numpy()
    made["place"], made["values"] = rows.places, rows.values
    return made


def _write(records: Array, ends: Array, made: Sequence[FileIO]) -> None:
    """Each of the records to the file of its series: file k has those before number ``ends[k]``."""
    number = np.searchsorted(ends, records["id"], side="right").astype(np.uint16)
    ordered = records[np.argsort(number, kind="stable")].view(np.uint8)
    bounds = offsets_of(np.bincount(number, minlength=len(ends))) * records.itemsize
    for file, start, end in zip(made, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if end > start:
            left = ordered[start:end].data
            while left:
                left = left[file.write(left) :]


def _rows(records: Array, words: Mapping[str, pl.Series], time: pl.DataType | None) -> Rows:
    """The rows of some series, in the order of the table, as rows of one series after the other."""
    records = records[np.argsort(records["id"], kind="stable")]
    new = np.ones(len(records), bool)
    new[1:] = False
    for role in words:
        column = records[role]
        new[1:] |= column[1:] != column[:-1]
    first = np.flatnonzero(new)
    heads = pl.DataFrame([pl.Series("first", first, pl.Int64)]).with_columns(
        known[records[role][first]].alias(role) for role, known in words.items()
    )
    times = None if time is None else pl.Series(np.ascontiguousarray(records["time"])).cast(time)
    return Rows(np.ascontiguousarray(records["place"]), heads, times, np.ascontiguousarray(records["values"]))
