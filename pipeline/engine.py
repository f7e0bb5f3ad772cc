"""The training loop as a generator of reports.

Shapes: B batch (global), b slice, T time steps, F features, C classes, W processes, V gradient shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from pipeline import config, cpu_lstm
from pipeline.cuda_graph import GraphedStep, fits
from pipeline.data.batches import Batches, Slice, mix
from pipeline.model import RecurrentClassifier
from pipeline.optim import lr_at
from pipeline.processes import gather, reduce_sum
from pipeline.state import Answer, State

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


def make_state(
    model: RecurrentClassifier, optimizer: torch.optim.Optimizer, train: config.Train, accelerator: Accelerator
) -> State:
    """Ready ``model``, which is on the device already, for training: DDP and mixed precision by Accelerate."""
    exact = bool(train.gradient_shards)
    layers, lanes = _choose_kernel(model, train, accelerator)
    ema = deepcopy(model).flatten_parameters() if train.ema else None
    # the normalisation is the same everywhere and never changes: DDP would send it to all at every step
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, ["mean", "scale"])  # type: ignore[no-untyped-call]
    forward = accelerator.prepare_model(model, evaluation_mode=exact)  # exact mode sums gradients itself
    accelerator.unwrap_model(forward, keep_fp32_wrapper=False)  # autocast is entered in training only, by _slice_loss
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
    autocast = torch.autocast(accelerator.device.type, dtype) if dtype else nullcontext()
    nonfinite = torch.zeros((), device=accelerator.device)
    more: dict[str, Any] = {"autocast": autocast, "nonfinite": nonfinite, "layers": layers, "lanes": lanes}
    return State(model, forward, optimizer, accelerator.scaler, ema, **more)


def _choose_kernel(model: RecurrentClassifier, train: config.Train, accelerator: Accelerator) -> tuple[str, int]:
    """Let ``model`` train by ``cpu_lstm`` where all processes can and it is faster; what trains it, in words, and the lanes."""
    single = accelerator.mixed_precision == "no" and accelerator.device.type == "cpu"
    if train.cpu_lstm == "torch" or model.cell != "lstm" or not single:
        return "by torch", 0
    problem, lanes = "", 0
    if model.hidden % cpu_lstm.MULTIPLE or model.hidden > cpu_lstm.LARGEST:
        problem = f"model.hidden = {model.hidden} is no multiple of {cpu_lstm.MULTIPLE} up to {cpu_lstm.LARGEST}"
    else:
        try:
            lanes = cpu_lstm.library().lanes()
        except cpu_lstm.Unavailable as unavailable:
            problem = str(unavailable)
    problem = next((found for found in gather(problem) if found), "")
    model.by_kernel = not problem
    return (f"by torch, not by our own kernel: {problem}", 0) if problem else ("by our own kernel", lanes)


@torch.no_grad()
def recurrent_dtype(state: State) -> torch.dtype:
    """What the recurrent layers really compute in under autocast, which may be another than it was asked for: torch's
    sources run cuDNN's LSTM in float16 even under bfloat16."""
    model = state.model
    width = len(model.mean) if model.projection is None else model.projection.out_features
    with state.autocast:
        outputs: Tensor = model.recurrent[0](torch.zeros(1, 1, width, device=model.mean.device))[0]
    return outputs.dtype


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
    gradient = _exact_gradient if train.gradient_shards else _plain_gradient
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
        torch.autograd.backward(_slice_loss(state, part, batches.batch, 0.0, 0)[0])
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


def _slice_loss(state: State, part: Slice, count: int, smoothing: float, seed: int) -> tuple[Tensor, Answer]:
    """The share of one slice in the mean loss over the ``count`` examples of the global batch, and the logits."""
    if state.model.stochastic:
        torch.manual_seed(mix(seed, state.step, part.number))
    with state.autocast:
        logits = state.forward(part.values, part.lengths).float()  # (b, C)
    entropy = partial(functional.cross_entropy, logits, part.labels, state.class_weights, label_smoothing=smoothing)
    loss = (entropy(reduction="none") * part.weights).sum() if part.padded else entropy(reduction="sum")
    return loss / count, (logits.detach(), part)


def _plain_gradient(
    state: State, batches: Batches, smoothing: float, seed: int, accelerator: Accelerator, parameters: list[nn.Parameter]
) -> tuple[Tensor, list[Answer]]:
    """Leave the mean gradient over the global batch in ``grad``; DDP averages over W, so each share is scaled by W."""
    count, shares, answers = batches.count(state.step), [], []
    for part in batches.slices(state.step):
        last = part.number == batches.mine[-1]
        with nullcontext() if last else accelerator.no_sync(state.forward):
            share, answer = _slice_loss(state, part, count, smoothing, seed)
            scaled = share * accelerator.num_processes if accelerator.num_processes > 1 else share
            (scaled if state.scaler is None else state.scaler.scale(scaled)).backward()
        shares.append(share.detach())
        answers.append(answer)
    return reduce(add, shares), answers


def _exact_gradient(
    state: State, batches: Batches, smoothing: float, seed: int, accelerator: Accelerator, parameters: list[nn.Parameter]
) -> tuple[Tensor, list[Answer]]:
    """Leave in ``grad`` the sum over the V shards in one fixed binary tree: the same bits for every W that divides V.

    (The idea of virtual workers: Or et al., VirtualFlow, 2021; Li et al., EasyScale, 2023.)
    """
    count, leaves, answers = batches.count(state.step), [], []
    for part in batches.slices(state.step):
        share, answer = _slice_loss(state, part, count, smoothing, seed)
        grads = torch.autograd.grad(share if state.scaler is None else state.scaler.scale(share), parameters)
        # the loss travels in the same vector as the gradient, and so in the same tree
        leaves.append(torch.cat([*(grad.reshape(-1) for grad in grads), share.detach()[None]]))
        answers.append(answer)
    total = _tree_sum(leaves)
    if dist.is_initialized():
        totals = [torch.empty_like(total) for _ in range(accelerator.num_processes)]
        dist.all_gather(totals, total)
        total = _tree_sum(totals)
    pieces = torch.split(total[:-1], [parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter)
    return total[-1] * float(accelerator.is_main_process), answers  # the total is on every process; reports hold shares


def _tree_sum(leaves: list[Tensor]) -> Tensor:
    """The sum of a power of two of tensors, neighbours first: ((a + b) + (c + d))."""
    while len(leaves) > 1:
        leaves = [left + right for left, right in zip(leaves[::2], leaves[1::2], strict=True)]
    return leaves[0]
