"""Series of unequal lengths, end to end, as every reader of the user's own files gives them.

Shapes: N series, S steps of all of them together, F channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from pipeline import config
from pipeline.errors import HIDDEN, DataError, quoted

Array = npt.NDArray[Any]
WORD = 2**16  # characters of the longest label, id, group or name
PART = 2**40  # of several files: the number of a file, times this, and the place in it are one number
BLOCK = 2**23  # bytes of values that are copied out of a file at a time
Where = Callable[[int], str]  # number of a series -> its file and row, as a message says them


def place(unit: str, number: int) -> str:
    """Where something stands in a file, as every message says it: a ``line`` counts from 1, all else from 0."""
    return f"{unit} {number}" if unit == "line" else f"{unit} {number} (from 0)"


def offsets_of(lengths: Array) -> Array:
    """(N + 1) int64: where series of ``lengths`` (N) begin and end if they lie end to end."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def steps_of(lengths: Array) -> Array:
    """(S) the number of each step in its series, of ``lengths`` (n)."""
    offsets = offsets_of(lengths)
    steps: Array = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return steps


def cuts(sizes: Array, limit: int) -> Iterator[slice]:
    """Pieces of consecutive items of ``sizes`` (n) bytes, each of one item at least.

    A piece ends where the items so far pass a multiple of ``limit``: without its last item it is smaller than ``limit``.
    """
    multiple = offsets_of(sizes)[:-1] // limit
    begins = np.flatnonzero(np.diff(multiple, prepend=-1)).tolist()
    yield from (slice(begin, end) for begin, end in pairwise([*begins, len(sizes)]))


def class_order(words: Iterable[str]) -> tuple[str, ...]:
    """Class names in the order of their numbers if all are numbers, else of their text."""
    names = sorted(words)
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return tuple(names)
    if all(map(math.isfinite, numbers)):  # nan is a word
        names = [name for _, name in sorted(zip(numbers, names, strict=True))]
    return tuple(names)


class Columns(config.Columns):
    """What is what in a file, as a reader takes it."""

    labelled: bool = True  # whether labels must be there: in training, and not in prediction
    timed: bool = False  # whether the times of steps are handed on, to resample by
    hopeful: bool = False  # whether a large table is read before it is known that the rows of each series stand together

    @property
    def cuts_series(self) -> bool:
        """Whether series are cut into others, and a part of one may be refused that would fit as a whole."""
        return bool(self.window or self.steps)

    def option(self, role: str) -> str:
        """What to type to name another column for a role: a key of the configuration, or an option of ``predict``."""
        return f"data.{role}" if self.labelled else f"--{role}"


def refuse_unfit(words: Sequence[str], where: Callable[[int], str]) -> None:
    """Raise DataError for the first of ``words`` that is too long or holds something hidden.

    ``where``: the number of a word -> its place and what it is, as a message says them.
    """
    if max(map(len, words), default=0) <= WORD and not HIDDEN.search("".join(words)):
        return
    for number, word in enumerate(words):
        if len(word) > WORD:
            shown = f"{where(number)} {quoted(word)}"
            raise DataError(f"{shown} has {len(word):,} characters; the limit is {WORD:,}: shorten it")
        if found := HIDDEN.search(word):
            raise DataError(
                f"{where(number)} {quoted(word)} holds the character U+{ord(found[0]):04X}, which nobody sees but terminals "
                "and files obey; take it out"
            )


