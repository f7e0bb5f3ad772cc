"""What all processes say, do and agree on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from pipeline.errors import TrainingError, UserError

T = TypeVar("T")


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of ``tensor`` over all processes, on each of them."""
    if dist.is_initialized():
        tensor = tensor.clone()
        dist.all_reduce(tensor)
    return tensor


class _Sum(torch.autograd.Function):
    """The sum over all processes: each of them gets the gradient of all."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return reduce_sum(tensor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return reduce_sum(grad.contiguous())


def differentiable_sum(tensor: Tensor) -> Tensor:
    """``reduce_sum``, through which gradients flow."""
    total: Tensor = _Sum.apply(tensor)
    return total


def gather(value: Any) -> list[Any]:
    """``value`` of each process, in their order, on each of them."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def together(action: Callable[[], T]) -> T:
    """Do ``action`` in every process and wait for all; an error in one of them is raised in all."""
    if not dist.is_initialized():
        return action()
    problem: Exception | None = None
    try:
        result = action()
    except Exception as error:
        problem = error
    # an error of another kind may not survive the way to the other processes
    described = problem if problem is None or isinstance(problem, UserError | TrainingError) else RuntimeError(repr(problem))
    shared = next((other for other in gather(described) if other), None)
    if problem is None:
        problem = shared
    if problem is not None:
        raise problem
    return result


def on_main(action: Callable[[], object]) -> None:
    """Do ``action`` in the main process while the others wait; its error is raised in all of them."""
    together(lambda: action() if rank() == 0 else None)


def assert_same(facts: dict[str, str], error: type[Exception], remedy: str) -> None:
    """Raise ``error`` in all processes if one of them has other ``facts`` than most, naming it and what differs."""
    everyone = gather(facts)
    for name in facts:
        values = [other[name] for other in everyone]
        usual = max(values, key=values.count)  # the first of equals: of two processes, that of process 0
        odd = [str(number) for number, value in enumerate(values) if value != usual]
        if odd:
            raise error(f"process {', '.join(odd)} has another {name} than process {values.index(usual)}; {remedy}")
