"""The speed of training at one batch size.

Everything is measured through ``steps(batch, rate)``: the reports of a training of its own that starts from the seed
with that global batch and takes step ``i`` at ``rate(i)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import median
from time import perf_counter
from typing import Literal

import torch

from pipeline.training.graphs import graphed_step
from pipeline.training.loop import Report

Steps = Callable[[int, Callable[[int], float]], Iterator[Report]]
WARMUP, FEWEST, SECONDS = 3, 3, 1.2  # steps before the timed ones; timed ones at least, and for how long
GRAPHED = graphed_step.WARMUP + 2  # before the timed ones on a GPU, where the last of them is captured as a graph
TOGETHER = 20  # steps that a GPU is given at once: to wait for each would measure how long it takes to hear of one


@dataclass(frozen=True)
class End:
    """Why a measurement went no further, as a word for programs and as one for people."""

    kind: Literal["memory", "data", "growth", "time", "loss", "range"]
    text: str


def speed_of(steps: Steps, batch: int) -> float:
    """Training samples/s at a global batch: the median of some steps after a few others. The weights stay as they are."""
    seconds: list[float] = []
    reports = steps(batch, lambda step: 0.0)
    before, together = (GRAPHED, TOGETHER) if torch.cuda.is_initialized() else (WARMUP, 1)  # type: ignore[no-untyped-call]
    for _ in islice(reports, before):
        _wait()
    if together > 1:  # of a large batch fewer are enough to make the wait short beside them
        began = perf_counter()
        next(reports)
        _wait()
        together = max(1, min(together, int(SECONDS / (perf_counter() - began))))
    while len(seconds) < FEWEST or sum(seconds) < SECONDS:
        began = perf_counter()
        for _ in islice(reports, together):
            pass
        _wait()
        seconds.append(perf_counter() - began)
    return batch * together / median(seconds)


def speed_if_it_fits(steps: Steps, batch: int) -> float:
    """``speed_of``, 0 if an allocation failed."""
    try:
        return speed_of(steps, batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    return 0.0


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed; torch has a class of errors for that on GPUs only."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _wait() -> None:
    """Until the device has done all that it was given."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
