"""One optimiser step, kernel by kernel: gradient, check, clipping, update."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.model.torch_private import flag_nonfinite, total_norm
from pipeline.training.gradients import exact_gradient, plain_gradient
from pipeline.training.state import Gradient, State, Taken


class EagerStep:
    """Takes the steps of ``state``, on any device and any number of processes."""

    def __init__(self, state: State, batches: Batches, train: config.Train, optim: config.Optim, seed: int) -> None:
        self.state, self.batches, self.train, self.clip, self.seed = state, batches, train, optim.clip, seed
        self.parameters = [parameter for parameter in state.model.parameters() if parameter.requires_grad]
        self.norms = state.model.batch_norms
        self.gradient = exact_gradient if train.gradient_shards else plain_gradient

    def __call__(self, rate: float, logged: bool) -> Taken | None:
        """Take one step; ``logged``: with the gradient's norm. None if fp16 overflowed: it is tried again at a lower scale.

        Raises NonFiniteError instead of an update whose gradient is not finite, unless ``on_nonfinite`` is ``skip``.
        """
        state = self.state
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        found = self.gradient(state, self.batches, self.train.label_smoothing, self.seed, self.parameters)
        if state.scaler is not None:
            state.scaler.unscale_(state.optimizer)
        grads = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = total_norm(grads) if self.clip or logged else None
        if norm is not None:
            grads.append(norm)  # checked with the others: by a norm that overflows they would be clipped to nothing
        if norm is not None and self.clip:
            nn.utils.clip_grads_with_norm_(self.parameters, self.clip, norm)
        settled = self._update(grads, found) if state.scaler is None else self._scaled_update(found)
        for parameter in self.parameters:  # zero_grad without what an optimiser does around it
            parameter.grad = None
        return Taken(found.loss, found.answers, norm) if settled else None

    def _track(self, found: Gradient) -> None:
        """Move the running statistics: with each update of the weights, and never without one."""
        for module, sums in zip(self.norms, found.statistics, strict=True):
            module.track(sums)

    def _update(self, grads: list[Tensor], found: Gradient) -> bool:
        """Update the weights if all of ``grads`` is finite. True: the step is settled either way."""
        state = self.state
        flag_nonfinite(grads, state.nonfinite)
        if not state.nonfinite.item():  # gradients are the same on all processes, and so is this
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
        before = scaler.get_scale()
        scaler.step(state.optimizer)
        scaler.update()
        if scaler.get_scale() >= before:
            self._track(found)
            return True
        if scaler.get_scale() >= 1:
            return False
        if self.train.on_nonfinite == "stop":
            raise state.nonfinite_error(self.batches)
        scaler.update(1.0)  # no scale helps this batch; the next one starts from here
        return True
