"""Which of several processes holds up the others: all of them take a step in the time of the slowest one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median_low

FACTOR = 1.3  # times the median
RECORDS = 5  # in a row
SECONDS = 10.0  # at least, from the first to the last of them, so that a moment is none


def spread(times: Sequence[float]) -> dict[str, float]:
    """The minimum, median and maximum over the processes of the seconds that each worked for a step; of an even number,
    the median is the lower of the two in the middle, so that one of two processes can be the slow one."""
    return {"step_seconds_min": min(times), "step_seconds_median": median_low(times), "step_seconds_max": max(times)}


class Stragglers:
    """Names a process that takes far longer for its part of a step than the others, once it has for a while.

    ``hosts``: that of each process.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = hosts
        self._slow, self._since, self._records, self._said = -1, math.inf, 0, False

    def after(self, times: Sequence[float], now: float) -> str | None:
        """What is to be said after a record with ``times``, seconds of work for a step in each process; ``now`` in seconds.

        It is said once, and again only after the process was as fast as the others, or another one is slow.
        """
        slow, usual = max(range(len(times)), key=times.__getitem__), median_low(times)
        if times[slow] < FACTOR * usual or not usual:
            slow = -1
        if slow != self._slow:
            self._slow, self._since, self._records, self._said = slow, now, 0, False
        self._records += 1
        if slow < 0 or self._said or self._records < RECORDS or now - self._since < SECONDS:
            return None
        self._said = True
        return (
            f"process {slow} on {self.hosts[slow]} holds up the others: in the last {self._records} records it took "
            f"{times[slow] / usual:.1f} times as long for its part of a step as the median of {len(times)} processes "
            f"({1000 * times[slow]:,.1f} ms and {1000 * usual:,.1f} ms); look for other programs, heat or a slow disk there"
        )
