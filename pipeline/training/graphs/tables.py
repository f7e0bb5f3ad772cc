"""What the steps of an epoch need, in tables on the device, whose rows a step picks by the device's own count of steps.

Shapes: E steps of an epoch, m examples that this process computes of a global batch, T time steps, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from pipeline.data.batches import Batches, Slice
from pipeline.data.store import sent
from pipeline.model import streams
from pipeline.training.graphs.inputs import Inputs

NUMBERS = 3  # of a step: its learning rate, the examples in its global batch, the share of its weights in the averages


def ema_decay(step: int, most: float) -> float:
    """The decay of the averaged weights after ``step`` updates: it starts low, so that the first weights are soon forgotten."""
    return min(most, (1 + step) / (10 + step))


class Tables:
    """The tables of one epoch at a time. ``counter`` (1) is the device's count of the steps of the run."""

    def __init__(self, batches: Batches, step: int, rate: Callable[[int], float], ema: float) -> None:
        self.batches, self.device, self.rate, self.ema = batches, batches.store.device, rate, ema
        self.counter = torch.full((1,), step, dtype=torch.int64, device=self.device)
        self.numbers = torch.zeros(batches.steps_per_epoch, NUMBERS, device=self.device)  # (E, NUMBERS)
        self.row = torch.zeros(1, NUMBERS, device=self.device)  # of the step that is being taken
        self.lr, self.count, self.share = self.row[0]  # views of it
        own = range(batches.mine.start * batches.size, batches.mine.stop * batches.size)
        self.places = torch.arange(own.start, own.stop, device=self.device)  # (m), of this process's examples in the batch
        self.ones = torch.ones(len(own), device=self.device)
        self.drawn: list[Tensor] = []  # (E, m, ...): rows of the part, and random numbers of the augmentation
        self.longest: list[int] = []  # (E): of the global batch of each step, the same on all processes
        self.inputs = Inputs(batches)
        self.epoch = -1

    def turn(self, step: int) -> None:
        """Hold the epoch of ``step``. Nothing waits for the device, which may still be in the epoch before."""
        epoch = step // self.batches.steps_per_epoch
        if epoch == self.epoch:
            return
        first = epoch * self.batches.steps_per_epoch
        drawn, self.longest = self.batches.drawn(step)
        if not self.drawn:
            self.drawn = [torch.empty_like(table, device=self.device) for table in drawn]
        for own, table in zip(self.drawn, drawn, strict=True):
            own.copy_(table if table.device == own.device else sent(table.contiguous(), self.device), non_blocking=True)
        steps = range(first, first + self.batches.steps_per_epoch)
        rows = [[self.rate(one), self.batches.count(one), 1 - ema_decay(one, self.ema)] for one in steps]
        self.numbers.copy_(sent(torch.tensor(rows), self.device))
        self.epoch = epoch

    def slices(self, steps: int) -> list[Slice]:
        """This process's slices of the step that the counter says, of ``steps`` time steps, picked by the device."""
        batches = self.batches
        place = self.counter.remainder(batches.steps_per_epoch)  # (1)
        padded = batches.store.count % batches.batch > 0
        with streams.beside(self.device):
            torch.index_select(self.numbers, 0, place, out=self.row)
            weights = (self.places < self.count).float() if padded else self.ones
        rows, *drawn = (table.index_select(0, place)[0] for table in self.drawn)
        if batches.store.resident:
            values, labels, lengths = batches.take(rows, drawn, steps)
        else:
            values, labels, lengths = self.inputs.held[steps]
            values = batches.warped(values, lengths, drawn)
        streams.joined(self.device)
        cut = partial(torch.split, split_size_or_sections=batches.size)
        each = [None] * len(batches.mine) if lengths is None else cut(lengths)
        columns = zip(batches.mine, cut(rows), cut(values), cut(labels), cut(weights), each, strict=True)
        return [Slice(number, r, x, y, w, padded, own) for number, r, x, y, w, own in columns]
