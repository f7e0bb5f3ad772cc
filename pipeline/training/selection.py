"""Which evaluation was the best so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Selection:
    """The best value of train.monitor so far, the step it was reached at, and the evaluations since."""

    value: float | None = None
    step: int = 0
    stale: int = 0

    def after(self, value: float, step: int, monitor: str) -> Selection:
        """What it becomes with one more evaluation."""
        better = math.isfinite(value) and (
            self.value is None or (value < self.value if monitor == "valid/loss" else value > self.value)
        )
        return Selection(value, step) if better else replace(self, stale=self.stale + 1)

    def describe(self, monitor: str) -> str:
        """The best value and its step, as the end of a sentence; empty without an evaluation."""
        return f"; best {monitor} {self.value:.4f} at step {self.step}" if self.value is not None else ""
