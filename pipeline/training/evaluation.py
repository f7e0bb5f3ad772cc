"""Exact evaluation: one row an example, whatever the number of processes.

Shapes: N examples, b block, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.data.store import Store
from pipeline.distributed.collectives import gather, rank, reduce_sum, settled, world_size
from pipeline.model.classifier import RecurrentClassifier
from pipeline.model.footprint import rows_at_once


def block(count: int, size: int, number: int, device: torch.device) -> tuple[Tensor, int]:
    """The rows (size) of block ``number`` of ``count`` rows, and how many of them are real: the last block is padded.

    Blocks are of one shape whatever the number of processes, so that a row's logits are bit for bit the same.
    """
    rows = torch.arange(number * size, (number + 1) * size, device=device)
    return rows.clamp(max=count - 1), min(size, count - number * size)


# rows at a time, or as many as memory takes; the same for every number of processes
BLOCK, ON_GPU = 250, 4096  # of fewer a GPU takes longer to be told than to compute


@dataclass(frozen=True)
class Rows:
    """What the model says of each of N examples: ``labels``, ``predictions``, ``confidence`` (the probability of the
    prediction) and ``losses`` (cross-entropy, nats)."""

    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    confidence: NDArray[np.float64]
    losses: NDArray[np.float64]


class Interrupted(Exception):
    """An evaluation was told to stop before its end."""


@torch.no_grad()
def evaluate(
    model: RecurrentClassifier,
    store: Store,
    limit: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    progressed: Callable[[int], object] = lambda number: None,
) -> Rows:
    """What ``model`` says of the (first ``limit``) examples of a part. Collective; every process gets all rows.

    In fp32, whatever the precision of training. Each example is counted exactly once, and its row has the same
    bits whatever the number of processes. ``stop``, which must say the same on all processes, is asked after
    each block. ``progressed`` is told after each how many examples more have had their turn. Raises
    Interrupted if ``stop`` said so.
    """
    count = store.count if limit is None else min(limit, store.count)
    training = model.training
    model.eval()
    table = torch.zeros(4, count, dtype=torch.float64, device=store.device)
    seen = 0
    size = rows_at_once(model.sizes, store.longest, ON_GPU if store.device.type == "cuda" else BLOCK, store.device.type)
    blocks = -(-count // size)
    for first in range(0, blocks, world_size()):
        number = first + rank()
        if number < blocks:
            rows, real = block(count, size, number, store.home)
            values, labels, lengths = store.take(rows)
            logits = model(values, lengths).double()  # (b, C)
            confidence, predictions = logits.softmax(1).max(1)
            losses = functional.cross_entropy(logits, labels, reduction="none")
            start = number * size
            table[:, start : start + real] = torch.stack([labels.double(), predictions.double(), confidence, losses])[:, :real]
            seen += real
        progressed(min(count, (first + world_size()) * size) - first * size)
        if stop():
            model.train(training)
            raise Interrupted
    model.train(training)
    assert sum(gather(seen)) == count, "every example is evaluated exactly once"
    # every column but one process's is zero, so that the sum is exact
    labels, predictions, confidence, losses = settled(reduce_sum(table)).cpu().numpy()
    return Rows(labels.astype(np.int64), predictions.astype(np.int64), confidence, losses)
