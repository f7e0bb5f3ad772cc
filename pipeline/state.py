"""What training changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.data.batches import Batches, Slice
from pipeline.errors import NonFiniteError
from pipeline.model import RecurrentClassifier

Answer = tuple[Tensor, Slice]  # logits (b, C) without a graph, and the slice that they answer


@dataclass
class State:
    """What training changes. ``forward`` is ``model`` as it is called in training: wrapped for DDP where there are
    several processes. ``ema`` is the averaged model, if there is one. ``step`` counts optimiser steps. ``autocast`` is
    entered around each forward pass: made once, as Accelerate makes a new one at every call. ``nonfinite`` (), on the
    device, becomes 1 when a gradient is not finite. ``class_weights`` (C), if there are any, weigh the training loss.
    ``layers``: what the recurrent layers are trained by, in words; ``lanes``: of our own kernel, which decide how it rounds,
    0 for torch's.
    ``check`` raises the NonFiniteError of a step that was launched and not waited for, if there is one."""

    model: RecurrentClassifier
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: Any = None
    ema: RecurrentClassifier | None = None
    step: int = 0
    autocast: AbstractContextManager[Any] = field(default_factory=nullcontext)
    nonfinite: Tensor = field(default_factory=lambda: torch.zeros(()))
    class_weights: Tensor | None = None
    layers: str = "by torch"
    lanes: int = 0
    check: Callable[[], None] = lambda: None

    @property
    def best_model(self) -> RecurrentClassifier:
        """The model to evaluate and to export: the averaged one if there is one."""
        return self.ema or self.model

    def nonfinite_error(self, batches: Batches) -> NonFiniteError:
        """What to raise instead of the update of the next step."""
        return NonFiniteError(
            f"step {self.step + 1}: the loss or its gradient is not finite; the weights are those of step {self.step}. "
            f"Rows of the training part in this batch: {batches.rows(self.step)}. "
            "Lower optim.lr, set a lower optim.clip, or train.on_nonfinite=skip, in a new run (run.dir=runs/NAME)"
        )
