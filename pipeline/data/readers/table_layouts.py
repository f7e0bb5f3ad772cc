"""Tables -> series. Long: a row per step, with the id of its series. Wide: a row per series, a column per step.

In a long table, rows of a series are put in the order of their time, where there is a time; else they stay as they are.

In a wide table, columns named ``NAME_0`` to ``NAME_k`` (or from 1) are the steps of channel NAME; several names are several
channels. Columns with other names are the steps of one channel, in the order of the file. Cells that are empty in all
channels at the end of a row end its series; NaN, NA and ? are missing values and do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl

from pipeline.data.readers import cells, limits
from pipeline.data.readers.table import Table, Wanted, find_roles, frames, numbers, values
from pipeline.data.series import Array, Columns, Series, offsets_of, place
from pipeline.errors import DataError, quoted

IN_MEMORY = 256 * 2**20  # bytes of cells of a long table; up to this the rows of a series need not stand together
TOGETHER = f"in a table over {IN_MEMORY >> 20} MB the rows of a series must stand together: sort it by id"
STEP = re.compile(r"(.+)_(\d{1,9})")


def read(table: Table, columns: Columns) -> Iterator[Series]:
    """The series of a table, in blocks. Raises DataError, which names line or row and column, for what is no such table."""
    roles = find_roles(table, columns)
    others = {name: column for column, name in enumerate(table.names) if column not in roles.values()}
    if columns.layout == "wide":
        yield from _wide(table, columns, roles, others)
    else:
        names = tuple(others)
        channels = tuple(names[number] for number in cells.choose(table.path, names, columns))
        yield from _long(table, channels, Wanted(columns, roles, tuple(others[name] for name in channels)))


def _long(table: Table, channels: tuple[str, ...], wanted: Wanted) -> Iterator[Series]:
    blocks = frames(table, wanted)
    if table.size <= IN_MEMORY:
        frame = pl.concat(blocks)
        first = frame.select(pl.col("row").first().over("id")).to_series().to_numpy()
        if (np.diff(first) < 0).any():
            frame = frame[np.argsort(first, kind="stable")]
        yield _group(table, frame, channels, wanted)
        return
    seen: set[str] = set()
    carried: pl.DataFrame | None = None  # the rows of the last series, which may go on in the next block
    for block in blocks:
        frame = block if carried is None else pl.concat([carried, block])
        last = int(np.flatnonzero(_changes(frame["id"]))[-1])
        carried = frame[last:]
        if len(carried) * carried.width * 8 > limits.ONE:
            problem = f"series {quoted(carried['id'][0])} takes more than {limits.ONE:,} bytes, which is the limit; cut it"
            raise table.fault(carried["row"][0], wanted.roles["id"], problem)
        if last:
            yield _new(table, _group(table, frame[:last], channels, wanted), seen, wanted, TOGETHER)
    assert carried is not None
    yield _new(table, _group(table, carried, channels, wanted), seen, wanted, TOGETHER)


def _new(table: Table, series: Series, seen: set[str], wanted: Wanted, remedy: str) -> Series:
    """``series``, after a look whether the id of one of them was there before."""
    for name, row in zip(series.ids, series.rows, strict=True):
        if name in seen:
            raise table.fault(row, wanted.roles["id"], f"the id {quoted(name)} was there before; {remedy}")
        seen.add(name)
    return series


def _changes(words: pl.Series) -> Array:
    """(rows) whether a word differs from the one in the row before; true for the first."""
    return (words != words.shift()).fill_null(True).to_numpy()


def _group(table: Table, frame: pl.DataFrame, channels: tuple[str, ...], wanted: Wanted) -> Series:
    """The series of a frame in which the rows of each stand together."""
    begins = _changes(frame["id"])
    starts = np.flatnonzero(begins)
    rows = frame["row"].to_numpy()[starts]
    if "time" in wanted.roles:
        frame = _in_order(table, frame, begins, wanted)
    for role in ("label", "group"):
        changed = _changes(frame[role]) & ~begins if role in wanted.roles else ~begins[:0]
        if changed.any():
            row = int(changed.argmax())
            old, new, name = frame[role][row - 1], frame[role][row], frame["id"][row]
            said = f"{quoted(new)}, but series {quoted(name)} has the {role} {quoted(old)} in another row"
            raise table.fault(frame["row"][row], wanted.roles[role], f"{said}; give all its rows the same")
    offsets = np.append(starts, len(frame))
    series = _series(table, frame[starts], rows, values(table, frame, wanted), offsets, channels)
    return replace(series, ends=frame["time"].to_numpy()[offsets[1:] - 1]) if "time" in wanted.roles else series


def _in_order(table: Table, frame: pl.DataFrame, begins: Array, wanted: Wanted) -> pl.DataFrame:
    """The frame with the rows of each series in the order of their time, of which no two are the same."""
    time = frame["time"].to_numpy()
    if not ((time[1:] <= time[:-1]) & ~begins[1:]).any():
        return frame
    frame = frame[np.lexsort((time, np.cumsum(begins)))]
    time = frame["time"].to_numpy()
    twice = (time[1:] == time[:-1]) & ~begins[1:]
    if twice.any():
        row = int(twice.argmax())
        first, second = sorted(frame["row"][row : row + 2])
        problem = (
            f"series {quoted(frame['id'][row])} has this time already on {place(table.unit, first)}; leave out one of the two"
        )
        raise table.fault(second, wanted.roles["time"], problem)
    return frame


def _wide(table: Table, columns: Columns, roles: dict[str, int], others: dict[str, int]) -> Iterator[Series]:
    channels, places = _steps(table, others, columns)
    wanted, width = Wanted(columns, roles, tuple(column for step in places for column in step)), len(channels)
    seen: set[str] = set()
    for frame in frames(table, wanted):
        if "id" not in roles:
            frame = frame.with_columns(id=pl.int_range(len(seen), len(seen) + len(frame)).cast(pl.String))
        stored = values(table, frame, wanted).reshape(len(frame), len(places), width)
        rows, lengths = frame["row"].to_numpy(), np.full(len(frame), len(places))
        if np.isnan(stored).any():
            filled = numbers(frame, wanted).select(pl.all().is_not_null()).to_numpy()
            steps: Array = np.any(filled.reshape(stored.shape), axis=2)  # (n, T)
            lengths = np.where(steps.any(1), len(places) - steps[:, ::-1].argmax(1), 0)
        if (lengths == 0).any():
            raise table.fault(
                rows[lengths.argmin()], wanted.numbers[0], "all steps of this series are empty; leave the row out"
            )
        kept = stored[np.arange(len(places)) < lengths[:, None]]
        series = _series(table, frame, rows, kept, offsets_of(lengths), channels)
        yield _new(table, series, seen, wanted, "give each series an id of its own")


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
    label, group = (tuple(heads[role].to_list()) if role in heads.columns else None for role in ("label", "group"))
    times = heads["time"].to_numpy() if "time" in heads.columns else None
    ids = tuple(heads["id"].to_list())
    return Series(table.path, stored, offsets.astype(np.int64), channels, ids, label, group, times, table.unit, rows)
