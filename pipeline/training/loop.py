"""The training loop as a generator of reports.

Shapes: B batch (global), b slice, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.distributed.collectives import rank, reduce_sum, settled, world_size
from pipeline.model.torch_private import average_into
from pipeline.training.eager_step import EagerStep
from pipeline.training.gradients import slice_loss
from pipeline.training.graphs.fitting import obstacle
from pipeline.training.graphs.graphed_step import GraphedStep
from pipeline.training.graphs.tables import ema_decay
from pipeline.training.optim import lr_at
from pipeline.training.state import Answer, State, hits


@dataclass(frozen=True)
class Report:
    """One optimiser step. Its tensors are on the device; reading them as numbers waits for it.

    Where steps are CUDA graphs, the next one overwrites the tensors: read them before it.
    """

    step: int
    lr: float  # the learning rate that the step was taken at
    count: int  # examples in the global batch
    loss: Tensor  # (), this process's share of the mean loss
    answers: list[Answer]  # the logits and the slice that each belongs to
    grad_norm: Tensor | None  # (), before clipping; at steps that are logged, and where gradients are clipped
    seen: int = 0  # examples of all steps since the training began here, over all processes
    right: Tensor | None = None  # (), how many of this process's share of them were predicted right, before each update
    worked: float = 0.0  # seconds a step that this process took before it waited for others; at steps that are logged

    def numbers(self) -> dict[str, float]:
        """The step's loss and accuracy over the global batch, and the gradient's norm before clipping. Collective."""
        return self.gathered()[0]

    def gathered(self) -> tuple[dict[str, float], list[float]]:
        """``numbers``, and ``worked`` of each of several processes, which travel together. Collective."""
        settled(self.loss)  # a copy to the GPU waits for it too
        told = torch.stack([self.loss.double(), hits(self.answers).double()])
        if world_size() > 1:
            worked = [self.worked if number == rank() else 0.0 for number in range(world_size())]
            told = torch.cat([told, torch.tensor(worked, dtype=told.dtype, device=told.device)])
        loss, correct, *times = settled(reduce_sum(told)).tolist()
        numbers = {"loss": loss, "accuracy": correct / self.count}
        return numbers if self.grad_norm is None else numbers | {"grad_norm": float(self.grad_norm)}, times

    def hits(self) -> int:
        """How many of the examples ``seen`` so far were predicted right, over all processes. Collective."""
        return 0 if self.right is None else int(settled(reduce_sum(self.right.clone())))


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
    schedule = rate or (lambda step: lr_at(step, steps, optim))
    state.forward.train()
    if isinstance(state.forward, DistributedDataParallel) and state.step < steps:
        _settle_buckets(state, batches)
    on_gpu = batches.store.device.type == "cuda"
    alone = on_gpu and train.cuda_graph == "auto" and not obstacle(state, batches, train)
    take = GraphedStep(state, batches, train, optim, seed, schedule) if alone else EagerStep(state, batches, train, optim, seed)
    try:
        yield from _reports(state, batches, train, schedule, steps, take)
    finally:
        if isinstance(take, GraphedStep):
            take.close()


def _reports(
    state: State, batches: Batches, train: config.Train, rate: Callable[[int], float], steps: int, take: GraphedStep | EagerStep
) -> Iterator[Report]:
    """Take the steps that are left."""
    state.worked, timed = 0.0, state.step  # what settled the buckets was no step
    while state.step < steps:
        lr = rate(state.step)
        logged = (state.step + 1) % train.log_every == 0 or state.step + 1 == steps
        taken = take(lr, logged)
        if taken is None:
            continue
        if state.ema is not None and isinstance(take, EagerStep):
            average_into(state.ema, state.model, ema_decay(state.step, train.ema))
        count = batches.count(state.step)
        state.step += 1
        state.seen += count
        worked = 0.0
        if logged:
            state.check()
            worked, state.worked, timed = state.worked / (state.step - timed), 0.0, state.step
        yield Report(state.step, lr, count, taken.loss, taken.answers, taken.norm, state.seen, state.right, worked)


def _settle_buckets(state: State, batches: Batches) -> None:
    """Take backward passes whose gradients are dropped.

    DDP lays its buckets out anew after its second pass (with a static graph). The layout decides the order of sums over
    three and more processes, and a resumed run must sum as one that was left alone.
    """
    for _ in range(3):
        part = next(batches.slices(state.step))
        torch.autograd.backward(slice_loss(state, part, 0.0, 0)[0])
        state.optimizer.zero_grad()
    for norm in state.model.batch_norms:
        norm.taken()
