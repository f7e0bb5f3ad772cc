"""The training loop as a generator of reports.

Shapes: B batch (global), b slice, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.distributed.collectives import reduce_sum, world_size
from pipeline.model.torch_private import average_into
from pipeline.training.cuda_graph import GraphedStep, fits
from pipeline.training.eager_step import EagerStep
from pipeline.training.gradients import slice_loss
from pipeline.training.optim import lr_at
from pipeline.training.state import Answer, State


@dataclass(frozen=True)
class Report:
    """One optimiser step. Its tensors are on the device; reading them as numbers waits for it."""

    step: int
    lr: float  # the learning rate that the step was taken at
    count: int  # examples in the global batch
    loss: Tensor  # (), this process's share of the mean loss
    answers: list[Answer]  # the logits and the slice that each belongs to
    grad_norm: Tensor | None  # (), before clipping; at steps that are logged, and where gradients are clipped

    def numbers(self) -> dict[str, float]:
        """The step's loss and accuracy over the global batch, and the gradient's norm before clipping. Collective."""
        hits = [((logits.argmax(1) == part.labels) * part.weights).sum() for logits, part in self.answers]
        loss, correct = reduce_sum(torch.stack([self.loss.double(), reduce(add, hits).double()])).tolist()
        numbers = {"loss": loss, "accuracy": correct / self.count}
        return numbers if self.grad_norm is None else numbers | {"grad_norm": float(self.grad_norm)}


def train(
    state: State,
    batches: Batches,
    train: config.Train,
    optim: config.Optim,
    seed: int,
    rate: Callable[[int], float] | None = None,
) -> Iterator[Report]:
    """Take the optimiser steps that are left, and yield a report after each.

    The learning rate is ``rate(step)``, or that of ``optim``. Raises NonFiniteError before an update whose gradient is
    not finite, on all processes at the same step, unless ``train.on_nonfinite`` is ``skip``.
    """
    steps = train.epochs * batches.steps_per_epoch
    state.forward.train()
    if isinstance(state.forward, DistributedDataParallel) and state.step < steps:
        _settle_buckets(state, batches)
    graphed = fits(state, batches, train, world_size())
    take = GraphedStep(state, batches, train, optim) if graphed else EagerStep(state, batches, train, optim, seed)
    while state.step < steps:
        lr = rate(state.step) if rate else lr_at(state.step, steps, optim)
        logged = (state.step + 1) % train.log_every == 0 or state.step + 1 == steps
        taken = take(lr, logged)
        if taken is None:
            continue
        if state.ema is not None:  # a decay that starts low, so that the first weights are soon forgotten
            average_into(state.ema, state.model, min(train.ema, (1 + state.step) / (10 + state.step)))
        count = batches.count(state.step)
        state.step += 1
        if logged:
            state.check()
        yield Report(state.step, lr, count, taken.loss, taken.answers, taken.norm)


def _settle_buckets(state: State, batches: Batches) -> None:
    """Take backward passes whose gradients are dropped.

    DDP lays its buckets out anew after its second pass (with a static graph). The layout decides the order of sums over
    three and more processes, and a resumed run must sum as one that was left alone.
    """
    for _ in range(3):
        part = next(batches.slices(state.step))
        torch.autograd.backward(slice_loss(state, part, batches.batch, 0.0, 0)[0])
        state.optimizer.zero_grad()
    for norm in state.model.batch_norms:
        norm.taken()
