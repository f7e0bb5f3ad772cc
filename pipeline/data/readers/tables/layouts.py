"""Tables -> series. Long: a row per step, with the id of its series. Wide: a row per series, a column per step.

In a long table, rows of a series are put in the order of their time, where there is a time; else they stay as they are.

In a wide table, columns named ``NAME_0`` to ``NAME_k`` (or from 1) are the steps of channel NAME; several names are several
channels. Columns with other names are the steps of one channel, in the order of the file. Cells that are empty in all
channels at the end of a row end its series; NaN, NA and ? are missing values and do not.

A row per series may also hold its steps as lists: a list a channel, or one list of lists (``list_cells``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.data.readers import cells
from pipeline.data.readers.tables import list_cells, part_files
from pipeline.data.readers.tables.row_order import by_series
from pipeline.data.readers.tables.rows import Ids, Numbers, Rows, shared
from pipeline.data.readers.tables.table import Table, Wanted, blocks, find_roles
from pipeline.data.series import Array, Columns, Series, Steps, offsets_of
from pipeline.errors import DataError, quoted, some

STEP = re.compile(r"(.+)_(\d{1,9})")


def read(table: Table, columns: Columns, folder: Path | None = None) -> Iterator[Series]:
    """The series of a table, in blocks; ``folder`` is for temporary files.

    Raises DataError, which names line or row and column, for what is no such table.
    """
    lists = _holds_lists(table, columns)
    roles = find_roles(table, columns.model_copy(update={"layout": "wide"}) if lists else columns)
    others = {name: column for column, name in enumerate(table.names) if column not in roles.values()}
    indices = [name for name in others if cells.is_index(name) and name not in columns.channels]
    others = {name: column for name, column in others.items() if name not in indices}
    if not others:
        raise DataError(f"{table.path}: no column is left for channels; add one, or change {columns.option('channels')}")
    if lists:
        made = _of_lists(table, columns, roles, others)
    elif columns.layout == "wide":
        made = _wide(table, columns, roles, others)
    else:
        made = _long(table, columns, roles, others, folder)
    left: tuple[str, ...] = ()
    if indices and not columns.channels:
        said = f"{some(indices)}: left out, as columns without a name are"
        left = (f"{said}; {columns.option('channels')} names what is read",)
    for series in made:
        yield replace(series, doubts=(*left, *series.doubts)) if left else series


def _long(
    table: Table, columns: Columns, roles: dict[str, int], others: dict[str, int], folder: Path | None
) -> Iterator[Series]:
    channels = tuple(tuple(others)[number] for number in cells.choose(table.path, tuple(others), columns))
    if "id" not in roles:
        table, roles = _one_series(table, roles)
    wanted = Wanted(columns, roles, tuple(others[name] for name in channels))
    crossing: set[tuple[int, int]] = set()
    for rows in by_series(table, wanted, folder):
        yield part_files.doubted(table, rows, _group(table, rows, channels, wanted), crossing)


def _one_series(table: Table, roles: dict[str, int]) -> tuple[Table, dict[str, int]]:
    """A table without ids as one of a single series, which is called 0, and its roles."""

    def read(wanted: Wanted) -> Iterator[Rows]:
        inner = {role: column for role, column in wanted.roles.items() if role != "id"}
        counted = not inner and not wanted.numbers  # something must be read for the rows to be counted
        for rows in table.read(Wanted(wanted.columns, {"group": 0} if counted else inner, wanted.numbers)):
            heads = rows.heads.select("first")[:1] if counted else rows.heads
            yield replace(rows, heads=heads.with_columns(id=pl.lit("0", pl.String)))

    return replace(table, read=read), {"id": 0, **roles}


def _group(table: Table, rows: Rows, channels: tuple[str, ...], wanted: Wanted) -> Series:
    """The series of rows in which those of each stand together."""
    new = rows.heads["id"].ne_missing(rows.heads["id"].shift()).to_numpy()
    starts = rows.first[new]
    order = _order_of_time(table, rows, starts, wanted) if rows.time is not None else None
    for role in wanted.words:
        changes = (rows.heads[role].ne_missing(rows.heads[role].shift()).to_numpy() & ~new).any()
        if changes and not (role == "label" and wanted.columns.window):
            _refuse_change(table, rows, starts, order, wanted, role)
    values = rows.values if order is None else np.take(rows.values, order, axis=0)
    time = None if rows.time is None else rows.time.to_numpy() if order is None else rows.time.to_numpy()[order]
    offsets = np.append(starts, len(rows))
    heads = rows.heads.filter(new)
    times, ends = (None, None) if time is None else (time[starts], time[offsets[1:] - 1])
    made = _series(table, heads, rows.places[starts], values, offsets, channels)
    return replace(made, times=times, ends=ends, steps=_steps_of(rows, order, time, wanted))


def _steps_of(rows: Rows, order: Array | None, time: Array | None, wanted: Wanted) -> Steps:
    """What is known of each step: its time, and for windows its label and where it stands."""
    if not wanted.columns.window:
        return Steps(time)
    places = rows.places if order is None else rows.places[order]
    if "label" not in wanted.roles:
        return Steps(time, places)
    numbers = Numbers()
    labels = np.repeat(numbers.of(rows.heads["label"]).astype(np.int64), rows.lengths)
    labels = labels if order is None else labels[order]
    return Steps(time, places, labels, tuple(numbers.words().to_list()))


def _order_of_time(table: Table, rows: Rows, starts: Array, wanted: Wanted) -> Array | None:
    """(n) the rows of each series in the order of their time, of which no two are the same; None if they are so ordered."""
    assert rows.time is not None
    time, inside = rows.time.to_numpy(), np.ones(len(rows), bool)
    inside[starts] = False
    if not ((time[1:] <= time[:-1]) & inside[1:]).any():
        return None
    order = np.lexsort((time, np.cumsum(~inside)))
    time = time[order]
    twice = (time[1:] == time[:-1]) & inside[1:]
    if twice.any():
        row = int(twice.argmax())
        first, second = sorted(rows.places[order[row : row + 2]].tolist())
        said = f"series {quoted(rows.words('id')[row])} has this time already on {table.spot(first)}; leave out one of the two"
        said += part_files.otherwise(first, second, time[row])
        raise table.fault(second, wanted.roles["time"], said)
    return order


def _refuse_change(table: Table, rows: Rows, starts: Array, order: Array | None, wanted: Wanted, role: str) -> None:
    """Raise DataError for the first row, in the order of time, whose word is not that of the row before in its series."""
    kept = slice(None) if order is None else order
    words, places = rows.words(role)[kept], rows.places[kept]
    changed = words.ne_missing(words.shift()).to_numpy().copy()
    changed[starts] = False
    row = int(changed.argmax())
    name, before = quoted(rows.words("id")[row]), quoted(words[row - 1])
    windows = ", or set data.window=STEPS to cut it into windows" if role == "label" else ""
    said = f"{quoted(words[row])}, but series {name} has the {role} {before} in another row"
    raise table.fault(places[row], wanted.roles[role], f"{said}; give all its rows the same{windows}")


def _wide(table: Table, columns: Columns, roles: dict[str, int], others: dict[str, int]) -> Iterator[Series]:
    channels, steps = _steps(table, others, columns)
    wanted, width = Wanted(columns, roles, tuple(column for step in steps for column in step)), len(channels)
    yield from _whole(table, wanted, ((*found, channels) for found in _padded(table, wanted, len(steps), width)))


def _padded(table: Table, wanted: Wanted, steps: int, width: int) -> Iterator[tuple[Rows, Array, Array]]:
    """Rows, the values of their series without the empty cells at their end, and the steps of each."""
    for rows in blocks(table, wanted):
        n = len(rows)
        stored = rows.values.reshape(n, steps, width)
        lengths = np.full(n, steps)
        if rows.empty is not None:
            there: Array = np.any(~rows.empty.reshape(stored.shape), axis=2)  # (n, T)
            lengths = np.where(there.any(1), steps - there[:, ::-1].argmax(1), 0)
        if (lengths == 0).any():
            raise table.fault(
                rows.places[lengths.argmin()], wanted.numbers[0], "all steps of this series are empty; leave the row out"
            )
        kept = rows.values if lengths.min() == steps else stored[np.arange(steps) < lengths[:, None]]
        yield rows, kept.reshape(-1, width), lengths


def _holds_lists(table: Table, columns: Columns) -> bool:
    """Whether the cells of a channel are lists of steps."""
    named = {getattr(columns, role) for role in ("id", "time", "label", "group")}
    chosen = {*columns.channels} & {*table.names} or {*table.names} - named
    return any(table.names[place] in chosen for place in table.nested)


def _of_lists(table: Table, columns: Columns, roles: dict[str, int], others: dict[str, int]) -> Iterator[Series]:
    named = list_cells.columns_of(table, columns, others)
    wanted = Wanted(columns, roles, tuple(named.values()))
    doubts: tuple[str, ...] = ()
    for series in _whole(table, wanted, list_cells.read(table, wanted, tuple(named))):
        doubts = doubts or list_cells.doubt(table, wanted, series.lengths, len(series.channels))
        yield replace(series, doubts=doubts)


def _whole(table: Table, wanted: Wanted, made: Iterator[tuple[Rows, Array, Array, tuple[str, ...]]]) -> Iterator[Series]:
    """The series of rows that each hold one: the rows, their values, the steps of each, and the channels."""
    seen: set[str] = set()
    count = 0
    for rows, values, lengths, channels in made:
        n = len(rows)
        words = {role: rows.words(role) for role in wanted.words}
        if "id" not in wanted.roles:
            words["id"] = pl.Series("id", map(str, range(count, count + n)))
        series = _series(table, pl.DataFrame(words), rows.places, values, offsets_of(lengths), channels)
        series = replace(series, times=None if rows.time is None else rows.time.to_numpy())
        if "id" in wanted.roles:
            _refuse_repeated(table, series, seen, wanted)
        yield series
        count += n


def _refuse_repeated(table: Table, series: Series, seen: set[str], wanted: Wanted) -> None:
    """Raise DataError for an id that was there before; ``seen`` takes in those of ``series``."""
    known = seen.copy() if not seen.isdisjoint(series.ids) else set()
    for name, row in zip(series.ids, series.rows.tolist(), strict=True):
        if name in known:
            problem = f"the id {quoted(name)} was there before; give each series an id of its own"
            raise table.fault(row, wanted.roles["id"], problem)
        known.add(name)
    seen.update(series.ids)


def _steps(table: Table, others: dict[str, int], columns: Columns) -> tuple[tuple[str, ...], list[tuple[int, ...]]]:
    """The channels (F), and for each step the places of their columns (F)."""
    wanted = columns.channels
    if wanted and all(name in others for name in wanted):
        return cells.numbered(1), [(others[name],) for name in wanted]
    found = {name: STEP.fullmatch(name) for name in others}
    steps: dict[str, dict[int, int]] = {}
    for name, match in found.items():
        if match and steps.setdefault(match[1], {}).setdefault(int(match[2]), others[name]) != others[name]:
            raise cells.fault(
                table.path, f"column {quoted(name)}", f"step {int(match[2])} of {match[1]!r} stands there twice; rename one"
            )
    if not wanted and not steps:
        return cells.numbered(1), [(column,) for column in others.values()]
    odd = [name for name, match in found.items() if not match]
    if odd and not wanted:
        problem = f"is not named as a step (NAME_0, NAME_1, ...), but {next(iter(filter(None, found.values())))[0]!r} is"
        remedy = f"rename one of them, or name the channels: {columns.option('channels')}=[NAME, ...]"
        raise cells.fault(table.path, f"column {odd[0]!r}", f"{problem}; {remedy}")
    names = tuple(steps)
    channels = tuple(names[number] for number in cells.choose(table.path, names, columns))
    known = [step for name in channels for step in steps[name]]
    order = range(min(known) if min(known) < 2 else 0, max(known) + 1)
    for step, name in ((step, name) for step in order for name in channels):
        if step not in steps[name]:
            raise DataError(
                f"{table.path}: there is no column '{name}_{step}'; each channel needs the steps {order[0]} to {order[-1]}"
            )
    return channels, [tuple(steps[name][step] for name in channels) for step in order]


def _series(table: Table, heads: pl.DataFrame, rows: Array, stored: Array, offsets: Array, channels: tuple[str, ...]) -> Series:
    """Series whose words stand in ``heads``, a frame with a row for each of them."""
    label, group = (shared(heads[role]) if role in heads.columns else None for role in ("label", "group"))
    ids, files = Ids(heads["id"]), tuple(str(part.path) for part in table.parts)
    offsets = offsets.astype(np.int64)
    return Series(table.path, stored, offsets, channels, ids, label, group, None, table.unit, rows, files=files)
