"""What is used of torch under names that it keeps to itself: an upgrade that breaks them breaks this module alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def total_norm(tensors: list[Tensor]) -> Tensor:
    """The Euclidean norm () of all values together: torch's ``get_total_norm`` at half its cost."""
    on_gpu = tensors[0].is_cuda  # where a copy is less than two launches more, and a step of a graph has one vector too
    parts = torch.cat([tensor.reshape(-1) for tensor in tensors]) if on_gpu else torch.stack(torch._foreach_norm(tensors))
    norm: Tensor = torch.linalg.vector_norm(parts)
    return norm


def multiply_and_flag(tensors: list[Tensor], factor: Tensor, flag: Tensor) -> None:
    """Multiply ``tensors`` by ``factor`` (), and set ``flag`` () to 1 if a value was not finite before: in one kernel."""
    torch._amp_foreach_non_finite_check_and_unscale_(tensors, flag, factor)


def copy_all(to: list[Tensor], tensors: list[Tensor]) -> None:
    """Copy each of ``tensors`` into one of the same shape and of any dtype: on a GPU in one kernel."""
    torch._foreach_copy_(to, tensors)


def update_scale(scaler: Any, overflowed: Tensor) -> None:
    """What a GradScaler makes of its scale after a step that ``overflowed`` () or not, without the host."""
    tracker, growth, backoff = scaler._growth_tracker, scaler.get_growth_factor(), scaler.get_backoff_factor()
    torch._amp_update_scale_(scaler._scale, tracker, overflowed, growth, backoff, scaler.get_growth_interval())


def _pairs(averages: nn.Module, weights: nn.Module) -> list[list[Tensor]]:
    return [[*module.parameters(), *module.buffers()] for module in (averages, weights)]


@torch.no_grad()
def move_towards(averages: nn.Module, weights: nn.Module, share: Tensor) -> None:
    """``averages += share * (weights - averages)`` for all parameters and buffers; ``share`` () is on the device."""
    own, other = _pairs(averages, weights)
    apart = torch._foreach_sub(other, own)
    torch._foreach_mul_(apart, share)
    torch._foreach_add_(own, apart)


@torch.no_grad()
def average_into(averages: nn.Module, weights: nn.Module, decay: float) -> None:
    """``averages = decay * averages + (1 - decay) * weights`` for all parameters and buffers, in one kernel."""
    own, other = _pairs(averages, weights)
    torch._foreach_lerp_(own, other, 1 - decay)


def leave_out_of_ddp(model: nn.Module, names: Sequence[str]) -> None:
    """Have DistributedDataParallel neither send nor compare these parameters and buffers."""
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)  # type: ignore[no-untyped-call]


def cpu_has_bf16() -> bool:
    """Whether this processor has instructions for bf16 (AVX-512)."""
    return bool(torch.cpu._is_avx512_bf16_supported())


@contextmanager
def traced_by_shape(operators: Sequence[Any], shapes: Callable[..., Any]) -> Iterator[None]:
    """Let torch.export learn the shapes of what ``operators`` give from ``shapes``, which gets their arguments.

    Otherwise it learns them from decompositions, which loop over the steps in Python and so fix their number.
    """
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    kernels = [operator.py_kernels[key] for operator in operators]
    try:
        for operator in operators:
            operator.py_kernels[key] = shapes
            operator._dispatch_cache.clear()
        yield
    finally:
        for operator, kernel in zip(operators, kernels, strict=True):
            operator.py_kernels[key] = kernel
            operator._dispatch_cache.clear()
