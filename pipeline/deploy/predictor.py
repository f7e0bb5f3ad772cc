"""Blocks of examples -> what a trained model says of them, in the order of the input and in bounded memory.

Shapes: b examples of a block, S steps of all of them, T time steps, F features, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.data.preparation.moments import folded
from pipeline.data.series import Array, steps_of
from pipeline.deploy.bundle import Exported
from pipeline.deploy.facts import Facts
from pipeline.deploy.inputs import Block
from pipeline.errors import DataError
from pipeline.model.footprint import Sizes, rows_at_once

BATCH = 256  # examples that are computed together, or as many as memory takes


@dataclass(frozen=True, eq=False)
class Predictions:
    """``classes`` (b): numbers of the class names. ``probabilities`` (b, C): float64, the softmax of the logits."""

    classes: Array
    probabilities: Array


def predict(model: Exported, block: Block) -> Predictions:
    """What ``model`` says of each example, computed in batches of similar lengths.

    Raises DataError for an example whose logits are not finite.
    """
    order = np.argsort(block.lengths, kind="stable")
    starts = np.cumsum(block.lengths) - block.lengths
    logits = np.empty((len(order), len(model.facts.class_names)))
    for rows in _batches(order, block.lengths, model.arguments.sizes):
        values, lengths = _padded(block.values, starts[rows], block.lengths[rows])
        logits[rows] = model.run(values, lengths)
    wrong = np.flatnonzero(~np.isfinite(logits).all(1))
    if len(wrong):
        raise DataError(f"{block.where(int(wrong[0]))}: the model's logits of it are not finite; look at its values")
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    return Predictions(probabilities.argmax(1), probabilities)


def far_values(block: Block, facts: Facts) -> tuple[Array, str]:
    """The examples with a value further outside the range of the training split than that range is wide, and the first said."""
    low, high = (np.array(limits) for limits in facts.limits)
    least, most = low - (high - low), high + (high - low)
    lowest, highest = folded(np.minimum, block.values), folded(np.maximum, block.values)
    if not ((lowest < least) | (highest > most)).any():  # nearly always, and in less time
        return np.empty(0, np.int64), ""
    far = (block.values < least) | (block.values > most)  # (S, F)
    steps, features = np.nonzero(far)
    numbers = np.searchsorted(np.cumsum(block.lengths), steps, side="right")
    step, feature = int(steps[0]), int(features[0])
    of_range = 0 if len(low) == 1 else feature
    what = f"channel {facts.series.cleaning.features[feature]!r}" if facts.series else "a pixel"
    offset = facts.series.offsets[feature] if facts.series else 0.0
    value, least, most = (
        f"{offset + float(number):.{10 if offset else 5}g}"
        for number in (block.values[step, feature], low[of_range], high[of_range])
    )
    where = block.where(int(numbers[0]))
    return np.unique(numbers), f"{where}: {what} has the value {value}; in training it went from {least} to {most}"


def _batches(order: Array, lengths: Array, sizes: Sizes) -> Iterator[Array]:
    """``order`` (b), ascending in length, cut so that no batch, with its padding, is over the limits."""
    while len(order):
        count = min(BATCH, len(order))
        while count > (most := rows_at_once(sizes, int(lengths[order[count - 1]]), count)):
            count = max(1, min(count - 1, most))
        yield order[:count]
        order = order[count:]


def _padded(values: Array, starts: Array, lengths: Array) -> tuple[Array, Array]:
    """The series that begin at ``starts`` (n) of ``values`` (S, F), with zeros behind them: (n, T, F); and ``lengths`` (n)."""
    longest = int(lengths.max())
    if int(lengths.min()) == longest and starts[-1] - starts[0] == longest * (len(starts) - 1):  # one after the other
        whole = values[starts[0] : starts[0] + len(starts) * longest].reshape(len(starts), longest, -1)
        return np.array(whole, np.float32), lengths.astype(np.int64)
    padded = np.zeros((len(starts), longest, values.shape[1]), np.float32)
    step = steps_of(lengths)
    padded[np.repeat(np.arange(len(starts)), lengths), step] = values[np.repeat(starts, lengths) + step]
    return padded, lengths.astype(np.int64)
