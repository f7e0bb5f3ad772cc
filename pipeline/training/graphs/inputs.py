"""Batches of data that does not fit the device, in memory of the device that stays where it is.

Shapes: m examples of a step, T time steps, F features.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor

from pipeline.data.batches import Batches
from pipeline.distributed.collectives import recorded, until

AHEAD = 4  # steps whose batches the host may hold ready, each in pinned memory
Held = tuple[Tensor, Tensor, Tensor | None]


class Inputs:
    """The batches of ``batches``; ``held``: values (m, T, F), labels (m) and lengths (m) of the last batch of T time steps."""

    def __init__(self, batches: Batches) -> None:
        self.batches, self.held = batches, dict[int, Held]()
        self.under_way: deque[Any] = deque()  # events, each recorded behind the copies of a step

    def fill(self, step: int, steps: int) -> None:
        """Hold the batch of ``step``, of ``steps`` time steps: gathered by the host, and copied when the device comes to it."""
        device = self.batches.store.device
        if len(self.under_way) == AHEAD:
            until(self.under_way.popleft())
        gathered = self.batches.gathered(step, steps)
        if steps not in self.held:
            values, labels, lengths = (None if one is None else torch.empty_like(one, device=device) for one in gathered)
            assert values is not None and labels is not None
            self.held[steps] = values, labels, lengths
        for there, one in zip(self.held[steps], gathered, strict=True):
            if there is not None and one is not None:
                there.copy_(one.pin_memory() if device.type == "cuda" else one, non_blocking=True)
        if device.type == "cuda":
            self.under_way.append(recorded())
