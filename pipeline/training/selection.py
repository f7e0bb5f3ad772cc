"""Which evaluation was the best so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import ConfigDict, Field


@dataclass(frozen=True)
class Selection:
    """The best value of train.monitor so far, the step it was reached at, the evaluations since the first with that value,
    and the loss at the step.

    Of equal values the one with the lower loss is the best: a few examples are soon all predicted right, long before the
    end of a training. ``loss`` is None without a finite one, and in a checkpoint that was written before it was kept.
    """

    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False)  # as which a checkpoint holds it

    value: float | None = None
    step: Annotated[int, Field(ge=0)] = 0
    stale: Annotated[int, Field(ge=0)] = 0
    loss: float | None = None

    def after(self, value: float, loss: float, step: int, monitor: str) -> Selection:
        """What it becomes with one more evaluation, which gave ``value`` and ``loss``."""
        known = loss if math.isfinite(loss) else None
        better = math.isfinite(value) and (
            self.value is None or (value < self.value if monitor == "valid/loss" else value > self.value)
        )
        if better:
            return Selection(value, step, loss=known)
        if value == self.value and known is not None and self.loss is not None and known < self.loss:
            return replace(self, step=step, stale=self.stale + 1, loss=known)
        return replace(self, stale=self.stale + 1)

    def describe(self, monitor: str) -> str:
        """The best value and its step, as the end of a sentence; empty without an evaluation."""
        return f"; best {monitor} {self.value:.4f} at step {self.step}" if self.value is not None else ""

    def shown(self, monitor: str) -> str:
        """The best value and its step for a bar, with a comma behind; empty without an evaluation."""
        name = monitor.removeprefix("valid/")
        return f"best {name} {self.value:.4f} at step {self.step}, " if self.value is not None else ""
