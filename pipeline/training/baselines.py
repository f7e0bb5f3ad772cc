"""What an accuracy is held against: its own chance, the largest class, and the nearest training example.

Shapes: N examples of one split, M of the training split, T steps, F features, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.store import Store
from pipeline.errors import quoted

Z = 1.959963984540054  # of the standard normal distribution: 95 % lie within it on both sides
STEPS = 512  # that series of unequal lengths are resampled to, at most
WORK = 30_000_000_000  # multiplications that a search may take: some seconds on one core
BLOCK = 2**23  # numbers in memory at a time


class Comparison(TypedDict):
    """What an accuracy is held against, as metrics.json has it."""

    accuracy_low: float  # the ends of its 95 % interval
    accuracy_high: float
    largest_class: str  # of the training split
    largest_class_accuracy: float  # of always answering it


def compare(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], known: Sequence[int], names: Sequence[str]
) -> Comparison:
    """What the accuracy of ``predictions`` (N) is held against; ``known`` (C): the training examples of each class."""
    low, high = interval(int((labels == predictions).sum()), len(labels))
    largest, share = largest_class(np.array(known), labels)
    return Comparison(accuracy_low=low, accuracy_high=high, largest_class=names[largest], largest_class_accuracy=share)


def said(largest: str, accuracy: float, neighbour: float | None) -> str:
    """What an accuracy is held against, in words: that of always answering the class ``largest``, and that of the label of the
    nearest training example, if it was searched."""
    beside = "" if neighbour is None else f"; the nearest training example's label: {neighbour:.4f}"
    return f"always {quoted(largest)}, the largest class: {accuracy:.4f}{beside}"


def interval(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy of ``hits`` in ``count`` examples: the score interval of Wilson, 1927."""
    share, width = hits / count, Z * Z / count
    center = (share + width / 2) / (1 + width)
    half = Z * math.sqrt(share * (1 - share) / count + width / (4 * count)) / (1 + width)
    return max(0.0, center - half) if hits else 0.0, min(1.0, center + half) if hits < count else 1.0  # as rounding misses them


def largest_class(known: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[int, float]:
    """The class of most training examples, ``known`` (C) of each, and its share of ``labels`` (N)."""
    largest = int(known.argmax())
    return largest, float((labels == largest).mean())


def is_searched(known: int, asked: int, values: int) -> bool:
    """Whether the nearest of ``known`` examples is looked for, to each of ``asked``; ``values``: T x F of the longest."""
    return known * asked * max(values, 64) <= WORK  # of few values it is the comparing that takes long


def nearest_neighbour(known: Store, asked: Store, mean: Tensor, scale: Tensor) -> float:
    """The accuracy on ``asked`` of the label of the nearest example of ``known``, by Euclid's distance of (x - mean) * scale.

    Series of unequal lengths are resampled linearly to one, at most STEPS. Of two as near, the first one's label counts.
    """
    equal = known.lengths is None and asked.lengths is None and asked.longest == known.longest
    steps = known.longest if equal else min(known.longest, STEPS)
    width = steps * len(mean)
    taken = max(known.longest, asked.longest) * len(mean)  # of a series, before it is resampled
    several = max(1, BLOCK // max(taken, width))
    block = max(1, min(BLOCK // (known.count + width), BLOCK // max(taken, width)))
    best = np.full(asked.count, np.inf)
    found = np.zeros(asked.count, np.int64)
    for first in range(0, known.count, several):
        rows = slice(first, first + several)
        others = _flat(known, rows, steps, mean, scale)
        labels = known.labels[rows].cpu().numpy()
        norms = (others * others).sum(1)
        for start in range(0, asked.count, block):
            mine = slice(start, start + block)
            distances = norms - 2 * (_flat(asked, mine, steps, mean, scale) @ others.T)  # but for the own norm
            least = distances.argmin(1)
            distance = distances[np.arange(len(least)), least]
            closer = distance < best[mine]  # the first of the file wins a tie
            best[mine] = np.where(closer, distance, best[mine])
            found[mine] = np.where(closer, labels[least], found[mine])
    return float((found == asked.labels.cpu().numpy()).mean())


def _flat(store: Store, rows: slice, steps: int, mean: Tensor, scale: Tensor) -> NDArray[np.float64]:
    """Examples as rows (n, ``steps`` x F), float64: the distance of two small ones is a difference of large numbers."""
    numbers = torch.arange(store.count)[rows]
    values, _, lengths = store.take(numbers.to(store.home))
    x = ((values.cpu().double() - mean) * scale).numpy()
    if lengths is not None or x.shape[1] != steps:
        last = (np.full(len(x), x.shape[1]) if lengths is None else lengths.cpu().numpy()) - 1
        places = np.linspace(0, 1, steps, dtype=np.float64) * last[:, None]  # (n, steps)
        low = np.floor(places).astype(np.int64)
        share = (places - low)[:, :, None]
        high = np.minimum(low + 1, last[:, None])
        x = (1 - share) * np.take_along_axis(x, low[:, :, None], 1) + share * np.take_along_axis(x, high[:, :, None], 1)
    return x.reshape(len(x), -1)
