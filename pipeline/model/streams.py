"""Two things that do not need each other, side by side on a GPU: their kernels are too small to fill it one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor


def side_by_side(second: Callable[[], Tensor], first: Callable[[], Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """What both give, ``second`` on a stream of its own; ``inputs``: all that it reads but for weights.

    May be captured in a CUDA graph. autograd takes the backward pass of each on its stream, too.
    """
    here = torch.cuda.current_stream(inputs[0].device)
    beside = _stream(inputs[0].device)
    beside.wait_stream(here)
    with torch.cuda.stream(beside):
        other = second()
    one = first()
    here.wait_stream(beside)
    for tensor in inputs:  # or its memory may be given to others while the stream still reads it
        tensor.record_stream(beside)
    other.record_stream(here)
    return other, one


@contextmanager
def beside(device: torch.device) -> Iterator[None]:
    """What is done here is done on a stream of its own, after all that was begun before; nothing may read it before ``joined``.

    On a CPU it is done as it stands. What it reads must be kept until it is joined.
    """
    if device.type != "cuda":
        yield
        return
    other = _stream(device, 1)
    other.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(other):
        yield


def joined(device: torch.device) -> None:
    """From here on all that was done ``beside`` is done."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).wait_stream(_stream(device, 1))


@cache
def _stream(device: torch.device, number: int = 0) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
