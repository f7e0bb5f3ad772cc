"""Mean and standard deviation of a stream of blocks."""

from __future__ import annotations

import numpy as np

from pipeline.data.manifest import Statistics
from pipeline.data.series import Array


class Moments:
    """Count, mean, standard deviation and range of F channels over a stream of blocks, in float64, without what is missing.

    The blocks are merged as Chan, Golub and LeVeque (1983) merge samples, which is stable. ``count``, ``missing``: (F) int64;
    ``mean``, ``low``, ``high``: (F) float64, infinite or 0 where nothing was seen.
    """

    def __init__(self, features: int) -> None:
        self.count, self.missing = np.zeros((2, features), np.int64)
        self.mean, self._squares = np.zeros((2, features))
        self.low, self.high = np.full(features, np.inf), np.full(features, -np.inf)

    def add(self, values: Array) -> None:
        """Take in (S, F) float32; NaN is missing."""
        there = ~np.isnan(values)
        count = there.sum(0)
        exact = np.where(there, values, 0).astype(np.float64)
        mean = exact.sum(0) / np.maximum(count, 1)
        squares = ((exact - mean) ** 2).sum(0, where=there)
        total = np.maximum(self.count + count, 1)
        shift = mean - self.mean
        self._squares += squares + shift**2 * (self.count * count / total)
        self.mean += shift * count / total
        self.count += count
        self.missing += len(values) - count
        self.low = np.minimum(self.low, values.min(0, where=there, initial=np.inf))
        self.high = np.maximum(self.high, values.max(0, where=there, initial=-np.inf))

    @property
    def std(self) -> Array:
        """(F) of the population; exactly 0 for a channel whose values are all the same."""
        return np.where(self.low < self.high, np.sqrt(self._squares / np.maximum(self.count, 1)), 0.0)

    @property
    def statistics(self) -> Statistics:
        """What a manifest says of them."""
        return Statistics(tuple(self.mean.tolist()), tuple(self.std.tolist()), *self._whole())

    def _whole(self) -> tuple[float, float]:
        """Mean and standard deviation of all values of all channels."""
        share = self.count / max(1, self.count.sum())
        mean = float((share * self.mean).sum())
        spread = float(np.sqrt((share * (self.std**2 + (self.mean - mean) ** 2)).sum()))
        return mean, spread if self.low.min() < self.high.max() else 0.0
