"""All series of one of the user's files, in a temporary file: what is read once, block by block, and then used in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.data.preparation import twins
from pipeline.data.series import Array, Series, Steps, offsets_of
from pipeline.errors import DataError


def spool(blocks: Iterable[Series], path: Path) -> Series:
    """All ``blocks`` of a file, of at least one labelled series, as one; ids are not kept.

    The values go to the new file ``path``, the times of steps, where there are any, to one beside it that ends in .times. Both
    are memory-mapped.

    Raises DataError for a series without steps.
    """
    known: dict[str, str] = {}  # equal words are one object: a million labels take the memory of a few
    labels: list[str] = []
    groups: list[str] = []
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
            known |= {word: word for word in {*(block.labels or ()), *(block.groups or ())} if word not in known}
            labels += map(known.__getitem__, block.labels or ())
            groups += map(known.__getitem__, block.groups or ())
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
        labels=tuple(labels),
        groups=None if block.groups is None else tuple(groups),
        times=np.concatenate(times) if times else None,
        rows=np.concatenate(rows),
        ends=np.concatenate(ends) if ends else None,
        doubts=tuple(doubts),
        steps=Steps(np.memmap(beside, np.float64, "r", shape=(int(offsets[-1]),))) if clock else None,
    )


def repeated(
    train: Series, train_rows: Array, test: Series, test_rows: Array, rounded: Callable[[Array], Array]
) -> list[tuple[int, int]]:
    """Each of ``test_rows`` whose series, ``rounded``, equals one of ``train_rows`` byte for byte, with the first such row."""
    found = twins.pairs(_hashes(train, train_rows, rounded), _hashes(test, test_rows, rounded))
    rows = [(int(test_rows[number]), int(train_rows[twin])) for number, twin in found]
    return [(row, twin) for row, twin in rows if rounded(test.one(row)).tobytes() == rounded(train.one(twin)).tobytes()]


def _hashes(series: Series, rows: Array, rounded: Callable[[Array], Array]) -> Array:
    """(n) uint64: of the bytes of each of the series ``rows``."""
    blocks = (twins.hashes_of(rounded(values), lengths) for _, values, lengths in series.blocks(rows))
    return np.concatenate([np.zeros(0, np.uint64), *blocks])
