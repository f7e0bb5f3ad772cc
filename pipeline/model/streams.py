"""Two things that do not need each other, side by side on a GPU: their kernels are too small to fill it one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
