"""The training loop as a generator of reports, and exact evaluation.

Shapes: B batch (global), b slice, T time steps, F features, C classes, N examples, W processes, V gradient shards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from functools import reduce
from hashlib import sha256
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from pipeline import config
from pipeline.data.batches import Batches, Slice, Store, block, mix
from pipeline.errors import NonFiniteError
from pipeline.model import RecurrentClassifier
from pipeline.optim import lr_at
from pipeline.processes import gather, reduce_sum

if TYPE_CHECKING:
    from accelerate import Accelerator

EVALUATION_BLOCK, EVALUATION_STEPS = 250, 2**20  # at most so many rows, and steps; the same for every number of processes


@dataclass
class State:
    """What training changes. ``forward`` is ``model`` as it is called in training: wrapped for DDP where there are
    several processes. ``ema`` is the averaged model, if there is one. ``step`` counts optimiser steps. ``autocast`` is
    entered around each forward pass: made once, as Accelerate makes a new one at every call."""

    model: RecurrentClassifier
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: Any = None
    ema: RecurrentClassifier | None = None
    step: int = 0
    autocast: AbstractContextManager[Any] = field(default_factory=nullcontext)

    @property
    def best_model(self) -> RecurrentClassifier:
        """The model to evaluate and to export: the averaged one if there is one."""
        return self.ema or self.model


@dataclass(frozen=True)
class Report:
    """One optimiser step. ``loss`` and ``correct`` are this process's shares, on the device; reading them waits for it."""

    step: int
    lr: float
    count: int
    loss: Tensor
    correct: Tensor
    grad_norm: Tensor

    def numbers(self) -> dict[str, float]:
        """The step's loss and accuracy over the global batch, and the gradient's norm before clipping. Collective."""
        loss, correct = reduce_sum(torch.stack([self.loss.double(), self.correct.double()])).tolist()
        return {"loss": loss, "accuracy": correct / self.count, "grad_norm": float(self.grad_norm)}


def make_state(
    model: RecurrentClassifier, optimizer: torch.optim.Optimizer, train: config.Train, accelerator: Accelerator
) -> State:
    """Ready ``model``, which is on the device already, for training: DDP and mixed precision by Accelerate."""
    exact = bool(train.gradient_shards)
    ema = deepcopy(model).flatten_parameters() if train.ema else None
    # the normalisation is the same everywhere and never changes: DDP would send it to all at every step
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, ["mean", "scale"])  # type: ignore[no-untyped-call]
    forward = accelerator.prepare_model(model, evaluation_mode=exact)  # exact mode sums gradients itself
    accelerator.unwrap_model(forward, keep_fp32_wrapper=False)  # autocast is entered in training only, by _slice_loss
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
    autocast = torch.autocast(accelerator.device.type, dtype) if dtype else nullcontext()
    return State(model, forward, optimizer, accelerator.scaler, ema, autocast=autocast)


def train(
    state: State, batches: Batches, train: config.Train, optim: config.Optim, seed: int, accelerator: Accelerator
) -> Iterator[Report]:
    """Take the optimiser steps that are left, and yield a report after each.

    The decay of the averaged weights starts low, (1 + step) / (10 + step), so that the first weights are soon forgotten.
    Raises NonFiniteError before an update whose gradient is not finite, on all processes at the same step,
    unless ``train.on_nonfinite`` is ``skip``.
    """
    steps = train.epochs * batches.steps_per_epoch
    parameters = [parameter for parameter in state.model.parameters() if parameter.requires_grad]
    gradient = _exact_gradient if train.gradient_shards else _plain_gradient
    state.forward.train()
    if isinstance(state.forward, DistributedDataParallel) and state.step < steps:
        _settle_buckets(state, batches)
    while state.step < steps:
        lr = lr_at(state.step, steps, optim)
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        loss, correct = gradient(state, batches, train.label_smoothing, seed, accelerator, parameters)
        if state.scaler is not None:
            state.scaler.unscale_(state.optimizer)
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))  # get_total_norm, at half its cost
        if optim.clip:
            nn.utils.clip_grads_with_norm_(parameters, optim.clip, norm)
        updated = _update(state, norm, train, batches)
        _forget_gradients(parameters)
        if not updated:
            continue
        if state.ema is not None:
            decay = min(train.ema, (1 + state.step) / (10 + state.step))
            with torch.no_grad():
                torch._foreach_lerp_(list(state.ema.parameters()), list(state.model.parameters()), 1 - decay)
        count = batches.count(state.step)
        state.step += 1
        yield Report(state.step, lr, count, loss, correct, norm)


def _settle_buckets(state: State, batches: Batches) -> None:
    """Backward passes whose gradients are dropped. After its second pass (with a static graph) DDP lays its buckets out
    anew, and the layout decides the order of sums over three and more processes; a resumed run must sum as one that
    was left alone."""
    for _ in range(3):
        part = next(batches.slices(state.step))
        torch.autograd.backward(_slice_loss(state, part, batches.batch, 0.0, 0)[0])
        state.optimizer.zero_grad()


def _update(state: State, norm: Tensor, train: config.Train, batches: Batches) -> bool:
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
            _refuse(state, batches)
        state.scaler.update(1.0)  # no scale helps this batch; the next one starts from here
        return True
    if math.isfinite(norm.item()):  # gradients, and so their norm, are the same on all processes
        state.optimizer.step()
    elif train.on_nonfinite == "stop":
        _refuse(state, batches)
    return True


def _forget_gradients(parameters: list[nn.Parameter]) -> None:
    """``zero_grad`` without what an optimiser does around it."""
    for parameter in parameters:
        parameter.grad = None


