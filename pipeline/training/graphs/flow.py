"""What the device decides by itself: whether a step is settled, whether its update is made, and the scale of fp16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.model.torch_private import multiply_and_flag, update_scale
from pipeline.training.state import LEAST_SCALE


class Flow:
    """Of one training. ``skips``: the update of a gradient that is not finite; each is called once in a step.

    Without ``skips``, ``nonfinite`` stays 1 from the first such gradient on: no update is made after it, and the device's
    count of steps stands at that step. In fp16 a step that overflows is taken again at a lower scale: by the next launch, or
    where a launch is ``hosted``, of one step by what the host brings for it, by the next one after ``release``. The batch after
    one that no scale helps begins with the scale that the one before it had.
    """

    def __init__(self, nonfinite: Tensor, scaler: Any, skips: bool, hosted: bool = False) -> None:
        self.nonfinite, self.skips, self.scaler = nonfinite, skips, scaler
        self.one = torch.ones_like(nonfinite)
        self.left_out = nonfinite if scaler is None else torch.zeros_like(nonfinite)  # 1: the update is not made
        self.held = torch.zeros_like(nonfinite) if hosted and scaler is not None else None  # 1: launches change nothing
        if scaler is not None:
            scaler.scale(self.one)  # which makes its tensors
            self.good: Tensor = scaler._scale.clone()  # the scale of the last step that was settled

    def release(self) -> None:
        """The host begins again at the step that the device stands at."""
        if self.held is not None:
            self.held.zero_()

    def weight(self, count: Tensor) -> Tensor:
        """(): the derivative by each example's loss of what is differentiated, the mean over ``count`` of them."""
        weight: Tensor = (self.one if self.scaler is None else self.scaler._scale) / count
        return weight

    def settle(self, vector: Tensor) -> Tensor:
        """Look at the gradient, with what stands beside it in ``vector``, and undo its scale. (): 1 if the step is settled,
        0 if it is taken again or none is taken after it."""
        if self.scaler is None:
            if self.skips:
                self.nonfinite.zero_()
            multiply_and_flag([vector], self.one, self.nonfinite)
            return self.one if self.skips else 1 - self.nonfinite
        overflowed = self.left_out.zero_()
        scale, tracker = self.scaler._scale, self.scaler._growth_tracker
        before = (scale, tracker) if self.held is None else (scale.clone(), tracker.clone())
        multiply_and_flag([vector], scale.double().reciprocal().float(), overflowed)
        update_scale(self.scaler, overflowed)
        hopeless = overflowed * (scale < LEAST_SCALE)  # no scale helps this batch
        if self.skips:
            torch.where(hopeless > 0, self.good, scale, out=scale)
            settled: Tensor = 1 - overflowed + hopeless
        else:
            torch.maximum(self.nonfinite, hopeless if self.held is None else hopeless * (1 - self.held), out=self.nonfinite)
            torch.maximum(overflowed, self.nonfinite, out=overflowed)
            settled = 1 - overflowed
        if self.held is not None:
            settled = self._unless_held(settled, before)
        if self.skips:
            torch.where(settled > 0, scale, self.good, out=self.good)
        return settled

    def _unless_held(self, settled: Tensor, before: tuple[Tensor, Tensor]) -> Tensor:
        """``settled``, where launches are held: then nothing is, and the scale and its tracker stay as ``before``."""
        assert self.held is not None
        for now, then in zip((self.scaler._scale, self.scaler._growth_tracker), before, strict=True):
            torch.where(self.held > 0, then, now, out=now)
        torch.maximum(self.left_out, self.held, out=self.left_out)
        settled = settled * (1 - self.held)
        torch.maximum(self.held, 1 - settled, out=self.held)
        return settled
