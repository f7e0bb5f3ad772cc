"""How to train on data of a certain size and shape: what a new configuration says beyond the defaults.

The rules know sizes, lengths, channels and classes, and no data set by name. docs/log.md says on what they were tried.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.data.inspection.profile import Profile

CHANNELS, HIDDEN = 64, 32  # of the convolutional branch; units of the recurrence
SECONDS, SPEED = 90, 1e10  # of training on one core, about; products a second there, forward and backward together
MASKING = 1.5  # what a product takes longer among series of unequal lengths, whose padding each layer masks out
NORMALISED = 8  # series, at least, whose statistics are those of the batch: of fewer they are noise
STEPS = (400, 1500)  # fewer leave a model unfinished, more bring nothing on small sets
LONG = 300  # steps, from which on half the channels leave time for more optimiser steps
BITS = 150  # of all training labels together: with fewer, distorted series and smoothed labels keep a model from certainty
STRETCHED = 64  # steps of the shortest series: in shorter ones the place of a step says more than a shape
DIFFER = 0.5  # of the standard deviation of all values, between series at a step: series that are nearer are distorted by less
DISTORTIONS = (
    ("data.jitter", 0.1, "few labels: each epoch sees noise,"),
    ("data.scaling", 0.2, "other amplitudes"),
    ("data.crop", 0.1, "and other windows of them"),
)
SPREAD = 50  # between the standard deviations of series: from there on, those that vary little are not seen beside the others


@dataclass(frozen=True)
class Choice:
    """One key of a configuration, with the reason for its value."""

    key: str
    value: object
    why: str


def for_series(data: Profile, count: int) -> list[Choice]:
    """What to set to train on ``count`` series of ``data`` (the training split)."""
    length = min(data.mean_length * 1.1, data.longest)
    channels = CHANNELS if length < LONG else CHANNELS // 2
    batch = _batch(count, NORMALISED)
    features = len(data.channels)
    unequal = MASKING if data.shortest < data.longest else 1.0
    products = unequal * batch * length * (channels * (8 * features + 16 * channels) + 4 * HIDDEN * (features + HIDDEN))
    steps = min(STEPS[1], max(STEPS[0], int(SECONDS * SPEED / (3 * products))))
    epochs = max(3, math.ceil(steps * batch / count))
    chosen = [
        Choice("model.hidden", HIDDEN, "units of the recurrence; the convolutions carry most of a small set"),
        Choice("model.pooling", "mean", "over all steps; what tells classes apart may stand anywhere"),
        Choice("model.conv", channels, "the convolutional branch of LSTM-FCN"),
        Choice("model.conv_norm", "batch", "layer underfits series whose amplitude matters"),
        *_optimiser(0.003),
        Choice("train.epochs", epochs, f"about {steps:,} optimiser steps, a minute or two on one core"),
        Choice("train.batch", batch, f"for {count:,} training examples"),
        Choice("train.log_every", max(1, steps // 40), ""),
        Choice("train.checkpoint_every", f"{max(1, epochs // 5)} epochs", ""),
    ]
    if data.spread > SPREAD:
        chosen.insert(0, Choice("data.z_norm", True, f"some series vary {data.spread:,.0f} times as much as others"))
    elif data.by_shape:
        whole, shape = data.by_shape
        why = f"the nearest series of others is of the same class in {shape:.0%} so, else in {whole:.0%}"
        chosen.insert(0, Choice("data.z_norm", True, why))
    if count * math.log2(max(2, len(data.classes))) <= BITS and data.shortest >= STRETCHED:
        chosen += [Choice(key, round(size * min(1.0, data.differ / DIFFER), 3), why) for key, size, why in DISTORTIONS]
        chosen.append(Choice("train.label_smoothing", 0.1, ""))
    if data.shortest < data.longest:
        chosen.append(Choice("train.bucket", True, "batches of similar lengths: less padding"))
    if max(data.classes.values()) > 4 * data.rarest:
        chosen.append(Choice("train.class_weights", "balanced", "one class has over 4 times the examples of another"))
    return chosen


def for_images(count: int) -> list[Choice]:
    """What to set to train on ``count`` images, whose rows are read as the steps of a series."""
    batch = _batch(count)
    return [
        Choice("model.bidirectional", True, "rows are read from above and from below"),
        Choice("model.pooling", "mean", ""),
        *_optimiser(0.01),
        Choice("train.epochs", max(5, min(60, 2000 * batch // count)), ""),
        Choice("train.batch", batch, f"for {count:,} training images"),
    ]


def _optimiser(lr: float) -> list[Choice]:
    return [
        Choice("optim.name", "adamw", ""),
        Choice("optim.lr", lr, "the peak; `make tune` measures another"),
        Choice("optim.weight_decay", 0.01, ""),
        Choice("optim.schedule", "one_cycle", "ends at zero, so that the last weights are good ones"),
        Choice("optim.clip", 1.0, ""),
    ]


def _batch(count: int, least: int = 1) -> int:
    """A power of two of at most ``count``: more examples per step where there are many, and where there are few at least four
    steps per epoch, or ``least`` examples."""
    wanted = 16 if count <= 400 else 32 if count <= 4000 else 64 if count <= 40000 else 128
    quarter, whole = (1 << (number.bit_length() - 1) for number in (max(4, count // 4), max(1, count)))
    return min(wanted, whole, max(quarter, least))
