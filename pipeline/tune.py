"""How large a batch may be, how fast each is, how many threads help, and where a good learning rate lies.

Everything is measured through ``steps(batch, rate)``: the reports of a training of its own that starts from the seed
with that global batch and takes step ``i`` at ``rate(i)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median
from time import monotonic, perf_counter
from typing import Literal

import numpy as np
import torch

from pipeline.engine import Report
from pipeline.errors import NonFiniteError

Steps = Callable[[int, Callable[[int], float]], Iterator[Report]]

SMALLEST = 16  # the batch to begin with
WARMUP, FEWEST, SECONDS = 3, 3, 1.2  # steps before the timed ones; timed ones at least, and for how long
GROWTH = 1.05  # two doublings that bring less are the last
NEAR = 0.97  # of the best samples/s: as good

LOWEST, HIGHEST, RATES = 1e-5, 10.0, 200  # the range test's rates, one a step; fewer steps find higher rates good
BETA = 0.9  # of the running mean of the loss
DIVERGED = 4.0  # times the least smoothed loss
FALLEN = 0.95  # of the first loss: what did not fall so far did not fall


@dataclass(frozen=True)
class End:
    """Why a measurement went no further, as a word for programs and as one for people."""

    kind: Literal["memory", "data", "growth", "time", "loss", "range"]
    text: str


@dataclass(frozen=True)
class Trial:
    """One global batch: samples/s (0 if it did not fit), the peak of memory in bytes, and ``end`` if it is the last."""

    batch: int
    samples_per_second: float
    memory: int
    end: End | None = None


def find_batch(
    steps: Steps,
    first: int,
    least: int,
    count: int,
    floor: int,
    peak: Callable[[], int],
    room: Callable[[], int],
    deadline: float,
) -> Iterator[Trial]:
    """Trials of the global batches ``first``, twice that, and so on, of ``count`` training examples.

    They end before a batch that memory would not hold (on a CPU) or with one that it did not hold (on a GPU), that is
    larger than the training part, or whose trial would end after ``deadline`` (of ``monotonic``); or, from the batch
    ``least`` on, when two doublings have brought less than 5 % of samples/s. ``floor`` is the memory in use before,
    ``peak()`` its peak so far and ``room()`` what it may become, in bytes.
    """
    trials: list[Trial] = []
    batch = first
    while True:
        began = monotonic()
        speed = _speed_if_it_fits(steps, batch)
        if not speed:
            yield Trial(batch, 0.0, 0, End("memory", f"{batch} do not fit into memory"))
            return
        trials.append(Trial(batch, speed, peak()))
        end = _end(trials, least, count, floor, room(), deadline - 2 * (monotonic() - began))
        yield replace(trials[-1], end=end)
        if end:
            return
        batch *= 2


def _end(trials: Sequence[Trial], least: int, count: int, floor: int, room: int, deadline: float) -> End | None:
    """Why the batch after ``trials`` is not tried; None if it is."""
    batch, needed = 2 * trials[-1].batch, memory_of(2, floor, trials[-1].memory)
    speeds = [trial.samples_per_second for trial in trials]
    if batch > count:
        return End("data", f"{batch} are more than the {count:,} training examples")
    if needed > room:
        return End("memory", f"{batch} may need {needed / 1e6:,.0f} MB, and {room / 1e6:,.0f} MB can be had")
    if trials[-1].batch >= least and len(speeds) > 2 and max(speeds[-2:]) < GROWTH * max(speeds[:-2]):
        return End("growth", "two doublings brought less than 5 %")
    if monotonic() > deadline:
        return End("time", f"no time is left to try {batch}")
    return None


def memory_of(times: float, floor: int, peak: int) -> int:
    """The most memory, in bytes, that a batch so many ``times`` as large as that of ``peak`` can need: what a batch adds to
    ``floor`` is a constant and a part that grows with it, so that the double adds at most twice as much."""
    return floor + math.ceil(max(1, times) * (peak - floor))


def speed_of(steps: Steps, batch: int) -> float:
    """Training samples/s at a global batch: the median of some steps after a few others. The weights stay as they are."""
    seconds: list[float] = []
    reports = steps(batch, lambda step: 0.0)
    for _ in islice(reports, WARMUP):
        _wait()
    while len(seconds) < FEWEST or sum(seconds) < SECONDS:
        began = perf_counter()
        next(reports)
        _wait()
        seconds.append(perf_counter() - began)
    return batch / median(seconds)


def _speed_if_it_fits(steps: Steps, batch: int) -> float:
    """``speed_of``, 0 if an allocation failed."""
    try:
        return speed_of(steps, batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    return 0.0


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed; torch has a class of errors for that on GPUs only."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _wait() -> None:
    """Until the device has done all that it was given."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def fastest(speeds: dict[int, float]) -> int:
    """The smallest key (a batch, a number of threads) whose samples/s are within 3 % of the best."""
    return min(number for number, speed in speeds.items() if speed >= NEAR * max(speeds.values()))


def speeds_of_threads(steps: Steps, batch: int, numbers: Sequence[int], deadline: float) -> dict[int, float]:
    """Samples/s with each of ``numbers`` of CPU threads; of the first alone after ``deadline``. Threads are put back."""
    before = torch.get_num_threads()
    speeds: dict[int, float] = {}
    try:
        for number in numbers:
            if not speeds or monotonic() < deadline:
                torch.set_num_threads(number)
                speeds[number] = speed_of(steps, batch)
    finally:
        torch.set_num_threads(before)
    return speeds


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
