"""Batches of data that does not fit the device, gathered ahead by threads, in memory of the device that stays where it is.

Shapes: m examples of a step, T time steps, F features.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from pipeline.data.batches import Batches
from pipeline.distributed.collectives import recorded, until

AHEAD = 4  # steps whose batches the host may hold ready, and as many again that threads gather
Held = tuple[Tensor, Tensor, Tensor | None]


class Inputs:
    """The batches of ``batches``; ``held``: values (m, T, F), labels (m) and lengths (m) of the last batch of T time steps."""

    def __init__(self, batches: Batches) -> None:
        self.batches, self.held = batches, dict[int, Held]()
        self.under_way: deque[Any] = deque()  # events, each recorded behind the copies of a step
        self.coming: deque[tuple[int, Future[Held]]] = deque()  # steps one after the other, and their batches on the host
        self.threads = ThreadPoolExecutor(AHEAD, "gather")  # which wait for a disk side by side, and make no call of CUDA

    def fill(self, step: int, padded: Callable[[int], int]) -> None:
        """Hold the batch of ``step``, copied when the device comes to it; ``padded``: how long each batch of its epoch is."""
        device, steps = self.batches.store.device, padded(step)
        if len(self.under_way) == AHEAD:
            until(self.under_way.popleft())
        gathered = self._gathered(step, padded)
        if steps not in self.held:
            values, labels, lengths = (None if one is None else torch.empty_like(one, device=device) for one in gathered)
            assert values is not None and labels is not None
            self.held[steps] = values, labels, lengths
        for there, one in zip(self.held[steps], gathered, strict=True):
            if there is not None and one is not None:
                there.copy_(one.pin_memory() if device.type == "cuda" else one, non_blocking=True)
        if device.type == "cuda":
            self.under_way.append(recorded())

    def _gathered(self, step: int, padded: Callable[[int], int]) -> Held:
        """The batch of ``step`` on the host. Those of the next ones of its epoch are begun, whose order is known."""
        if self.coming and self.coming[0][0] != step:  # steps are taken again
            self.coming.clear()
        end = step - step % self.batches.steps_per_epoch + self.batches.steps_per_epoch
        for number in range(step + len(self.coming), min(step + AHEAD, end)):
            self.coming.append((number, self.threads.submit(self.batches.gathering(number, padded(number)))))
        return self.coming.popleft()[1].result()
