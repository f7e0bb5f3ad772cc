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
        low, high = folded(np.minimum, values), folded(np.maximum, values)
        if np.isnan(low).any() or (low == 0).any() or (high == 0).any():  # of 0 and -0 the order decides
            return self._add(values, ~np.isnan(values))
        exact = values.astype(np.float64)
        mean = _sum(exact) / len(exact)
        exact -= mean
        self._merge(np.full(len(mean), len(exact)), mean, _sum(np.square(exact, out=exact)))
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        return None

    def _add(self, values: Array, there: Array) -> None:
        """``add``, where only some values are ``there`` (S, F)."""
        count = there.sum(0)
        exact = np.where(there, values, 0).astype(np.float64)
        mean = exact.sum(0) / np.maximum(count, 1)
        self._merge(count, mean, ((exact - mean) ** 2).sum(0, where=there))
        self.missing += len(values) - count
        self.low = np.minimum(self.low, values.min(0, where=there, initial=np.inf))
        self.high = np.maximum(self.high, values.max(0, where=there, initial=-np.inf))

    def _merge(self, count: Array, mean: Array, squares: Array) -> None:
        total = np.maximum(self.count + count, 1)
        shift = mean - self.mean
        self._squares += squares + shift**2 * (self.count * count / total)
        self.mean += shift * count / total
        self.count += count

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


def folded(function: np.ufunc, values: Array) -> Array:
    """(F) ``function.reduce`` over the steps of (S, F), for a function that does not depend on the order.

    NumPy goes through an array of few channels step by step, which is slow; so many steps are taken as one row.
    """
    steps, features = values.shape
    fold = max(1, 512 // features)
    whole = steps // fold * fold
    if not whole or not values.flags.c_contiguous:
        reduced: Array = function.reduce(values)
        return reduced
    rows: Array = function.reduce(values[:whole].reshape(-1, fold * features)).reshape(fold, features)
    folded: Array = function.reduce(np.concatenate([rows, values[whole:]]))
    return folded


def _sum(values: Array) -> Array:
    """(F) the same bits as ``values.sum(0)`` of (S, F), which adds step after step where there are several channels."""
    total: Array = (
        np.array([np.add.accumulate(column)[-1] for column in values.T]) if 1 < values.shape[1] < 8 else values.sum(0)
    )
    return total
