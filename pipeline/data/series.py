"""Series of unequal lengths, end to end, as every reader of the user's own files gives them.

Shapes: N series, S steps of all of them together, F channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import config

Array = npt.NDArray[Any]
Where = Callable[[int], str]  # number of a series -> its file and row, as a message says them


def steps_of(lengths: Array) -> Array:
    """(S) the number of each step in its series, of ``lengths`` (n)."""
    steps: Array = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return steps


class Columns(config.Columns):
    """What is what in a file, as a reader takes it."""

    labelled: bool = True  # whether labels must be there: in training, and not in prediction

    def option(self, role: str) -> str:
        """What to type to name another column for a role: a key of the configuration, or an option of ``predict``."""
        return f"data.{role}" if self.labelled else f"--{role}"


@dataclass(frozen=True, eq=False)
class Series:
    """Some or all series of a file, in the order of the file, with words for labels and NaN for what is missing.

    ``unit`` and ``rows`` name a series in messages: a ``line`` from 1, a ``row`` or a ``series`` from 0. A reader may give a
    file as several blocks of this kind, so that no file has to fit into memory; all blocks of a file have the same
    ``channels``.
    """

    values: Array  # (S, F) float32
    offsets: Array  # (N + 1) int64; series n is values[offsets[n] : offsets[n + 1]]
    channels: tuple[str, ...]  # (F)
    ids: tuple[str, ...]  # (N)
    labels: tuple[str, ...] | None  # (N)
    groups: tuple[str, ...] | None  # (N); series of one group never stand on both sides of a split
    times: Array | None  # (N) float64 or datetime64: when each series begins, for a split in order of time
    unit: str
    rows: Array  # (N) int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Array:
        """(N) int64, the steps of each series."""
        return np.diff(self.offsets)

    def place(self, number: int) -> str:
        """Where series ``number`` stands in its file, as a message says it."""
        start = "" if self.unit == "line" else " (from 0)"
        return f"{self.unit} {self.rows[number]}{start}"


def cuts(lengths: Array, features: int, limit_mb: int) -> Iterator[slice]:
    """The series of each shard: about ``limit_mb`` of float32 values, and one series at least."""
    ends = np.cumsum(lengths) * features * 4
    number = (ends - lengths * features * 4) // (limit_mb * 2**20)
    edges = np.flatnonzero(np.diff(number, prepend=-1, append=number[-1] + 1))
    for start, stop in pairwise(edges.tolist()):
        yield slice(start, stop)
