"""What inputs.py promises: the batches that were asked for, whatever threads gather ahead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.data.batches import Batches
from pipeline.data.store import Part, Store
from pipeline.training.graphs.inputs import AHEAD, Inputs

MakePart = Callable[..., Part]
CPU, COUNT, BATCH, STEPS = torch.device("cpu"), 45, 6, 8  # steps of an epoch


class Watched(Store):
    """A mapped store, which tells of each gather before it is made."""

    def __init__(self, part: Part) -> None:
        super().__init__(part, CPU, 0)
        self.begins: Callable[[Tensor], Any] = lambda rows: None

    def gathered(self, rows: Tensor, steps: int = 0) -> tuple[Tensor, Tensor, Tensor | None]:
        self.begins(rows)
        return super().gathered(rows, steps)


def fed(part: MakePart) -> Batches:
    return Batches(Watched(part(COUNT)), BATCH, 1, range(1), 0)


def unequal() -> Batches:
    random = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 22, (COUNT,), generator=random)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    values = torch.randint(0, 256, (int(offsets[-1]), 3), dtype=torch.uint8, generator=random)
    part = Part(values, torch.randint(0, 4, (COUNT,), generator=random), torch.arange(COUNT), offsets)
    return Batches(Watched(part), BATCH, 1, range(1), 0, bucket=True)


@pytest.mark.parametrize("lengths", [False, True])
def test_each_step_gets_its_own_batch_also_where_steps_are_taken_again_and_in_the_next_epoch(
    part: MakePart, lengths: bool
) -> None:
    made, alone = (unequal() if lengths else fed(part) for _ in range(2))
    inputs = Inputs(made)

    def padded(step: int) -> int:
        return 24 - step % 3 if lengths else made.store.longest

    for step in [0, 1, 2, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 8, 9, 17]:
        inputs.fill(step, padded)
        held, expected = inputs.held[padded(step)], alone.gathering(step, padded(step))()
        for one, other in zip(held, expected, strict=True):
            assert (one is None) == (other is None)
            assert one is None or other is None or torch.equal(one, other)


def test_batches_are_gathered_side_by_side(part: MakePart) -> None:
    made = fed(part)
    together = threading.Barrier(AHEAD)  # none ends before all have begun
    assert isinstance(made.store, Watched)
    made.store.begins = lambda rows: together.wait(20)
    Inputs(made).fill(0, lambda step: made.store.longest)


def test_nothing_is_gathered_of_an_epoch_that_has_not_begun(part: MakePart) -> None:
    made, seen = fed(part), list[Tensor]()
    assert isinstance(made.store, Watched)
    made.store.begins = seen.append
    inputs = Inputs(made)
    for step in range(STEPS):
        inputs.fill(step, lambda step: made.store.longest)
    assert made.steps_per_epoch == STEPS == len(seen)
    rows = torch.cat(seen).tolist()
    assert sorted(rows) == sorted([*range(COUNT), *[0] * (STEPS * BATCH - COUNT)])


def test_what_a_thread_could_not_read_is_raised_where_its_batch_is_asked_for(part: MakePart) -> None:
    made = fed(part)
    assert isinstance(made.store, Watched)
    bad = made.padded_rows(2).tolist()

    def begins(rows: Tensor) -> None:
        if rows.tolist() == bad:
            raise OSError("the disk is gone")

    made.store.begins = begins
    inputs = Inputs(made)
    for step in range(2):
        inputs.fill(step, lambda step: made.store.longest)
    with pytest.raises(OSError, match="the disk is gone"):
        inputs.fill(2, lambda step: made.store.longest)