class Words(Sequence[str]):
    """A word for each of N series, of which few are different: labels, groups.

    ``numbers``: (N) the place of each in ``different``, where words stand in the order in which they first come.
    """

    def __init__(self, numbers: Array, different: Sequence[str]) -> None:
        self.numbers, self.different = numbers, tuple(different)

    @classmethod
    def of(cls, words: Iterable[str]) -> Words:
        """``words``, as Words."""
        if isinstance(words, Words):
            return words
        known: dict[str, int] = {}
        return cls(np.array([known.setdefault(word, len(known)) for word in words], np.int64), list(known))

    @property
    def counts(self) -> dict[str, int]:
        """How often each is there."""
        return dict(zip(self.different, np.bincount(self.numbers, minlength=len(self.different)).tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[str]:
        return map(self.different.__getitem__, self.numbers.tolist())

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...
    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        found = self.numbers[place].tolist()
        return tuple(map(self.different.__getitem__, found)) if isinstance(place, slice) else self.different[found]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Words | tuple) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # of what is equal to tuples


@dataclass(frozen=True, eq=False)
class Steps:
    """What is known of each step (S) of some series, end to end, where a file says it."""

    times: Array | None = None  # (S) float64 or datetime64, ascending in each series
    places: Array | None = None  # (S) int64, as ``Series.rows``
    labels: Array | None = None  # (S) numbers of ``words``, where the label changes within a series
    words: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Series:
    """Some or all series of the file ``source``, in its order, with words for labels and NaN for what is missing.

    A reader may give a file as several blocks of this kind, so that no file has to fit into memory; all blocks of a file
    have the same ``channels`` and the same type of ``values``.
    """

    source: Path
    values: Array  # (S, F), in memory or mapped; float32 if that holds the numbers of the file exactly, else float64
    offsets: Array  # (N + 1) int64; series n is values[offsets[n] : offsets[n + 1]]
    channels: tuple[str, ...]  # (F)
    ids: Sequence[str]  # (N); () where nobody asks for them any more
    labels: Sequence[str] | None  # (N)
    groups: Sequence[str] | None  # (N); series of one group never stand on both sides of a split
    times: Array | None  # (N) float64 or datetime64: when each series begins, for a split in order of time
    unit: str  # what ``rows`` counts: "line", "row" or "series"
    rows: Array  # (N) int64
    ends: Array | None = None  # (N), like ``times``: when each series ends; None where a series has one time
    files: tuple[str, ...] = ()  # of which ``source`` is the folder; ``rows`` has their numbers too (PART)
    doubts: tuple[str, ...] = ()  # warnings for the owner of the file: what was taken for granted and may be otherwise
    steps: Steps | None = None  # of a long table; once series are as they were asked for, no more than was asked for

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Array:
        """(N) int64, the steps of each series."""
        return np.diff(self.offsets)

    @property
    def width(self) -> int:
        """Bytes of a step."""
        return self.values.itemsize * len(self.channels)

    def place(self, number: int) -> str:
        """Where series ``number`` stands, as a message says it: file and row."""
        return f"{self.source}: {self.spot(number)}" if not self.files else self.spot(number)

    def spot(self, number: int) -> str:
        """Where series ``number`` stands in its file; of several files, in which one too."""
        file, row = divmod(int(self.rows[number]), PART)
        return f"{self.files[file]}: {place(self.unit, row)}" if self.files else place(self.unit, row)

    def one(self, number: int) -> Array:
        """(T, F) the values of one series."""
        values: Array = self.values[self.offsets[number] : self.offsets[number + 1]]
        return values

    def times_of(self, rows: Array) -> Array | None:
        """(S') the times of the steps of the series ``rows``, in that order, if they are known."""
        if self.steps is None or self.steps.times is None:
            return None
        lengths = self.lengths[rows]
        times: Array = self.steps.times[np.repeat(self.offsets[rows], lengths) + steps_of(lengths)]
        return times

    def blocks(self, rows: Array) -> Iterator[tuple[Array, Array, Array]]:
        """The series ``rows``, in that order, in blocks of about BLOCK bytes: rows (n), values (S', F), lengths (n)."""
        lengths = self.lengths
        equal = len(lengths) > 0 and bool((lengths == lengths[0]).all())
        values: Array = np.asarray(self.values)
        for piece in cuts(lengths[rows] * self.width, BLOCK):
            chosen, steps = rows[piece], lengths[rows[piece]]
            if (np.diff(chosen) == 1).all():
                yield chosen, values[self.offsets[chosen[0]] : self.offsets[chosen[-1] + 1]], steps
            elif equal:
                whole = values.reshape(len(lengths), -1)  # a series after the other is copied, not a step
                yield chosen, np.take(whole, chosen, axis=0).reshape(-1, values.shape[1]), steps
            else:
                begins = np.repeat(self.offsets[chosen], steps)
                yield chosen, np.take(values, begins + steps_of(steps), axis=0), steps
