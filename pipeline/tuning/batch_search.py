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


@dataclass(frozen=True)
class Sizes:
    """Which global batches are tried."""

    first: int  # then twice that, and so on
    enough: int  # from here on, two doublings that bring little are the last
    count: int  # training examples; a larger batch is never tried


@dataclass(frozen=True)
class Memory:
    """The memory of this process, in bytes."""

    floor: int  # in use before the first trial
    peak: Callable[[], int]  # the most in use so far
    room: Callable[[], int]  # what the peak may become


def find_batch(steps: Steps, sizes: Sizes, memory: Memory, deadline: float) -> Iterator[Trial]:
    """Trials of the global batches of ``sizes``, one after the other.

    The last one is that before a batch that memory would not hold (on a CPU), or that which memory did not hold (on a
    GPU). The search also ends before a batch that is larger than the training split, or whose trial would end after
    ``deadline`` (of ``monotonic``), and when two doublings have brought less than 5 % of samples/s.
    """
    trials: list[Trial] = []
    batch = sizes.first
    while True:
        began = monotonic()
        speed = speed_if_it_fits(steps, batch)
        if not speed:
            yield Trial(batch, 0.0, 0, End("memory", f"{batch} do not fit into memory"))
            return
        trials.append(Trial(batch, speed, memory.peak()))
        end = _end(trials, sizes, memory, deadline - 2 * (monotonic() - began))
        yield replace(trials[-1], end=end)
        if end:
            return
        batch *= 2


def _end(trials: Sequence[Trial], sizes: Sizes, memory: Memory, deadline: float) -> End | None:
    """Why the batch after ``trials`` is not tried; None if it is."""
    batch, room = 2 * trials[-1].batch, memory.room()
    needed = memory_of(2, memory.floor, trials[-1].memory)
    speeds = [trial.samples_per_second for trial in trials]
    if batch > sizes.count:
        return End("data", f"{batch} are more than the {sizes.count:,} training examples")
    if needed > room:
        return End("memory", f"{batch} may need {needed / 1e6:,.0f} MB, and {room / 1e6:,.0f} MB can be had")
    if trials[-1].batch >= sizes.enough and len(speeds) > 2 and max(speeds[-2:]) < GROWTH * max(speeds[:-2]):
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
