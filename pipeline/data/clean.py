"""What is done to a series before it is stored, and again before it is predicted.

It is cut, rounded, filled, z-normalised and resampled, in this order.

Each step sees only what the one before it left. Series lie end to end. Shapes: n series, S steps of all of them, C channels
of the file, F features: the channels, and one more for each that is masked.
"""

from __future__ import annotations

import numpy as np

from pipeline import config
from pipeline.data.manifest import Channels
from pipeline.data.series import Array, Where, offsets_of, place, steps_of
from pipeline.errors import DataError

EVEN = 1e-4  # of the mean distance of two steps: the times of a day in float64 seconds are no more exact


class Cleaning(config.Policies, Channels):
    """The policies of the section ``data`` and what they took from the training split."""

    trained: bool = False  # a model was trained with them, so that only the series can change

    def cut(self, values: Array, lengths: Array, where: Where) -> tuple[Array, Array]:
        """(S, C) and (n) without the steps beyond ``max_length``. Raises DataError for them if ``truncate`` is ``error``."""
        most = self.max_length
        long = np.flatnonzero(lengths > most) if most else lengths[:0]
        if not len(long):
            return values, lengths
        if self.truncate == "error":
            remedy = "set data.truncate=start or data.truncate=end to keep that part, or a larger data.max_length"
            remedy = "shorten it, or train with data.truncate=start or data.truncate=end" if self.trained else remedy
            raise DataError(f"{where(int(long[0]))}: {lengths[long[0]]} steps, more than data.max_length = {most}; {remedy}")
        step = steps_of(lengths)
        kept = step < most if self.truncate == "start" else step >= np.repeat(lengths - most, lengths)
        return values[kept], np.minimum(lengths, most)

    def rounded(self, values: Array) -> Array:
        """(S, C) float32 of ``values`` (S, C), less the offset of each channel, which is subtracted in float64."""
        if self.offset:
            values = values - np.array(self.offset)
        return values.astype(np.float32, copy=False)

    def apply(self, values: Array, lengths: Array, where: Where, times: Array | None = None) -> tuple[Array, Array]:
        """(S, C) and (n) -> (S', F) float32 without missing values, and (n). ``times`` (S): of the steps; None: they are even.

        Raises DataError, which names the series by ``where``, for what a policy ``error`` does not take.
        """
        times = None if times is None else self.cut(times, lengths, where)[0]
        values, lengths = self.cut(values, lengths, where)
        absent = np.isnan(values)
        if absent.any():
            self.refuse_missing(absent, lengths, where)
        values = self.rounded(values)
        if absent.any():
            filled = np.where(absent, np.array(self.fill, np.float32), values)
            values = _forward(filled, absent, lengths) if self.missing == "forward" else filled
        if self.z_norm:
            values = z_normalized(values, lengths)
        if self.masked:
            values = np.concatenate([values, absent[:, list(self.masked)].astype(np.float32)], 1)
        if self.resample:
            position = _even(lengths, self.resample) if times is None else _at_times(times, lengths, self.resample)
            return _resampled(values, lengths, *position), np.full_like(lengths, self.resample)
        return values, lengths

    def refuse_missing(self, absent: Array, lengths: Array, where: Where) -> None:
        """Raise DataError for the first missing value, of ``absent`` (S, C), if ``missing`` is ``error``."""
        if self.missing == "error" and absent.any():
            row, channel = (int(number) for number in np.argwhere(absent)[0])
            offsets = offsets_of(lengths)
            series = int(np.searchsorted(offsets, row, side="right")) - 1
            step = place("step", row - offsets[series])
            remedy = "set data.missing to mean, forward or mask, or put a number there"
            remedy = "put a number there, or train with data.missing=mean, forward or mask" if self.trained else remedy
            raise DataError(f"{where(series)}: channel {self.channels[channel]!r} has no value at {step}; {remedy}")


