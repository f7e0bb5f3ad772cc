"""The training loop as a generator of reports.

Shapes: B batch (global), b slice, T time steps, F features, C classes, W processes, V gradient shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.distributed.collectives import reduce_sum
from pipeline.training.cuda_graph import GraphedStep, fits
from pipeline.training.gradients import exact_gradient, plain_gradient, slice_loss
from pipeline.training.optim import lr_at
from pipeline.training.state import Answer, State

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Report:
    """One optimiser step. ``loss`` is this process's share, ``answers`` the pairs of logits and slice that it is made of,
    all on the device; reading them as numbers waits for it. ``grad_norm``: at steps that are logged and where it clips."""

    step: int
    lr: float
    count: int
    loss: Tensor
    answers: list[Answer]
    grad_norm: Tensor | None

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
    accelerator: Accelerator,
    rate: Callable[[int], float] | None = None,
) -> Iterator[Report]:
    """Take the optimiser steps that are left, at ``rate(step)`` or the rate of ``optim``, and yield a report after each.

    The decay of the averaged weights starts low, (1 + step) / (10 + step), so that the first weights are soon forgotten.
    Raises NonFiniteError before an update whose gradient is not finite, on all processes at the same step,
    unless ``train.on_nonfinite`` is ``skip``.
    """
    steps = train.epochs * batches.steps_per_epoch
    parameters = [parameter for parameter in state.model.parameters() if parameter.requires_grad]
    gradient = exact_gradient if train.gradient_shards else plain_gradient
    state.forward.train()
    if isinstance(state.forward, DistributedDataParallel) and state.step < steps:
        _settle_buckets(state, batches)

    def take(lr: float, logged: bool) -> tuple[Tensor, list[Answer], Tensor | None] | None:
        """One step: loss, answers and norm; None if fp16 overflowed and it is to be tried again at a lower scale."""
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        loss, answers = gradient(state, batches, train.label_smoothing, seed, accelerator, parameters)
        if state.scaler is not None:
            state.scaler.unscale_(state.optimizer)
        grads, norm = [parameter.grad for parameter in parameters if parameter.grad is not None], None
        if optim.clip or logged:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))  # get_total_norm, at half its cost
            grads.append(norm)  # checked with the others: by a norm that overflows they would be clipped to nothing
            if optim.clip:
                nn.utils.clip_grads_with_norm_(parameters, optim.clip, norm)
        updated = _update(state, grads, train, batches)
        for parameter in parameters:  # zero_grad without what an optimiser does around it
            parameter.grad = None
        return (loss, answers, norm) if updated else None

    graphed = GraphedStep(state, batches, train, optim) if fits(state, batches, train, accelerator.num_processes) else None
    while state.step < steps:
        lr = rate(state.step) if rate else lr_at(state.step, steps, optim)
        logged = (state.step + 1) % train.log_every == 0 or state.step + 1 == steps
        taken = graphed(lr) if graphed else take(lr, logged)
        if taken is None:
            continue
        if state.ema is not None:
            decay = min(train.ema, (1 + state.step) / (10 + state.step))
            with torch.no_grad():
                torch._foreach_lerp_(list(state.ema.parameters()), list(state.model.parameters()), 1 - decay)
        loss, answers, norm = taken
        count = batches.count(state.step)
        state.step += 1
        if logged:
            state.check()
        yield Report(state.step, lr, count, loss, answers, norm)


def _settle_buckets(state: State, batches: Batches) -> None:
    """Backward passes whose gradients are dropped. After its second pass (with a static graph) DDP lays its buckets out
    anew, and the layout decides the order of sums over three and more processes; a resumed run must sum as one that
    was left alone."""
    for _ in range(3):
        part = next(batches.slices(state.step))
        torch.autograd.backward(slice_loss(state, part, batches.batch, 0.0, 0)[0])
        state.optimizer.zero_grad()


def _update(state: State, grads: list[Tensor], train: config.Train, batches: Batches) -> bool:
    """Take one optimiser step; False if fp16 overflowed, in which case the same step is tried again at a lower scale."""
    if state.scaler is not None:
        before = state.scaler.get_scale()
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.scaler.get_scale() >= before:
            return True
        if state.scaler.get_scale() >= 1:
            return False
        if train.on_nonfinite == "stop":
            raise state.nonfinite_error(batches)
        state.scaler.update(1.0)  # no scale helps this batch; the next one starts from here
        return True
    # what GradScaler checks with: one kernel for all, and no product where the factor is 1
    torch._amp_foreach_non_finite_check_and_unscale_(grads, state.nonfinite, torch.ones_like(state.nonfinite))
    if not state.nonfinite.item():  # gradients are the same on all processes, and so is this
        state.optimizer.step()
        return True
    state.nonfinite.zero_()
    if train.on_nonfinite == "stop":
        raise state.nonfinite_error(batches)
    return True
