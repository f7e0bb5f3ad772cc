"""One optimiser step, kernel by kernel: gradient, check, clipping, update.

On a GPU the host does not wait for what a step found, except at steps that are logged: the device leaves out the update
of a gradient that is not finite, and all updates after it, until somebody asks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.distributed.collectives import settled
from pipeline.model.torch_private import multiply_and_flag, total_norm
from pipeline.training.gradients import exact_gradient, plain_gradient
from pipeline.training.state import LEAST_SCALE, Gradient, State, Taken, hits

FURTHEST = 256  # steps that the host may be ahead of the device, which keeps what they answered


class EagerStep:
    """Takes the steps of ``state``, on any device and any number of processes.

    ``late``: whether the host runs ahead of the device; None: on a GPU. ``state.check`` must then be called before
    anything of ``state`` is read.
    """

    def __init__(
        self, state: State, batches: Batches, train: config.Train, optim: config.Optim, seed: int, late: bool | None = None
    ) -> None:
        self.state, self.batches, self.train, self.clip, self.seed = state, batches, train, optim.clip, seed
        self.parameters = [parameter for parameter in state.model.parameters() if parameter.requires_grad]
        self.norms = state.model.batch_norms
        self.gradient = exact_gradient if train.gradient_shards else plain_gradient
        # averages would move at steps that the device holds back
        self.late = (batches.store.device.type == "cuda" if late is None else late) and (state.scaler is None or not state.ema)
        self.rates: list[float] = []  # of the steps that the host knows no end of
        self.answers: list[tuple[Tensor, Tensor, Tensor]] = []  # of each of their slices: predictions, labels, weights (b)
        self.held = torch.zeros_like(state.nonfinite)  # how many of them the device has left out
        self.one = torch.ones_like(state.nonfinite)
        self.good = 0.0  # the scale of fp16 at the first try of the step that is taken; 0: none is
        self.scale = KnownScale(state.scaler) if self.late and state.scaler is not None else None
        if self.late:
            state.check = self.check

    def __call__(self, rate: float, logged: bool) -> Taken | None:
        """Take one step; ``logged``: with the gradient's norm. None if fp16 overflowed: it is tried again at a lower scale.

        Raises NonFiniteError instead of an update whose gradient is not finite, unless ``on_nonfinite`` is ``skip``.
        """
        if not self.late:
            return self._now(rate, logged)
        ahead = len(self.rates)
        if logged or ahead == FURTHEST or (self.scale is not None and self.scale.may_change(ahead)):
            self.check()
            return self._now(rate, logged)
        return self._later(rate)

    def _now(self, rate: float, logged: bool) -> Taken | None:
        """``__call__``, knowing at its end whether the step is settled."""
        state = self.state
        found = self._gradient(rate)
        if state.scaler is not None:
            state.scaler.unscale_(state.optimizer)
        norm = self._clip(logged)
        done = self._update(found) if state.scaler is None else self._scaled_update(found)
        self._forget()
        if not done:
            return None
        state.right.add_(hits(found.answers))
        return Taken(found.loss, found.answers, norm)

    def _later(self, rate: float) -> Taken:
        """``__call__`` without a word from the device, which leaves out the update if it must."""
        state, skips = self.state, self.train.on_nonfinite == "skip" and self.scale is None
        found = self._gradient(rate)
        if self.scale is not None:
            self.scale.undo(self._grads(), state.nonfinite)
        norm = self._clip(False)
        state.optimizer.found_inf = state.nonfinite  # type: ignore[attr-defined]  # what fused optimisers skip an update by
        state.optimizer.step()
        self._track(found, state.nonfinite)
        if skips:
            state.nonfinite.zero_()
        else:
            self.held.add_(state.nonfinite)
        self.rates.append(rate)
        self.answers += [(logits.argmax(1), part.labels, part.weights) for logits, part in found.answers]
        self._forget()
        return Taken(found.loss, found.answers, norm)

    def check(self) -> None:
        """Wait for the device, and take again what overflowed in fp16 and what came after it.

        Raises NonFiniteError that names the first step whose gradient was not finite.
        """
        state, rates = self.state, self.rates
        if not rates:
            return
        done, end = len(rates) - int(settled(self.held)), state.step
        if done:  # those that are held back are counted when they are taken
            known = self.answers[: done * len(self.batches.mine)]
            predicted, labels, weights = (torch.cat(column) for column in zip(*known, strict=True))
            state.right.add_(((predicted == labels) & (weights > 0)).sum())
        self.rates, self.answers = [], []
        if self.scale is not None:
            self.scale.settle(done)
        if done == len(rates):
            return
        self.held.zero_()
        state.nonfinite.zero_()
        state.step = end - len(rates) + done
        if self.scale is None:
            raise state.nonfinite_error(self.batches)
        for rate in rates[done:]:
            while self._now(rate, False) is None:
                pass
            state.step += 1

    def _gradient(self, rate: float) -> Gradient:
        """Leave the gradient of the global batch in ``grad``."""
        for group in self.state.optimizer.param_groups:
            group["lr"] = rate
        return self.gradient(self.state, self.batches, self.train.label_smoothing, self.seed, self.parameters)

    def _grads(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def _clip(self, logged: bool) -> Tensor | None:
        """Clip the gradient, and set ``nonfinite`` if it is not finite; its norm before, where it is clipped or ``logged``."""
        grads, factor, norm = self._grads(), self.one, None
        if self.clip or logged:
            norm = total_norm(grads)
            grads.append(norm + 1e-6)  # looked at with the others: by a norm that overflows they would be clipped to nothing
            factor = (self.clip / grads[-1]).clamp(max=1) if self.clip else factor
        if norm is not None or self.state.scaler is None:
            multiply_and_flag(grads, factor, self.state.nonfinite)
        return norm

    def _forget(self) -> None:
        for parameter in self.parameters:  # zero_grad without what an optimiser does around it
            parameter.grad = None

    def _track(self, found: Gradient, left_out: Tensor | None = None) -> None:
        """Move the running statistics: with each update of the weights, and never without one. See ``BatchNorm.track``."""
        for module, sums in zip(self.norms, found.statistics, strict=True):
            module.track(sums, left_out)

    def _update(self, found: Gradient) -> bool:
        """Update the weights if their gradient is finite. True: the step is settled either way."""
        state = self.state
        if not settled(state.nonfinite):  # gradients are the same on all processes, and so is this
            state.optimizer.step()
            self._track(found)
            return True
        state.nonfinite.zero_()
        if self.train.on_nonfinite == "stop":
            raise state.nonfinite_error(self.batches)
        return True

    def _scaled_update(self, found: Gradient) -> bool:
        """Update the weights in fp16; False if the scaled gradient overflowed and a lower scale is left to try."""
        state, scaler = self.state, self.state.scaler
        state.nonfinite.zero_()  # the scaler has found it by itself
        settled(found.loss)
        before = scaler.get_scale()
        self.good = self.good or before
        scaler.step(state.optimizer)
        scaler.update()
        overflowed = scaler.get_scale() < before
        if self.scale is not None:
            self.scale.note(overflowed)
        if not overflowed:
            self._track(found)
        elif scaler.get_scale() >= LEAST_SCALE:
            return False
        elif self.train.on_nonfinite == "stop":
            raise state.nonfinite_error(self.batches)
        else:
            scaler.update(self.good)  # no scale helps this batch
        self.good = 0.0
        return True


class KnownScale:
    """The scale of fp16 as the host knows it while it runs ahead: it stays until a step that the host waits for."""

    def __init__(self, scaler: Any) -> None:
        numbers = scaler.state_dict()
        self.scaler, self.interval = scaler, int(numbers["growth_interval"])
        self.settled = int(numbers["_growth_tracker"])  # steps since the scale changed
        self.inverse: Tensor | None = None  # ()

    def may_change(self, ahead: int) -> bool:
        """Whether the step that follows ``ahead`` others may change the scale: it grows there, or has just changed."""
        settled = self.settled + ahead
        return settled == 0 or settled + 1 >= self.interval

    def note(self, overflowed: bool) -> None:
        """Count a step at whose end the scale was lowered, or not."""
        self.settled = 0 if overflowed or self.settled + 1 >= self.interval else self.settled + 1
        if not self.settled:
            self.inverse = None

    def undo(self, grads: list[Tensor], overflowed: Tensor) -> None:
        """Divide ``grads`` by the scale, and set ``overflowed`` () to 1 if one of them is not finite."""
        if self.inverse is None:
            scale = torch.full_like(overflowed, self.scaler.get_scale(), dtype=torch.float64)
            self.inverse = scale.reciprocal().to(overflowed.dtype)
        multiply_and_flag(grads, self.inverse, overflowed)

    def settle(self, steps: int) -> None:
        """Count ``steps`` that were settled at this scale."""
        self.settled += steps
        self.scaler.load_state_dict(self.scaler.state_dict() | {"_growth_tracker": self.settled})
