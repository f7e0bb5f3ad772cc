"""The times of the steps of a series: whether they are even, and what becomes of them.

Times that are dates are measured in seconds, numbers as they are. Shapes: S steps of all series of a block, N series.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from pipeline.data.series import Array, Columns, Series, Steps
from pipeline.errors import DataError, quoted

ELAPSED = "elapsed"  # the channel of the time since the step before
UNEVEN = 0.5  # by which share of the mean distance of two steps one must differ from it


def doubted(blocks: Iterable[Series], columns: Columns) -> Iterator[Series]:
    """The blocks, the last one with a line about all series with uneven steps, where nothing is done about them."""
    if columns.timed or columns.elapsed or not columns.labelled:
        yield from blocks
        return
    first, count = "", 0
    held: Series | None = None  # from the first uneven series on, a block waits until it is known whether it is the last
    for block in blocks:
        if held is not None:
            yield held
        found, number = _uneven(block)
        first, count = first or found, count + number
        held = block if first else None
        if held is None:
            yield block
    if held is not None:
        others = f", as unevenly as those of {count - 1:,} other series" if count > 1 else ""
        line = (
            f"{first} apart in time{others}: a model sees only their order; data.resample=STEPS interpolates at equal "
            "times, data.elapsed=true adds the time as a channel"
        )
        yield replace(held, doubts=(*held.doubts, line))


def read(blocks: Iterable[Series], columns: Columns) -> Iterator[Series]:
    """The blocks with what ``columns`` asks of their times, and nothing else of their steps: as a channel (``elapsed``), or
    in ``Series.steps`` to resample by (``timed``). Raises DataError if there are none, or the channel is there already.
    """
    for block in blocks:
        made = _with_elapsed(block, columns) if columns.elapsed else block
        times = None if made.steps is None or not columns.timed else made.steps.times
        yield made if made.steps is None else replace(made, steps=None if times is None else Steps(_since_begin(made, times)))


def _gaps(block: Series, times: Array) -> Array:
    """(S) float64, the time since the step before; 0 for the first step of a series."""
    gaps = np.zeros(len(times))
    between = np.diff(times)
    gaps[1:] = between / np.timedelta64(1, "s") if between.dtype.kind == "m" else between
    gaps[block.offsets[:-1]] = 0
    return gaps


def _since_begin(block: Series, times: Array) -> Array:
    """(S) float64, the time since the first step of each series."""
    between = times - np.repeat(times[block.offsets[:-1]], block.lengths)
    since: Array = between / np.timedelta64(1, "s") if between.dtype.kind == "m" else between.astype(np.float64)
    return since


def _uneven(block: Series) -> tuple[str, int]:
    """The first series whose steps are not evenly apart in time, and how far; and how many such series there are."""
    times = None if block.steps is None else block.steps.times
    if times is None or len(times) < 2:
        return "", 0
    between, apart = np.diff(times), np.zeros(len(times) - 1, bool)  # which stand between two series
    apart[block.offsets[1:-1] - 1] = True
    if (apart | (between == between[apart.argmin()])).all():  # nearly all files are so
        return "", 0
    gaps = _gaps(block, times)
    mean = np.add.reduceat(gaps, block.offsets[:-1]) / np.maximum(block.lengths - 1, 1)  # (N)
    far = abs(gaps - np.repeat(mean, block.lengths)) > UNEVEN * np.repeat(mean, block.lengths)
    far[block.offsets[:-1]] = False
    if not far.any():
        return "", 0
    uneven = np.flatnonzero(np.logical_or.reduceat(far, block.offsets[:-1]))
    number = int(uneven[0])
    own = gaps[block.offsets[number] + 1 : block.offsets[number + 1]]
    unit = " s" if times.dtype.kind == "M" else ""
    named = f"series {quoted(block.ids[number])} ({block.spot(number)})"
    return f"the steps of {named} are {own.min():g} to {own.max():g}{unit}", len(uneven)


def _with_elapsed(block: Series, columns: Columns) -> Series:
    times = None if block.steps is None else block.steps.times
    if times is None:
        raise DataError(
            f"{block.source}: data.elapsed needs the times of steps: a long table's column of times, named with "
            f"{columns.option('time')}, or the time stamps of a .ts file"
        )
    if ELAPSED in block.channels:
        raise DataError(f"{block.source}: has a channel {ELAPSED!r} already, which data.elapsed would add; leave one out")
    gaps = _gaps(block, times).astype(block.values.dtype)
    return replace(block, values=np.column_stack([block.values, gaps]), channels=(*block.channels, ELAPSED))
