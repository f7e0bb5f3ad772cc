"""When to stop: signals, and what all processes agree on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from torch import distributed as dist

from pipeline.distributed import signals
from pipeline.distributed.collectives import Patience, patience

DIED, FAILED = 100, 101  # beyond all numbers of signals: why a process wants to stop
DEFAULT = 600  # seconds, as run.timeout


class StopSignal:
    """SIGTERM, SIGINT and SIGUSR1 ask for a stop, and so do ``failed``, when it says so, and the death of the launcher;
    all processes learn of it at the same step.

    The handler only sets a flag; in another thread than the main one there is none, and signals are left to that one.
    Now and then an all-reduce of the flags is started, and its result is read the next time, so that no step waits for
    it. How many questions lie between follows from how long they are apart in the slowest process, which travels along
    with the flag: about EXCHANGE_SECONDS.
    """

    EXCHANGE_SECONDS = 0.25
    MOST_STEPS = 64

    def __init__(self, failed: Callable[[], bool], timeout: int = DEFAULT) -> None:
        self.failed = failed
        launched = {"TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION"} & os.environ.keys()
        self._launcher = os.getppid() if launched else None
        self.received: signal.Signals | None = None
        handled = (
            signals.STOPPING if threading.current_thread() is threading.main_thread() else ()
        )  # Python allows it nowhere else
        self._previous = {number: signal.signal(number, self._receive) for number in handled}
        self._group: Any = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout)) if dist.is_initialized() else None
        self._pending: Any = None
        self._message = torch.zeros(2, dtype=torch.int64)
        self._asked = self._last = self._next = 0
        self._agreed = 0
        self._time = time.monotonic()
        patience.look = self.look

    def look(self) -> None:
        """Raise what the question under way has met: a process that has died is told of at once."""
        if self._pending is not None and self._pending.is_completed():
            self._pending.wait()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)

    def agreed(self, always: bool = False) -> bool:
        """Whether to stop; every process asks equally often and gets the same answer. Once it is yes, it stays yes.
        ``always``: ask the others each time, as where the time between questions is not that between steps."""
        if self._group is None or self._agreed:
            self._agreed = self._agreed or self.wanted
            return bool(self._agreed)
        self._asked += 1
        if self._asked < self._next and not always:
            return False
        interval = 1
        if self._pending is not None:
            self._wait()
            self._agreed, interval = int(self._message[0]), -int(self._message[1])
        now = time.monotonic()
        seconds = (now - self._time) / max(1, self._asked - self._last)
        most = min(self.MOST_STEPS, max(1, int(self.EXCHANGE_SECONDS / max(seconds, 1e-6))))
        # the maximum is taken: of the wishes to stop, and of the intervals, negative, so that the shortest counts
        self._message = torch.tensor([self.wanted, -most], dtype=torch.int64)
        self._pending = dist.all_reduce(self._message, dist.ReduceOp.MAX, self._group, async_op=True)
        self._next, self._last, self._time = self._asked + interval, self._asked, now
        return bool(self._agreed)

    def _wait(self) -> None:
        try:
            self._pending.wait()
        except RuntimeError:
            patience.lost = True
            raise

    @property
    def wanted(self) -> int:
        """Why this process wants to stop: the number of a signal, DIED, FAILED, or 0 if it does not."""
        if self.failed():
            return FAILED
        if self.received is not None:
            return int(self.received)
        return DIED if self._launcher is not None and self._launcher != os.getppid() else 0

    @property
    def why(self) -> str:
        """Why all stop, as the beginning of a sentence."""
        if self._agreed in signals.STOPPING:
            return f"stopped by {signal.Signals(self._agreed).name}"
        return "stopped, as its launcher died," if self._agreed == DIED else "stopped, as a part of it failed,"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Put back the handlers that were there before. Where they would end this program, which ends anyway by the signal
        that was received, more signals change nothing from now on."""
        if self._pending is not None and error is None:
            self._wait()
        patience.look = Patience.look
        signals.trained()
        for number, handler in self._previous.items():
            ends = self._agreed in signals.STOPPING and signals.ours(handler)
            signal.signal(number, signal.SIG_IGN if ends else handler)
