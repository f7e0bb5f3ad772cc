"""How long a step takes on more processes than there are here: what one computes of its share, and what they exchange.

Nothing overlaps in this model: each process computes its share of the batch, and then all sum their gradients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

LITTLE = 1.05  # twice as many processes that bring less than this no longer pay


@dataclass(frozen=True)
class Link:
    """What connects two processes: seconds until the first byte is there, and bytes a second after that."""

    latency: float
    rate: float
    said: str  # where the numbers come from


NOMINAL = "its nominal rate, and a latency that is usual of it; nothing of it was measured here"
LINKS = {
    "25Gb": Link(30e-6, 25e9 / 8, NOMINAL),
    "400Gb": Link(10e-6, 400e9 / 8, NOMINAL),
    "nvlink": Link(5e-6, 450e9, NOMINAL),
}


@dataclass(frozen=True)
class Predicted:
    """A step on a number of processes, in seconds."""

    processes: int
    compute: float
    exchange: float

    @property
    def step(self) -> float:
        """All of it."""
        return self.compute + self.exchange


def measured_link(small: tuple[float, float], large: tuple[float, float]) -> Link:
    """The link between two processes, from the bytes and seconds of a small and of a large sum of both."""
    latency = small[1] / (2 * _rounds(2))
    seconds = max(large[1] - small[1], 1e-9)
    return Link(latency, (large[0] - small[0]) / seconds, "measured here, between two processes")


def exchange(link: Link, size: int, processes: int) -> float:
    """Seconds of a sum of ``size`` bytes over so many processes: each sends and takes nearly all of it twice, in as many rounds
    as a tree has, up and down (Thakur, Rabenseifner and Gropp, 2005)."""
    if processes == 1:
        return 0.0
    return 2 * _rounds(processes) * link.latency + 2 * (processes - 1) / processes * size / link.rate


def _rounds(processes: int) -> int:
    return math.ceil(math.log2(processes))


def steady(measured: Mapping[int, float]) -> dict[int, float]:
    """Seconds by examples, of which fewer never take longer than more: where they did, something disturbed them."""
    found, least = dict[int, float](), math.inf
    for share in sorted(measured, reverse=True):
        found[share] = least = min(least, measured[share])
    return found


def compute(measured: Mapping[int, float], share: int) -> float:
    """Seconds that a process takes for ``share`` examples of a step, from those that were ``measured``: on a line between the
    nearest two, and beyond the least and the most of them in proportion to the last two."""
    if share in measured:
        return measured[share]
    known = sorted(measured)
    above = next((number for number in known if number > share), known[-1])
    place = max(1, known.index(above)) if len(known) > 1 else 0
    low, high = known[place - 1] if place else known[0], known[place]
    if low == high:
        return measured[low] * share / low
    slope = (measured[high] - measured[low]) / (high - low)
    return max(measured[low] + slope * (share - low), 1e-9)


def predicted(measured: Mapping[int, float], batch: int, size: int, link: Link, processes: int) -> Predicted:
    """A step of a global ``batch`` on so many processes, each with gradients of ``size`` bytes."""
    return Predicted(processes, compute(measured, batch // processes), exchange(link, size, processes))


def stops_paying(steps: Sequence[Predicted]) -> int:
    """The number of processes, of those that double each time, from which on twice as many bring less than 5 %."""
    for one, other in pairwise(steps):
        if one.step < LITTLE * other.step:
            return one.processes
    return steps[-1].processes


def shares(batch: int) -> list[int]:
    """The numbers of examples to measure: the whole batch, half of it and so on, as far as it can be halved."""
    found = [batch]
    while found[-1] % 2 == 0:
        found.append(found[-1] // 2)
    return found
