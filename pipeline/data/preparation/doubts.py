"""What is strange about the user's series, as lines of text: channels that are no measurements, odd values.

Nothing is refused for it: there may be a reason. Shapes: N series, S steps of all of them, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.data.preparation.moments import folded
from pipeline.data.readers.cells import is_missing
from pipeline.data.series import Array, Columns, Series, Words
from pipeline.errors import quoted, some

BLOCK = 2**18  # values looked at together
FEW = 64  # different values of a channel that may be a code of the class
# what programs write where there is no value, and how much it must stand apart, in widths of the range of the others
STAND_INS = [sign * value for value in (99.0, 999.0, 9999.0, 99999.0, 999999.0, 32768.0, 1e20, 1e30) for sign in (-1, 1)]
APART = 3.0
DIFFERENT = 3  # numbers of zeros at the ends of series, from which on they are taken for padding
SHOWN = 5  # groups or channels, of which there may be many
COUNTS, TELLS, CONSTANT = "counts", "tells", "constant"
NO_MEASUREMENT = {  # what may be true of a channel that is none, said of one and of several
    COUNTS: ("counts the rows", "count the rows"),
    TELLS: (
        "alone tells the class of every series: a LEAK, unless it is known in use",
        "each alone tell the class of every series: a LEAK, unless they are known in use",
    ),
    CONSTANT: (
        "is constant within every series, as the number of a person or a device is",
        "are constant within every series, as the number of a person or a device is",
    ),
}


def of(series: Series, class_names: Sequence[str], images: bool = False) -> Iterator[str]:
    """The lines about all ``series`` of a file, whose values may be memory-mapped; they are read in order. ``images``: each is
    rows of pixels, of which the last may well be black."""
    yield from _alike(class_names, "classes")
    yield from list(_alike(sorted(Words.of(series.groups or ()).different), "groups, which splits may part"))[:SHOWN]
    for name in filter(is_missing, class_names):
        yield f"{quoted(name)} is a class of its own; if it says that a label is missing, leave its rows out"
    found = _Channels(series)
    found.read()
    named: dict[str, list[str]] = {kind: [] for kind in NO_MEASUREMENT}
    stand_ins: list[str] = []
    for channel, name in enumerate(map(quoted, series.channels)):
        if found.low[channel] == found.high[channel]:
            continue  # of which the report says so
        kinds = {COUNTS: found.counts[channel], TELLS: found.tells(channel), CONSTANT: found.within[channel]}
        if kind := next((kind for kind, true in kinds.items() if true), ""):
            named[kind].append(name)
        value, count = found.stand_in(channel)
        if count:
            shown = f"channel {name} holds {value:g} {count} times, far outside its other values"
            stand_ins.append(f"{shown}: if that stands for a missing value, leave the cell empty")
    leave = f"name the others by {Columns().option('channels')}=[NAME, ...] if it is no measurement"
    for kind, (one, several) in NO_MEASUREMENT.items():
        if len(named[kind]) == 1:
            yield f"channel {named[kind][0]} {one}: {leave}"
        elif named[kind]:
            yield f"{len(named[kind])} channels, {some(named[kind], SHOWN)}, {several}: {leave}"
    if not images:
        yield from _padded(series)
    yield from stand_ins[:SHOWN]
    if len(stand_ins) > SHOWN:
        yield f"{len(stand_ins) - SHOWN} more channels hold such values"


def _alike(names: Sequence[str], what: str) -> Iterator[str]:
    """About names that differ only in capitals, blanks, ``_`` and ``-``, or in zeros ahead of a number."""
    called: dict[str, list[str]] = {}
    for name in names:
        plain = "".join(name.casefold().replace("_", " ").replace("-", " ").split())
        called.setdefault((plain.lstrip("0") or "0") if plain.isdecimal() else plain, []).append(name)
    for alike in called.values():
        if len(alike) > 1 and not any(_number(name) for name in alike):
            yield f"{some(alike)} are different {what}; if they are one, write it in one way"


def _number(name: str) -> bool:
    """Whether a sign would be lost: -1 and 1 are two classes."""
    return name[:1] in "+-" and name[1:].replace(".", "").isdecimal()


def _pieces(series: Series) -> Iterator[slice]:
    """The steps of all series, some at a time."""
    steps, of_each = int(series.offsets[-1]), max(1, BLOCK // len(series.channels))
    yield from (slice(begin, min(begin + of_each, steps)) for begin in range(0, steps, of_each))


def _padded(series: Series) -> Iterator[str]:
    """About series of one length that end in zeros alone, as arrays are filled up with."""
    lengths = series.lengths
    if int(lengths.min()) < int(lengths.max()) or int(lengths[0]) == 1:
        return
    lasts = np.split(series.offsets[1:] - 1, range(of_each := max(1, BLOCK // len(series.channels)), len(series), of_each))
    count = sum(int((series.values[steps] == 0).all(1).sum()) for steps in lasts)
    if 2 * count <= len(series):
        return
    ends = np.concatenate([_zeros(values, steps) for _, values, steps in series.blocks(np.arange(len(series)))])
    if len(np.unique(ends)) >= DIFFERENT:
        said = f"{count} of {len(series)} series end in steps of 0 alone, {ends[ends > 0].min()} to {ends.max()} of them, as "
        yield f"{said}padding does: if they are no measurements, leave them empty (NaN), or give the lengths"


def _zeros(values: Array, lengths: Array) -> Array:
    """(n) the steps of 0 alone at the end of series (S, C) of one length."""
    there = (values != 0).any(1).reshape(len(lengths), -1)
    ends: Array = np.where(there.any(1), there[:, ::-1].argmax(1), there.shape[1])
    return ends


def _varies(values: Array, owner: Array) -> Array:
    """(C) whether a value (n, C) is another one than the last in its series that is not missing."""
    there = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(there, np.arange(len(values))[:, np.newaxis], 0), axis=0)[:-1]  # (n - 1, C)
    before = np.take_along_axis(values, last, 0)
    found: Array = (there[1:] & (owner[last] == owner[1:, np.newaxis]) & (values[1:] != before) & ~np.isnan(before)).any(0)
    return found


class _Channels:
    """What is true of each channel (C): it ``counts`` the rows of the file or of each series, is constant ``within`` each
    series, lies between ``low`` and ``high``."""

    def __init__(self, series: Series) -> None:
        self.series, channels = series, len(series.channels)
        several = int(series.lengths.max()) > 1
        self.counts, self._restarts, self.within = np.full((3, channels), several)
        self.low, self.high = np.full(channels, np.inf), np.full(channels, -np.inf)
        self._labels = Words.of(series.labels or ()).numbers
        self._pairs: dict[int, set[tuple[float, int]]] = {channel: set() for channel in range(channels)}  # value, class

    def read(self) -> None:
        """Go through the values, each channel no further than something may still be true of it."""
        for piece in _pieces(self.series):
            stored = self.series.values[piece]
            self.low = np.fmin(self.low, folded(np.fmin, stored))
            self.high = np.fmax(self.high, folded(np.fmax, stored))
            if not (self.counts | self._restarts | self.within).any() and not self._pairs:
                continue
            steps = np.arange(max(piece.start - 1, 0), piece.stop)  # and the one before
            values = np.asarray(self.series.values[steps[0] : piece.stop], np.float64)
            owner = np.searchsorted(self.series.offsets, steps, side="right") - 1
            self._compare(values, owner)
            for channel in list(self._pairs):
                self._pair(channel, values[:, channel], self._labels[owner])
        self.counts |= self._restarts

    def _compare(self, values: Array, owner: Array) -> None:
        """Each step with the one before it."""
        left = self.counts | self._restarts | self.within
        if left.any() and len(values) > 1:
            step, inner = np.diff(values[:, left], axis=0), np.diff(owner) == 0
            self.counts[left] &= (step == 1).all(0)
            self._restarts[left] &= (step[inner] == 1).all(0)
            self.within[left] &= ~_varies(values[:, left], owner)

    def _pair(self, channel: int, values: Array, labels: Array) -> None:
        """Note which value stands with which class, until there are too many, or one stands with two."""
        there = ~np.isnan(values)
        distinct, place = np.unique(values[there], return_inverse=True)
        pairs = self._pairs[channel]
        if len(distinct) <= FEW:
            classes = int(self._labels.max()) + 1
            pairs |= {
                (float(distinct[pair // classes]), int(pair % classes)) for pair in np.unique(place * classes + labels[there])
            }
        known = {value for value, _ in pairs}
        if len(distinct) > FEW or len(known) > FEW or len(known) < len(pairs):
            del self._pairs[channel]

    def tells(self, channel: int) -> bool:
        """Whether a value, and there are few, stands with one class only."""
        pairs = self._pairs.get(channel, set())
        return 2 * len(pairs) <= len(self._labels) and len({label for _, label in pairs}) > 1

    def stand_in(self, channel: int) -> tuple[float, int]:
        """The least or the largest value, if it may stand for a missing one, and how often it is there; else a count of 0."""
        ends = [float(value) for value in (self.low[channel], self.high[channel])]
        extreme = next((value for value in ends if np.isclose(value, STAND_INS, rtol=1e-6, atol=0).any()), None)  # of float32
        if extreme is None:
            return 0.0, 0
        low, high, count = np.inf, -np.inf, 0
        for piece in _pieces(self.series):
            values = np.asarray(self.series.values[piece, channel], np.float64)
            others = values[values != extreme]
            count += int((values == extreme).sum())
            low, high = min(low, np.nanmin(others, initial=np.inf)), max(high, np.nanmax(others, initial=-np.inf))
        apart = low - extreme if extreme < low else extreme - high
        return extreme, count if count > 1 and high > low and apart > APART * (high - low) else 0
