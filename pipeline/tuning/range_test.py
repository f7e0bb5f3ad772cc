"""The range test: between which learning rates training works."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

import numpy as np

from pipeline.errors import NonFiniteError
from pipeline.tuning.measure import End, Steps

LOWEST, HIGHEST, RATES = 1e-5, 10.0, 200  # the range test's rates, one a step; fewer steps find higher rates good
BETA = 0.9  # of the running mean of the loss
DIVERGED = 4.0  # times the least smoothed loss
FALLEN = 0.95  # of the first loss: what did not fall so far did not fall


@dataclass(frozen=True)
class RangeTest:
    """A range test: ``rates``, one a step; the ``losses`` before those updates; the smoothed losses; why it ended."""

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    end: End


def range_test(steps: Steps, batch: int, number: int = RATES) -> RangeTest:
    """Train while the rate grows exponentially from 1e-5 to 10 in ``number`` steps (Smith, Cyclical Learning Rates for
    Training Neural Networks, 2017), until the smoothed loss is 4 times its least or the loss is not finite.

    Smoothed: the exponential mean with bias correction and the limit of 4 are those of fastai (Howard and Gugger, 2020);
    the mean's weight is 0.9 and not 0.98, which would lag behind by a decade of these rates.
    """
    growth = (HIGHEST / LOWEST) ** (1 / (number - 1))
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    mean, end = 0.0, End("range", f"the highest rate, {HIGHEST:g}, was reached")
    try:
        for report in islice(steps(batch, lambda step: LOWEST * growth**step), number):
            loss = float(report.loss)
            if not math.isfinite(loss):  # which a step that nobody waits for says before it is refused
                end = End("loss", f"the loss was not finite at {report.lr:.2g}")
                break
            rates.append(report.lr)
            losses.append(loss)
            mean = BETA * mean + (1 - BETA) * losses[-1]
            smoothed.append(mean / (1 - BETA ** len(losses)))
            if smoothed[-1] > DIVERGED * min(smoothed):
                end = End("loss", f"the loss was {DIVERGED:g} times its least at {rates[-1]:.2g}")
                break
    except NonFiniteError:
        end = End("loss", f"the loss or its gradient was not finite at {LOWEST * growth ** len(rates):.2g}")
    return RangeTest(rates, losses, smoothed, end)


def suggestion(test: RangeTest) -> float | None:
    """Half the geometric mean of two rates, that of the steepest descent over the logarithm of the rate and that of the
    least loss, both smoothed; to two digits. None if the loss did not fall by 5 %.

    The rule was chosen by training at what several rules suggested (LSTM and GRU, digits and MNIST, Adam and SGD): a tenth
    of the rate at the least loss is too low for SGD, a quarter of it too high for Adam now and then, and the steepest
    descent alone stands on one slope of a noisy curve.
    """
    if not test.smoothed or min(test.smoothed) > FALLEN * test.losses[0]:
        return None
    least = int(np.argmin(test.smoothed))
    slopes = np.gradient(test.smoothed, np.log(test.rates))[: least + 1]
    return float(f"{0.5 * math.sqrt(test.rates[least] * test.rates[int(slopes.argmin())]):.2g}")
