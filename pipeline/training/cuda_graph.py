"""A whole training step as one CUDA graph: gather, forward, loss, backward, check, clipping, update.

A step of a small model is many short kernels, whose launches take longer than they do; a graph launches all of them at
once. It reads its batch, rate and count from tensors that stay where they are, and tells the host nothing: whether the
gradients were finite is read when it is asked for. Shapes: B batch, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline import config
from pipeline.data.batches import Batches, Slice
from pipeline.model.torch_private import flag_nonfinite, total_norm
from pipeline.training.loss import summed_loss
from pipeline.training.state import State, Taken

WARMUP = 3  # steps taken before the graph is made, as torch's notes on CUDA graphs ask for


def fits(state: State, batches: Batches, train: config.Train, processes: int) -> bool:
    """Whether a step can be one graph: the same kernels on the same memory each time, and nothing that only the host knows."""
    store = batches.store
    same_kernels = (
        not state.model.stochastic
        and not state.model.batch_norms
        and state.scaler is None
        and store.lengths is None
        and not batches.augmented
    )
    alone = processes == 1 and not train.gradient_shards and train.accumulate == 1
    return train.cuda_graph == "auto" and store.device.type == "cuda" and store.resident and same_kernels and alone


class GraphedStep:
    """Takes the steps of ``state``; with ``capture`` off, the same without a graph, on any device.

    An update whose gradient is not finite is not made. With ``on_nonfinite: stop`` none is made after it either, until
    ``check`` raises NonFiniteError.
    """

    def __init__(self, state: State, batches: Batches, train: config.Train, optim: config.Optim, capture: bool = True) -> None:
        device, group = batches.store.device, state.optimizer.param_groups
        self.state, self.batches, self.train, self.clip, self.capture = state, batches, train, optim.clip, capture
        self.parameters = [parameter for parameter in state.model.parameters() if parameter.requires_grad]
        self.rows = torch.zeros(batches.batch, dtype=torch.int64, device=device)
        self.weights = torch.ones(batches.batch, device=device)
        self.count, self.rate = torch.ones((), device=device), torch.zeros((), device=device)
        self.finite = torch.zeros((), device=device)  # steps since the last check whose gradients, and all before, were finite
        self.checked = state.step
        for settings in group:
            settings["lr"] = self.rate
            settings["capturable"] = device.type == "cuda"
        state.optimizer.found_inf = state.nonfinite  # type: ignore[attr-defined]  # what fused optimisers skip an update by
        state.check = self.check
        self._graph: torch.cuda.CUDAGraph | None = None
        self._taken = 0

    def __call__(self, rate: float, logged: bool = True) -> Taken:
        """Take one step. The norm is there at each of them, logged or not."""
        step = self.state.step
        rows, count = self.batches.padded_rows(step), self.batches.count(step)
        self.rows.copy_(rows, non_blocking=True)
        self.weights.copy_((torch.arange(len(rows), device=rows.device) < count).float(), non_blocking=True)
        self.count.fill_(count)
        self.rate.fill_(rate)
        if not self.capture:
            self._outputs = self._body()
        elif self._taken < WARMUP:
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self._outputs = self._body()
            torch.cuda.current_stream().wait_stream(stream)
        else:
            if self._graph is None:
                self._graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._graph):
                    self._outputs = self._body()
            self._graph.replay()
        self._taken += 1
        loss, logits, labels, norm = self._outputs
        answered = Slice(0, self.rows, logits, labels, self.weights, count < len(rows))
        return Taken(loss.clone(), [(logits, answered)], norm.clone())

    def _body(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The step on the tensors that stay; everything it allocates is the graph's own."""
        state = self.state
        for parameter in self.parameters:
            parameter.grad = None
        store = self.batches.store
        values, labels = store.values.index_select(0, self.rows), store.labels.index_select(0, self.rows)
        with state.autocast:
            logits = state.forward(values).float()  # (B, C)
        loss = summed_loss(logits, labels, self.train.label_smoothing, state.class_weights, self.weights) / self.count
        torch.autograd.backward(loss)
        grads = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = total_norm(grads)
        if self.train.on_nonfinite == "skip":
            state.nonfinite.zero_()
        flag_nonfinite([*grads, norm], state.nonfinite)
        self.finite.add_(1 - state.nonfinite)
        if self.clip:
            nn.utils.clip_grads_with_norm_(self.parameters, self.clip, norm)
        state.optimizer.step()
        return loss.detach(), logits.detach(), labels, norm

    def check(self) -> None:
        """Wait for the device. Raises NonFiniteError that names the first step whose gradient was not finite."""
        if self.train.on_nonfinite == "stop" and self.state.nonfinite.item():
            self.state.step = self.checked + int(self.finite.item())
            raise self.state.nonfinite_error(self.batches)
        self.checked = self.state.step
        self.finite.zero_()
