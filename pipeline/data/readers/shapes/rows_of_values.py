"""One channel of many values -> steps of several values each, as an image is read that stands in a row of a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pipeline.data.readers import cells
from pipeline.data.series import Columns, Series
from pipeline.errors import DataError

MOST = 12  # numbers that a message offers


def cut(blocks: Iterable[Series], columns: Columns) -> Iterator[Series]:
    """Each series of ``columns.steps`` steps, which hold its values in their order, equally many each; as it is if that is 0.

    Raises DataError for series of several channels, of another number of values than the first, or of one that the steps do
    not divide.
    """
    steps = columns.steps
    if not steps:
        yield from blocks
        return
    count = 0  # values of a series
    for block in blocks:
        if len(block.channels) > 1:
            said = f"has {len(block.channels)} channels, and data.steps = {steps} cuts the values of one"
            raise DataError(f"{block.source}: {said}; leave data.steps out, or name one channel: data.channels=[NAME]")
        count = count or int(block.lengths[0])
        if count % steps:
            remedy = _divisors(count) if columns.labelled else "give as many values as in training"
            raise DataError(f"{block.source}: {count} values a series, which data.steps = {steps} does not divide; {remedy}")
        if (other := block.lengths != count).any():
            row = int(other.argmax())
            said = f"{block.lengths[row]} values, but the first series has {count}"
            raise DataError(f"{block.place(row)}: {said}; give all the same, and write NaN where one is missing")
        width = count // steps
        made = block.values.reshape(-1, width)
        yield replace(block, values=made, offsets=block.offsets // width, channels=cells.numbered(width))


def _divisors(count: int) -> str:
    """What to set instead."""
    found = [number for number in range(2, count) if count % number == 0]
    middle = len(found) // 2  # those that give as many steps as values each
    shown = found[max(0, middle - MOST // 2) : middle + MOST // 2]
    return f"set it to a number that does: {', '.join(map(str, shown))}" if shown else "leave it out"
