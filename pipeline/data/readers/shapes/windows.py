"""Recordings -> windows of so many steps each, a series a window.

A window begins every ``stride`` steps of its recording. Steps at the end that fill no window are in none; a recording of fewer
steps than a window is one window, of all its steps. The label of a window is the one that most of its steps have; of several
that are equally frequent the one that comes first in it. A window stays with the group of its recording, or with the recording.
Shapes: N recordings, S steps of all of them, W windows of a piece, S' steps of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from pipeline.data.series import BLOCK, Array, Columns, Series, Steps, offsets_of, steps_of
from pipeline.errors import DataError, quoted


@dataclass(frozen=True, eq=False)
class _Cut:
    """Windows (W): the recording of each, its first step there and in the block, and its steps."""

    of: Array
    first: Array
    begins: Array
    lengths: Array

    @property
    def steps(self) -> Array:
        """(S') the places of the steps of all windows, one window after the other, in the block."""
        steps: Array = np.repeat(self.begins, self.lengths) + steps_of(self.lengths)
        return steps

    def name(self, block: Series, number: int) -> str:
        """The id of a window: that of its recording, and the step that it begins with."""
        return f"{block.ids[self.of[number]]}:{self.first[number]}"


def cut(blocks: Iterable[Series], columns: Columns) -> Iterator[Series]:
    """The windows of all recordings, in their order; the recordings as they are if ``columns`` asks for no windows.

    Raises DataError if no window is left, as none has one label.
    """
    if not columns.window:
        yield from blocks
        return
    known: dict[str, str] = {}  # what was said: the first of its kind
    count = 0
    for block in blocks:
        short = np.flatnonzero(block.lengths < columns.window)
        if len(short):
            said = f"recording {quoted(block.ids[short[0]])} has {block.lengths[short[0]]} steps, fewer than data.window"
            known.setdefault("short", f"{said} = {columns.window}: such a recording is one window, as it is")
        for piece in _pieces(block, columns):
            made = _windows(block, piece, columns, known)
            if len(made):
                count += len(made)
                yield made
    if not count:
        raise DataError(
            f"{block.source}: no window of {columns.window} steps has one label; set a smaller data.window, or "
            "data.window_label=majority"
        )


def _pieces(block: Series, columns: Columns) -> Iterator[_Cut]:
    """All windows of a block, in pieces of about BLOCK bytes of values."""
    window, stride = columns.window, columns.stride or columns.window
    counts = np.maximum((block.lengths - window) // stride + 1, 1)  # (N)
    ends = np.cumsum(counts)
    size = max(1, BLOCK // (min(window, int(block.lengths.max())) * block.width))  # windows of a piece
    for start in range(0, int(ends[-1]) if len(ends) else 0, size):
        number = np.arange(start, min(start + size, int(ends[-1])))
        of = np.searchsorted(ends, number, side="right")
        first = (number - (ends - counts)[of]) * stride
        yield _Cut(of, first, block.offsets[of] + first, np.minimum(block.lengths[of], window))


def _windows(block: Series, piece: _Cut, columns: Columns, known: dict[str, str]) -> Series:
    """The windows of a piece. ``known`` takes in what is to be said, and what was said is not said again."""
    labels, mixed = _labels(block, piece, columns.labelled)
    kept = np.ones(len(piece.of), bool)
    if columns.labelled and columns.window_label == "single" and mixed.any():
        name = piece.name(block, int(mixed.argmax()))
        known.setdefault("mixed", f"windows of several labels are left out, the first of them {quoted(name)}")
        kept = ~mixed
    bare = np.array([columns.labelled and label == "" for label in labels or ()], bool)
    if bare.any():
        name = piece.name(block, int(bare.argmax()))
        known.setdefault("bare", f"windows of which most steps have no label are left out, the first of them {quoted(name)}")
        kept &= ~bare
    if not kept.all():
        labels = None if labels is None else tuple(np.array(labels, object)[kept].tolist())
        piece = _Cut(piece.of[kept], piece.first[kept], piece.begins[kept], piece.lengths[kept])
    of, steps = piece.of.tolist(), piece.steps
    owners = block.groups or block.ids
    times = None if block.steps is None else block.steps.times
    begun, ended = (None if column is None else column[piece.of] for column in (block.times, block.ends))
    places = None if block.steps is None else block.steps.places
    return replace(
        block,
        values=np.take(block.values, steps, axis=0),
        offsets=offsets_of(piece.lengths),
        ids=tuple(piece.name(block, number) for number in range(len(of))),
        labels=labels,
        groups=tuple(owners[number] for number in of),
        times=begun if times is None else times[piece.begins],
        ends=ended if times is None else times[piece.begins + piece.lengths - 1],
        rows=block.rows[piece.of] if places is None else places[piece.begins],
        steps=None if times is None else Steps(times[steps]),
        doubts=(*block.doubts, *known.values()),
    )


def _labels(block: Series, piece: _Cut, labelled: bool) -> tuple[tuple[str, ...] | None, Array]:
    """(W) the label of each window, and which windows have several; a step without one has the label "".

    Where labels need not be there (``labelled``), those that are count alone.
    """
    single = np.zeros(len(piece.of), bool)
    if block.labels is None:
        return None, single
    codes = None if block.steps is None else block.steps.labels
    if codes is None:
        return tuple(block.labels[number] for number in piece.of.tolist()), single
    words = block.steps.words if block.steps else ()
    owner = np.repeat(np.arange(len(piece.of)), piece.lengths)
    pairs, first, counts = np.unique(owner * len(words) + codes[piece.steps], return_index=True, return_counts=True)
    window, code = np.divmod(pairs, len(words))
    there = np.array([labelled or word != "" for word in words])[code]
    counts = np.where(there, counts, 0)
    order = np.lexsort((first, -counts, window))
    best = code[order[np.searchsorted(window[order], np.arange(len(piece.of)))]]
    several = np.bincount(window[there], minlength=len(piece.of)) > 1
    return tuple(words[number] for number in best.tolist()), several