def _refuse(state: State, batches: Batches) -> None:
    rows = batches.rows(state.step)
    raise NonFiniteError(
        f"step {state.step + 1}: the loss or its gradient is not finite; the weights are those of step {state.step}. "
        f"Rows of the training part in this batch: {rows}. Lower optim.lr, set optim.clip, or train.on_nonfinite=skip"
    )


def _slice_loss(state: State, part: Slice, count: int, smoothing: float, seed: int) -> tuple[Tensor, Tensor]:
    """The share of one slice in the mean loss over the ``count`` examples of the global batch, and its number of hits."""
    if state.model.dropout:
        torch.manual_seed(mix(seed, state.step, part.number))
    with state.autocast:
        logits = state.forward(part.values, part.lengths).float()  # (b, C)
    losses = functional.cross_entropy(logits, part.labels, reduction="none", label_smoothing=smoothing)  # (b)
    hits = logits.detach().argmax(1) == part.labels
    if part.padded:
        losses, hits = losses * part.weights, hits & part.weights.bool()
    return losses.sum() / count, hits.sum()


def _plain_gradient(
    state: State, batches: Batches, smoothing: float, seed: int, accelerator: Accelerator, parameters: list[nn.Parameter]
) -> tuple[Tensor, Tensor]:
    """Leave the mean gradient over the global batch in ``grad``; DDP averages over W, so each share is scaled by W."""
    count, shares, correct = batches.count(state.step), [], []
    for part in batches.slices(state.step):
        last = part.number == batches.mine[-1]
        with nullcontext() if last else accelerator.no_sync(state.forward):
            share, hits = _slice_loss(state, part, count, smoothing, seed)
            scaled = share * accelerator.num_processes if accelerator.num_processes > 1 else share
            (scaled if state.scaler is None else state.scaler.scale(scaled)).backward()
        shares.append(share.detach())
        correct.append(hits)
    return reduce(add, shares), reduce(add, correct)


def _exact_gradient(
    state: State, batches: Batches, smoothing: float, seed: int, accelerator: Accelerator, parameters: list[nn.Parameter]
) -> tuple[Tensor, Tensor]:
    """Leave in ``grad`` the sum over the V shards in one fixed binary tree: the same bits for every W that divides V.

    (The idea of virtual workers: Or et al., VirtualFlow, 2021; Li et al., EasyScale, 2023.)
    """
    count = batches.count(state.step)
    leaves = []
    for part in batches.slices(state.step):
        share, hits = _slice_loss(state, part, count, smoothing, seed)
        grads = torch.autograd.grad(share if state.scaler is None else state.scaler.scale(share), parameters)
        # the loss and the hits travel in the same vector as the gradient, and so in the same tree
        leaves.append(torch.cat([*(grad.reshape(-1) for grad in grads), share.detach()[None], hits.float()[None]]))
    total = _tree_sum(leaves)
    if dist.is_initialized():
        totals = [torch.empty_like(total) for _ in range(accelerator.num_processes)]
        dist.all_gather(totals, total)
        total = _tree_sum(totals)
    gradient, loss, correct = total[:-2], total[-2], total[-1]
    for parameter, piece in zip(
        parameters, torch.split(gradient, [parameter.numel() for parameter in parameters]), strict=True
    ):
        parameter.grad = piece.view_as(parameter)
    main = float(accelerator.is_main_process)  # the totals are on every process; reports hold shares
    return loss * main, correct * main


def _tree_sum(leaves: list[Tensor]) -> Tensor:
    """The sum of a power of two of tensors, neighbours first: ((a + b) + (c + d))."""
    while len(leaves) > 1:
        leaves = [left + right for left, right in zip(leaves[::2], leaves[1::2], strict=True)]
    return leaves[0]


@dataclass(frozen=True)
class Rows:
    """What the model says of each of N examples: ``labels``, ``predictions``, ``confidence`` (the probability of the
    prediction) and ``losses`` (cross-entropy, nats)."""

    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    confidence: NDArray[np.float64]
    losses: NDArray[np.float64]


@torch.no_grad()
def evaluate(
    model: RecurrentClassifier,
    store: Store,
    accelerator: Accelerator,
    limit: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Rows | None:
    """What ``model`` says of the (first ``limit``) examples of a part. Collective; every process gets all rows.

    In fp32, whatever the precision of training. Each example is counted exactly once, and its row has the same
    bits whatever the number of processes. ``stop``, which must say the same on all processes, is asked after
    each block; None if it said to stop.
    """
    count = store.count if limit is None else min(limit, store.count)
    training = model.training
    model.eval()
    table = torch.zeros(4, count, dtype=torch.float64, device=accelerator.device)
    seen = 0
    size = max(1, min(EVALUATION_BLOCK, EVALUATION_STEPS // store.longest))
    blocks = -(-count // size)
    for first in range(0, blocks, accelerator.num_processes):
        number = first + accelerator.process_index
        if number < blocks:
            rows, real = block(count, size, number, store.home)
            values, labels, lengths = store.take(rows)
            logits = model(values, lengths).double()  # (b, C)
            confidence, predictions = logits.softmax(1).max(1)
            losses = functional.cross_entropy(logits, labels, reduction="none")
            start = number * size
            table[:, start : start + real] = torch.stack([labels.double(), predictions.double(), confidence, losses])[:, :real]
            seen += real
        if stop():
            model.train(training)
            return None
    model.train(training)
    assert sum(gather(seen)) == count, "every example is evaluated exactly once"
    # every column but one process's is zero, so that the sum is exact
    labels, predictions, confidence, losses = reduce_sum(table).cpu().numpy()
    return Rows(labels.astype(np.int64), predictions.astype(np.int64), confidence, losses)


def digest(model: nn.Module) -> str:
    """The SHA-256 of all weights."""
    total = sha256()
    for tensor in model.state_dict().values():
        total.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return total.hexdigest()
