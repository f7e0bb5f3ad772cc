"""How large a batch may be, how fast each is, and how many threads help."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import monotonic

import torch

from pipeline.tuning.measure import End, Steps, speed_if_it_fits, speed_of

SMALLEST = 16  # the batch to begin with
GROWTH = 1.05  # two doublings that bring less are the last
NEAR = 0.97  # of the best samples/s: as good


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
        speed = speed_if_it_fits(steps, batch)
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
