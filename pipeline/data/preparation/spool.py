"""All series of one of the user's files, in a temporary file: what is read once, block by block, and then used in any order."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.data.series import Array, Series, Steps, Words, offsets_of
from pipeline.errors import DataError


def spool(blocks: Iterable[Series], path: Path) -> Series:
    """All ``blocks`` of a file, of at least one labelled series, as one; ids are not kept.

    The values go to the new file ``path``, the times of steps, where there are any, to one beside it that ends in .times. Both
    are memory-mapped.

    Raises DataError for a series without steps.
    """
    labels, groups = _Joined(), _Joined()
    lengths: list[Array] = []
    rows: list[Array] = []
    times: list[Array] = []
    ends: list[Array] = []
    doubts: dict[str, None] = {}
    beside = path.with_suffix(".times")
    with path.open("wb") as file, ExitStack() as stack:
        clock = None
        for block in blocks:
            if not block.lengths.all():
                raise DataError(f"{block.place(int(block.lengths.argmin()))}: the series has no steps; leave it out")
            file.write(np.ascontiguousarray(block.values).data)
            if block.steps is not None and block.steps.times is not None:
                clock = clock or stack.enter_context(beside.open("wb"))
                clock.write(np.ascontiguousarray(block.steps.times, np.float64).data)
            labels.add(block.labels or ())
            groups.add(block.groups or ())
            lengths.append(block.lengths)
            rows.append(block.rows)
            doubts |= dict.fromkeys(block.doubts)
            if block.times is not None:
                times.append(block.times)
            if block.ends is not None:
                ends.append(block.ends)
    offsets = offsets_of(np.concatenate(lengths))
    return replace(
        block,
        values=np.memmap(path, block.values.dtype, "r", shape=(int(offsets[-1]), len(block.channels))),
        offsets=offsets,
        ids=(),
        labels=labels.words(),
        groups=None if block.groups is None else groups.words(),
        times=np.concatenate(times) if times else None,
        rows=np.concatenate(rows),
        ends=np.concatenate(ends) if ends else None,
        doubts=tuple(doubts),
        steps=Steps(np.memmap(beside, np.float64, "r", shape=(int(offsets[-1]),))) if clock else None,
    )


class _Joined:
    """Words one block after the other."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._numbers: list[Array] = []

    def add(self, words: Iterable[str]) -> None:
        block = Words.of(words)
        places = [self._known.setdefault(word, len(self._known)) for word in block.different]
        self._numbers.append(np.array(places, np.int64)[block.numbers])

    def words(self) -> Words:
        return Words(np.concatenate(self._numbers), list(self._known))
