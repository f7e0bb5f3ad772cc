"""Whether series are told apart better by their shape alone, as far as the nearest series of others tells.

Each is compared with those of other groups, or with all others where there are none, by Euclid's distance: once as the file
has them and once each brought to mean 0 and standard deviation 1. Shapes: n series that are looked at, P points, C channels.
"""

from __future__ import annotations

import numpy as np

from pipeline.data.clean import z_normalized
from pipeline.data.series import Array, Series, Words

MOST, POINTS, CHANNELS = 512, 64, 32  # series, points of each, channels: of more, as many that lie evenly apart
SURE = 3.0  # standard deviations by which the one must hit more often than the other: McNemar, 1947


class Nearest:
    """Some series of a file, evenly apart, taken block by block."""

    def __init__(self) -> None:
        self._every, self._seen = 1, 0
        self._kept: list[tuple[Array, str, str]] = []  # points (2, P, C), class, group

    def add(self, block: Series) -> None:
        """Look at the series of ``block`` too."""
        labels, groups = (Words.of(words or [""] * len(block)) for words in (block.labels, block.groups))
        before, self._seen = self._seen, self._seen + len(block)
        while self._seen > MOST * self._every:
            self._kept, self._every = self._kept[::2], 2 * self._every
        for number in range(-before % self._every, len(block), self._every):
            self._kept.append((_points(block.one(number)), labels[number], groups[number]))

    def by_shape(self) -> tuple[float, float] | None:
        """The shares of series whose nearest one is of their class, as the file has them and by their shape alone; None if the
        second is not surely the larger."""
        points, labels, groups = (np.array(column) for column in zip(*self._kept, strict=True))
        own = np.eye(len(points), dtype=bool) | ((groups[:, None] == groups) & (groups != ""))
        scale = points.std((0, 2), keepdims=True)  # of each channel
        points = (points - points.mean((0, 2), keepdims=True)) / np.where(scale > 0, scale, np.inf)
        plain, shaped = (labels[_nearest(values.reshape(len(labels), -1), own)] == labels for values in points.swapaxes(0, 1))
        more, fewer = int((shaped & ~plain).sum()), int((plain & ~shaped).sum())
        sure = more - fewer > SURE * np.sqrt(more + fewer)
        return (float(plain.mean()), float(shaped.mean())) if sure else None


def _points(values: Array) -> Array:
    """(2, P, C) of a series (T, C) as it is and by its shape alone, by linear interpolation; what is missing is the mean."""
    chosen = np.unique(np.linspace(0, values.shape[1] - 1, CHANNELS).astype(np.int64))
    exact = values[:, chosen].astype(np.float64)
    there = ~np.isnan(exact)
    mean = np.where(there, exact, 0).sum(0) / np.maximum(there.sum(0), 1)
    exact = np.where(there, exact, mean)
    both = np.stack([exact, z_normalized(exact, np.array([len(exact)]))])
    place = np.linspace(0, len(exact) - 1, POINTS)
    low = np.floor(place).astype(np.int64)
    share = (place - low)[:, None]
    made: Array = both[:, low] * (1 - share) + both[:, np.minimum(low + 1, len(exact) - 1)] * share
    return made


def _nearest(values: Array, own: Array) -> Array:
    """(n) the number of the row of ``values`` (n, D) that is nearest to each, not one of its ``own`` (n, n)."""
    norms = (values * values).sum(1)
    distances = norms[:, None] + norms - 2 * values @ values.T
    distances[own] = np.inf
    found: Array = distances.argmin(1)
    return found
