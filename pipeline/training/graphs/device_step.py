"""One optimiser step that tells the host nothing and asks it nothing: it may be launched kernel by kernel or as a graph.

Shapes: P values of all parameters, W processes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch import distributed as dist

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.distributed.collectives import rank, world_size
from pipeline.model import streams
from pipeline.model.torch_private import move_towards
from pipeline.training.gradients import slice_loss, tree_sum
from pipeline.training.graphs.flow import Flow
from pipeline.training.graphs.tables import Tables
from pipeline.training.state import State, Taken, hits


class DeviceStep:
    """The steps of ``state`` on one or several processes. The gradients of all parameters are one vector, which stays where it
    is, with the loss and the gradient's norm behind them; in exact mode the statistics of batch normalisation before these."""

    def __init__(
        self, state: State, batches: Batches, train: config.Train, optim: config.Optim, rate: Callable[[int], float]
    ) -> None:
        device = batches.store.device
        self.state, self.train, self.clip = state, train, optim.clip
        self.tables = Tables(batches, state.step, rate, train.ema)
        hosted = state.model.stochastic or batches.store.lengths is not None or not batches.store.resident
        self.flow = Flow(state.nonfinite, state.scaler, train.on_nonfinite == "skip", hosted)
        self.parameters = [parameter for parameter in state.model.parameters() if parameter.requires_grad]
        sizes = [parameter.numel() for parameter in self.parameters]
        self.norms, exact = state.model.batch_norms, bool(train.gradient_shards)
        shared = [2 * len(norm.mean) + 1 for norm in self.norms if exact]  # else each process has those of all
        self.vector = torch.zeros(sum(sizes) + sum(shared) + 2, device=device)
        self.summed, self.gradient = self.vector[:-1], self.vector[: sum(sizes)]  # what is summed over processes; and (P)
        self.statistics = torch.split(self.vector[sum(sizes) : -2], shared)
        self.loss, self.norm = self.vector[-2], self.vector[-1]
        self.gathered = torch.zeros(world_size() * len(self.summed), device=device) if exact else None
        for parameter, piece in zip(self.parameters, torch.split(self.gradient, sizes), strict=True):
            parameter.grad = piece.view_as(parameter)
        for group in state.optimizer.param_groups:
            group["lr"], group["capturable"] = self.tables.lr, device.type == "cuda"
        state.optimizer.found_inf = self.flow.left_out  # type: ignore[attr-defined]  # what fused optimisers skip an update by
        state.model.two_streams = device.type == "cuda"
        self.nothing = torch.zeros((), device=device)

    def __call__(self, steps: int) -> Taken:
        """Take the step that the device has come to, of ``steps`` time steps; its tensors are overwritten by the next."""
        state, device, leaves, answers, found = self.state, self.tables.device, [], [], []
        slices, weight = self.tables.slices(steps), self.flow.weight(self.tables.count)
        for part in slices:
            loss, answer = slice_loss(state, part, self.train.label_smoothing, None)
            answers.append(answer)
            with streams.beside(device):  # nothing of the step waits for it
                found.append(hits([answer]).double())
            grads = torch.autograd.grad(loss, self.parameters, weight)
            statistics = [] if self.gathered is None else [norm.taken() for norm in self.norms]
            leaves.append([*(grad.reshape(-1) for grad in grads), *statistics, (loss.detach() / self.tables.count)[None]])
        self._sum(leaves)
        if state.scaler is not None:  # whose scale is undone first
            settled = self.flow.settle(self.gradient)
        torch.linalg.vector_norm(self.gradient, out=self.norm)
        if state.scaler is None:  # a norm that overflows is not finite either: by it all would be clipped to nothing
            settled = self.flow.settle(self.vector[-2:])
        with streams.beside(device):
            state.right.add_(sum(found) * settled)
            self.tables.counter.add_(settled.long())
        taken = self.statistics if self.gathered is not None else [norm.taken() for norm in self.norms]
        for norm, sums in zip(self.norms, taken, strict=True):
            norm.track(sums, self.flow.left_out)
        if self.clip:
            self.gradient.mul_((self.clip / (self.norm + 1e-6)).clamp(max=1))
        state.optimizer.step()
        if state.ema is not None:
            move_towards(state.ema, state.model, self.tables.share * settled)
        streams.joined(device)
        return Taken(self.loss if rank() == 0 else self.nothing, answers, self.norm)  # reports hold shares of the loss

    def _sum(self, leaves: list[list[Tensor]]) -> None:
        """Gradient and loss of this process's slices and of all processes."""
        if self.gathered is None:
            torch.cat(leaves[0], out=self.summed)
            for leaf in leaves[1:]:
                self.summed.add_(torch.cat(leaf))
            if dist.is_initialized():
                dist.all_reduce(self.summed)
            return
        total = tree_sum([torch.cat(leaf) for leaf in leaves])
        if dist.is_initialized():
            dist.all_gather_into_tensor(self.gathered, total)
            total = tree_sum(list(self.gathered.chunk(world_size())))
        self.summed.copy_(total)