def is_narrow(low: Array, high: Array) -> Array:
    """(C) whether a float32, which has 24 bits, spends more than half of them on what all values of a channel share."""
    narrow: Array = high - low < 2**-12 * np.maximum(abs(low), abs(high))
    return narrow


def offset_of(low: Array, high: Array) -> tuple[float, ...]:
    """(C) what is subtracted from each channel, given its range in float64; () for nothing, as in nearly all data."""
    narrow = is_narrow(low, high) & (low < high)
    return tuple(np.where(narrow, low, 0.0).tolist()) if narrow.any() else ()


def cleaning(data: config.Data, channels: tuple[str, ...]) -> Cleaning:
    """The policies of ``data``, before anything is known of the training split."""
    return Cleaning(**data.of(config.Policies), channels=channels)


def _forward(filled: Array, absent: Array, lengths: Array) -> Array:
    """The last value that was there, in its own series; before the first, what it was ``filled`` with."""
    row = np.arange(len(filled))[:, None]
    last = np.maximum.accumulate(np.where(absent, -1, row), axis=0)  # (S, C)
    begin = np.repeat(offsets_of(lengths)[:-1], lengths)[:, None]
    return filled[np.where(last >= begin, last, row), np.arange(filled.shape[1])]


def z_normalized(values: Array, lengths: Array) -> Array:
    """Each channel of each series less its mean, over its standard deviation, in float64; 0 where it is constant."""
    begin, steps = offsets_of(lengths)[:-1], lengths[:, None]
    exact = values.astype(np.float64)
    exact -= np.repeat(np.add.reduceat(exact, begin) / steps, lengths, axis=0)
    std = np.sqrt(np.add.reduceat(exact**2, begin) / steps)  # (n, C)
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std > 1e-12 * np.maximum.reduceat(abs(values), begin))
    normal: Array = exact * np.repeat(scale, lengths, axis=0)
    return normal.astype(np.float32, copy=False)


def _even(lengths: Array, steps: int) -> tuple[Array, Array]:
    """Where ``steps`` points lie, evenly from the first step of each series to its last: the step before each (n, steps), and
    the share of the way to the next."""
    last = (lengths - 1)[:, None]
    position = last * np.arange(steps) / max(steps - 1, 1)
    low = np.floor(position).astype(np.int64)
    return low, position - low


def _at_times(times: Array, lengths: Array, steps: int) -> tuple[Array, Array]:
    """``_even``, but for points that lie evenly in time, of steps at ``times`` (S), which ascend in each series.

    Steps that are evenly apart, but for ``EVEN``, are taken as even: whether their times are there changes no bit.
    """
    offsets, (low, share) = offsets_of(lengths), _even(lengths, steps)
    begins = offsets[:-1]
    apart = np.repeat((times[offsets[1:] - 1] - times[begins]) / np.maximum(lengths - 1, 1), lengths)  # (S)
    wanted = np.repeat(times[begins], lengths) + steps_of(lengths) * apart
    for number in np.flatnonzero(np.logical_or.reduceat(abs(times - wanted) > EVEN * apart, begins)).tolist():
        own = times[offsets[number] : offsets[number + 1]]
        wanted = own[0] + (own[-1] - own[0]) * (np.arange(steps) / max(steps - 1, 1))
        before = np.searchsorted(own[1:-1], wanted, side="right")
        low[number], share[number] = before, (wanted - own[before]) / (own[before + 1] - own[before])
    return low, share


def _resampled(values: Array, lengths: Array, low: Array, share: Array) -> Array:
    """Each series at points a ``share`` (n, steps) of the way behind the steps ``low``, by linear interpolation in float64."""
    first = offsets_of(lengths)[:-1, None]
    last = (lengths - 1)[:, None]
    left, right = (values[(first + index).ravel()].astype(np.float64) for index in (low, np.minimum(low + 1, last)))
    made: Array = (left + (right - left) * share.reshape(-1, 1)).astype(np.float32)
    return made
