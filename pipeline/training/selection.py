"""Which evaluation was the best so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import ConfigDict, Field


@dataclass(frozen=True)
class Selection:
    """The best value of train.monitor so far, the step it was reached at, and the evaluations since."""

    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False)  # as which a checkpoint holds it

    value: float | None = None
    step: Annotated[int, Field(ge=0)] = 0
    stale: Annotated[int, Field(ge=0)] = 0

    def after(self, value: float, step: int, monitor: str) -> Selection:
        """What it becomes with one more evaluation."""
        better = math.isfinite(value) and (
            self.value is None or (value < self.value if monitor == "valid/loss" else value > self.value)
        )
        return Selection(value, step) if better else replace(self, stale=self.stale + 1)

    def describe(self, monitor: str) -> str:
        """The best value and its step, as the end of a sentence; empty without an evaluation."""
        return f"; best {monitor} {self.value:.4f} at step {self.step}" if self.value is not None else ""

    def shown(self, monitor: str) -> str:
        """The best value and its step for a bar, with a comma behind; empty without an evaluation."""
        name = monitor.removeprefix("valid/")
        return f"best {name} {self.value:.4f} at step {self.step}, " if self.value is not None else ""
