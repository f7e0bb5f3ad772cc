"""The gradient of one global batch over all processes: plain mode, and exact mode.

Shapes: b slice, C classes, W processes, V gradient shards.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import cache, reduce
from operator import add

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from pipeline.data.batches import Batches, Slice, mix
from pipeline.distributed.collectives import rank, world_size
from pipeline.training.loss import summed_loss
from pipeline.training.state import Answer, Gradient, State


def generator(device: torch.device) -> torch.Generator:
    """What dropout on ``device`` draws from; to seed it alone takes one call, torch.manual_seed hundreds."""
    return torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else torch.default_generator


def slice_loss(state: State, part: Slice, smoothing: float, seed: int | None) -> tuple[Tensor, Answer]:
    """The sum () of the loss over the examples of one slice, and the logits.

    ``seed``: None if what dropout draws from is seeded already."""
    if state.model.stochastic and seed is not None:
        generator(part.values.device).manual_seed(mix(seed, state.step, part.number))
    with state.autocast:
        real = (part.weights > 0,) if part.padded and state.model.batch_norms else ()
        logits = state.forward(part.values, part.lengths, *real).float()  # (b, C)
    loss = summed_loss(logits, part.labels, smoothing, state.class_weights, part.weights if part.padded else None)
    return loss, (logits.detach(), part)


@cache
def constant(value: float, device: torch.device) -> Tensor:
    """() on ``device``, made once: to fill it is a launch."""
    return torch.full((), value, device=device)


def plain_gradient(state: State, batches: Batches, smoothing: float, seed: int, parameters: list[nn.Parameter]) -> Gradient:
    """Leave the mean gradient over the global batch in ``grad``; DDP averages over W, so each share is scaled by W."""
    count, shares, answers, began = batches.count(state.step), [], [], time.perf_counter()
    by_ddp = isinstance(state.forward, DistributedDataParallel)
    weight = _weight(state, batches, world_size() if by_ddp else 1)
    for part in batches.slices(state.step):
        waits = part.number != batches.mine[-1] and by_ddp
        with state.forward.no_sync() if waits else nullcontext():  # type: ignore[operator]  # of DDP alone
            loss, answer = slice_loss(state, part, smoothing, seed)
            if by_ddp and not waits:  # the others come in with the last backward pass
                state.worked += time.perf_counter() - began
            torch.autograd.backward(loss, weight)
        shares.append(loss.detach() / count)
        answers.append(answer)
    if world_size() > 1 and not by_ddp:
        state.worked += time.perf_counter() - began
        _sum_at_once(parameters)
    return Gradient(reduce(add, shares), answers, [norm.taken() for norm in state.model.batch_norms])


def _weight(state: State, batches: Batches, times: int = 1) -> Tensor:
    """() on the device: the derivative by each example's loss of what is differentiated, ``times`` the mean loss."""
    weight = constant(times / batches.count(state.step), batches.store.device)
    return weight if state.scaler is None else state.scaler.scale(weight)


def _sum_at_once(parameters: list[nn.Parameter]) -> None:
    """Make each ``grad`` its sum over all processes, by one all-reduce."""
    total = torch.cat([parameter.grad.reshape(-1) for parameter in parameters if parameter.grad is not None])
    dist.all_reduce(total)
    for parameter, piece in zip(parameters, torch.split(total, [parameter.numel() for parameter in parameters]), strict=True):
        parameter.grad = piece.view_as(parameter)


def exact_gradient(state: State, batches: Batches, smoothing: float, seed: int, parameters: list[nn.Parameter]) -> Gradient:
    """Leave in ``grad`` the sum over the V shards in one fixed binary tree: the same bits for every W that divides V.

    (The idea of virtual workers: Or et al., VirtualFlow, 2021; Li et al., EasyScale, 2023.)
    """
    count, leaves, answers, norms = batches.count(state.step), [], [], state.model.batch_norms
    began, weight = time.perf_counter(), _weight(state, batches)
    for part in batches.slices(state.step):
        loss, answer = slice_loss(state, part, smoothing, seed)
        grads = torch.autograd.grad(loss, parameters, weight)
        # loss and statistics travel in the same vector as the gradient, and so in the same tree
        further = [(loss.detach() / count)[None], *(norm.taken() for norm in norms)]
        leaves.append(torch.cat([*(grad.reshape(-1) for grad in grads), *further]))
        answers.append(answer)
    total = tree_sum(leaves)
    if dist.is_initialized():
        state.worked += time.perf_counter() - began
        totals = [torch.empty_like(total) for _ in range(world_size())]
        dist.all_gather(totals, total)
        total = tree_sum(totals)
    sizes = [*(parameter.numel() for parameter in parameters), 1, *(2 * len(norm.mean) + 1 for norm in norms)]
    pieces = torch.split(total, sizes)
    for parameter, piece in zip(parameters, pieces, strict=False):
        parameter.grad = piece.view_as(parameter)
    loss, *statistics = pieces[len(parameters) :]
    return Gradient(loss[0] * float(rank() == 0), answers, statistics)  # the loss is on every process; reports hold shares


def tree_sum(leaves: list[Tensor]) -> Tensor:
    """The sum of a power of two of tensors, neighbours first: ((a + b) + (c + d))."""
    while len(leaves) > 1:
        leaves = [left + right for left, right in zip(leaves[::2], leaves[1::2], strict=True)]
    return leaves[0]
