"""What the device decides by itself: whether a step is settled, whether its update is made, and the scale of fp16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.model.torch_private import unscale_and_flag, update_scale


class Flow:
    """Of one training. ``skips``: the update of a gradient that is not finite; each is called once in a step.

    Without ``skips``, ``nonfinite`` stays 1 from the first such gradient on: no update is made after it, and the device's
    count of steps stands at that step. In fp16 a step that overflows is taken again at a lower scale.
    """

    def __init__(self, nonfinite: Tensor, scaler: Any, skips: bool) -> None:
        self.nonfinite, self.skips, self.scaler = nonfinite, skips, scaler
        self.one = torch.ones_like(nonfinite)
        self.left_out = nonfinite if scaler is None else torch.zeros_like(nonfinite)  # 1: the update is not made
        if scaler is not None:
            scaler.scale(self.one)  # which makes its tensors

    def scaled(self, share: Tensor) -> Tensor:
        """A share of the loss as it is differentiated."""
        scaled: Tensor = share if self.scaler is None else share * self.scaler._scale
        return scaled

    def settle(self, vector: Tensor) -> Tensor:
        """Look at the gradient, with what stands beside it in ``vector``, and undo its scale. (): 1 if the step is settled,
        0 if it is taken again or none is taken after it."""
        if self.scaler is None:
            if self.skips:
                self.nonfinite.zero_()
            unscale_and_flag(vector, self.nonfinite, self.one)
            return self.one if self.skips else 1 - self.nonfinite
        overflowed = self.left_out.zero_()
        scale: Tensor = self.scaler._scale
        unscale_and_flag(vector, overflowed, scale.double().reciprocal().float())
        update_scale(self.scaler, overflowed)
        hopeless = overflowed * (scale < 1)  # no scale helps this batch
        if self.skips:
            scale.clamp_(min=1)  # the next one starts from here
            return 1 - overflowed + hopeless
        torch.maximum(self.nonfinite, hopeless, out=self.nonfinite)
        torch.maximum(overflowed, self.nonfinite, out=overflowed)
        return 1 - overflowed
