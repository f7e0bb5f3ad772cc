"""How many series there are, how long, of which classes, and what is missing.

Shapes: N series, C channels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import config
from pipeline.data.inspection.nearest import Nearest
from pipeline.data.readers import formats
from pipeline.data.series import Array, Columns, Series, Words


@dataclass(frozen=True)
class Profile:
    """What a file holds, as far as a recipe depends on it."""

    count: int  # N
    shortest: int
    longest: int
    mean_length: float
    channels: tuple[str, ...]  # (C)
    classes: dict[str, int]  # examples of each
    missing: float  # the share of values that are missing
    constant: tuple[str, ...]  # channels with one value
    groups: frozenset[str]  # none where they are not named
    spread: float  # of the standard deviations of series: the 95th percentile over the 5th, in the channel where it is largest
    differ: float  # the deviation of series from each other at a step, as a share of that of all values, where it is largest
    empty: tuple[str, ...] = ()  # channels without a value
    by_shape: tuple[float, float] | None = None  # as ``Nearest`` tells it

    @property
    def rarest(self) -> int:
        """Examples of the class that has the fewest."""
        return min(self.classes.values())


def groups_of(source: str, path: Path, columns: config.Columns) -> frozenset[str]:
    """The groups of the series of a file. Raises DataError for what the reader refuses."""
    blocks = formats.read(source, path, Columns(**columns.model_dump()))
    return frozenset().union(*(Words.of(block.groups or ()).different for block in blocks))


def of_series(source: str, path: Path, columns: config.Columns) -> Profile:
    """The profile of a file. Raises DataError for what the reader refuses."""
    lengths, classes, groups = [], Counter[str](), set[str]()
    absent = total = 0
    ranges: list[Array] = []
    stds: list[Array] = []
    between, nearest = _Differences(), Nearest()
    for block in formats.read(source, path, Columns(**columns.model_dump())):
        lengths.append(block.lengths)
        classes.update(Words.of(block.labels or ()).counts)
        groups.update(Words.of(block.groups or ()).different)
        absent += int(np.isnan(block.values).sum())
        total += block.values.size
        channels = block.channels
        stds.append(_stds(block))
        between.add(block)
        nearest.add(block)
        ranges.append(np.stack([np.fmin.reduce(block.values, 0), np.fmax.reduce(block.values, 0)]))
    steps = np.concatenate(lengths)
    every = np.stack(ranges)  # (blocks, 2, C)
    low = np.fmin.reduce(every[:, 0], 0)
    same = low == np.fmax.reduce(every[:, 1], 0)
    return Profile(
        count=len(steps),
        shortest=int(steps.min()),
        longest=int(steps.max()),
        mean_length=float(steps.mean()),
        channels=channels,
        classes=dict(classes),
        missing=absent / max(1, total),
        constant=tuple(name for name, one in zip(channels, same, strict=True) if one),
        empty=tuple(name for name, one in zip(channels, np.isnan(low), strict=True) if one),
        groups=frozenset(groups),
        spread=_spread(np.concatenate(stds)),
        differ=between.share(),
        by_shape=nearest.by_shape(),
    )


class _Differences:
    """How far series are from each other at the steps that all of them have (M), block by block."""

    first: Array  # (M, C) of the first series, from which all are measured: sums of squares stay small and exact
    count: Array  # (M, C) of values that are there, as their sums
    total: Array
    squares: Array
    seen = False

    def add(self, block: Series) -> None:
        """Count the series of ``block`` too."""
        steps = int(block.lengths.min())
        if not self.seen:
            self.first = np.nan_to_num(block.values[: int(block.lengths[0])].astype(np.float64))
            self.count, self.total, self.squares = (np.zeros_like(self.first) for _ in range(3))
            self.seen = True
        steps = min(steps, len(self.first))
        self.first, self.count, self.total, self.squares = (
            held[:steps] for held in (self.first, self.count, self.total, self.squares)
        )
        moved = block.values[block.offsets[:-1, None] + np.arange(steps)] - self.first  # (n, M, C)
        there = ~np.isnan(moved)
        moved[~there] = 0
        self.count += there.sum(0)
        self.total += moved.sum(0)
        self.squares += np.einsum("nmc,nmc->mc", moved, moved)  # without another copy

    def share(self) -> float:
        """What ``Profile.differ`` says; 1 where no channel varies."""
        count = np.maximum(self.count, 1)
        mean = self.total / count
        between = np.maximum(self.squares / count - mean * mean, 0).mean(0)  # (C) the variance at a step
        whole = between + (self.first + mean).var(0)
        shares = np.sqrt(between[whole > 0] / whole[whole > 0])
        return float(shares.max()) if len(shares) else 1.0


def _stds(block: Series) -> Array:
    """(n, C) the standard deviation of each channel of each series."""
    begin, steps = block.offsets[:-1], block.lengths[:, None]
    exact = np.nan_to_num(block.values.astype(np.float64))
    mean = np.add.reduceat(exact, begin) / steps
    stds: Array = np.sqrt(np.add.reduceat((exact - np.repeat(mean, block.lengths, axis=0)) ** 2, begin) / steps)
    return stds


def _spread(stds: Array) -> float:
    """How far the standard deviations (N, C) of series are apart, in the channel where they are farthest."""
    stds = stds[:, (stds > 0).any(0)]  # of a channel that is constant within each series there is nothing to compare
    if not stds.size:
        return 1.0
    low, high = np.nanpercentile(np.where(stds > 0, stds, np.nan), (5, 95), axis=0)
    return float(np.nanmax(np.where(low > 0, high / low, 1.0), initial=1.0))
