"""What preparing derives from raw examples: the view of an image, examples that stand in two parts, statistics."""

from __future__ import annotations

import math

import numpy as np

from pipeline import config
from pipeline.data.sources import Array
from pipeline.errors import DataError


def view(data: config.Data, height: int, width: int) -> tuple[Array | None, int, int]:
    """The order of the pixels (None: as they lie), T and F of a height x width image as a sequence."""
    pixels = np.arange(height * width)
    if data.view == "rows":
        return None, height, width
    if data.view == "columns":
        return pixels.reshape(height, width).T.ravel(), width, height
    if data.view == "rows_columns":
        if height != width:
            raise DataError(f"data.view=rows_columns needs square images, and these have {height} x {width} pixels; use rows")
        square = pixels.reshape(height, width)
        return np.concatenate([square, square.T], 1).ravel(), height, 2 * height
    if data.view == "pixels":
        return pixels, height * width, 1
    # The raw stream of a bit generator is the same in every version of numpy; `permutation` is not promised to be.
    return np.argsort(np.random.PCG64(data.seed).random_raw(height * width), kind="stable"), height * width, 1


def repeated(train: Array, test: Array) -> list[tuple[int, int]]:
    """Each row of ``test`` that equals a row of ``train`` byte for byte, with the first such row of ``train``."""
    rows: dict[bytes, list[int]] = {}
    for row, example in enumerate(test):
        rows.setdefault(example.tobytes(), []).append(row)
    return sorted((twin, row) for row, example in enumerate(train) for twin in rows.pop(example.tobytes(), ()))


def statistics(values: Array) -> tuple[tuple[float, ...], tuple[float, ...], float, float]:
    """Mean and population deviation of each feature of uint8 (N, T, F), then of all values; exact up to one rounding."""
    total = np.zeros((2, values.shape[2]), np.int64)
    for start in range(0, len(values), 1024):
        block = values[start : start + 1024].reshape(-1, values.shape[2]).astype(np.int64)
        total += np.stack([block.sum(0), (block * block).sum(0)])
    sums, squares = total.tolist()
    moments = [_moments(values.shape[0] * values.shape[1], *pair) for pair in zip(sums, squares, strict=True)]
    mean, std = zip(*moments, strict=True)
    return mean, std, *_moments(values.size, sum(sums), sum(squares))


def _moments(count: int, total: int, squares: int) -> tuple[float, float]:
    return total / count, math.sqrt((count * squares - total * total) / (count * count))


class Moments:
    """Count, mean, deviation and range of each of F channels over a stream of blocks, in float64, without what is missing.

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
    def whole(self) -> tuple[float, float]:
        """Mean and deviation of all values of all channels."""
        share = self.count / max(1, self.count.sum())
        mean = float((share * self.mean).sum())
        spread = float(np.sqrt((share * (self.std**2 + (self.mean - mean) ** 2)).sum()))
        return mean, spread if self.low.min() < self.high.max() else 0.0
