"""Steps as CUDA graphs: their warm-up, capture and replay, and what the host learns of them.

A step of a small model is many short kernels, whose launches take longer than they do; a graph launches all of them at
once. Series of unequal lengths take one graph for each length that batches are padded to.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from pipeline import config
from pipeline.data.batches import Batches, mix
from pipeline.distributed.collectives import gather, patience, rank, recorded, until
from pipeline.training.gradients import generator
from pipeline.training.graphs.device_step import DeviceStep
from pipeline.training.state import State, Taken

WARMUP = 11  # steps before the first capture: 3 for torch's kernels, 11 where NCCL takes part (torch's notes on CUDA graphs)
MOST = 16  # graphs, one a length; steps of further lengths are launched kernel by kernel
MULTIPLE = 8  # of time steps that batches of unequal lengths are padded to


class GraphedStep:
    """Takes the steps of ``state``; without ``cuda_graph``, and on a CPU, the same kernel by kernel.

    The host runs ahead of the device. It comes together with it in ``check``, which is to be called before anything of
    ``state`` is read: at steps that are logged, before evaluations and before checkpoints.
    """

    def __init__(
        self,
        state: State,
        batches: Batches,
        train: config.Train,
        optim: config.Optim,
        seed: int,
        rate: Callable[[int], float],
    ) -> None:
        self.state, self.batches, self.train, self.seed = state, batches, train, seed
        self.step = DeviceStep(state, batches, train, optim, rate)
        self.tables = self.step.tables
        self.capture, self.taken = train.cuda_graph == "auto" and batches.store.device.type == "cuda", 0
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, Taken]] = {}
        self.seen: set[int] = set()  # the lengths that steps were launched with kernel by kernel
        self.stream: torch.cuda.Stream | None = None
        state.check = self.check

    def __call__(self, rate: float, logged: bool = True) -> Taken:
        """Have the device take one step. Its tensors are overwritten by the next; those of a step that is logged are not."""
        number = self.state.step
        if self.state.scaler is not None and number % self.batches.steps_per_epoch == 0:
            self.check()  # it may have steps of the epoch before to take again
        self.tables.turn(number)
        taken = self._take(number)
        if self.state.scaler is not None and (logged or (self.step.flow.held is not None and self.taken <= WARMUP)):
            self._settle(number + 1)  # what is reported is of this step; and a run's first scales are mostly too high
        if not logged:
            return taken
        assert taken.norm is not None
        return Taken(taken.loss.clone(), taken.answers, taken.norm.clone())

    def _take(self, number: int) -> Taken:
        """Have the device take a step with what the host knows of step ``number``: its seed and its length."""
        self.taken += 1
        if self.state.model.stochastic:
            random = generator(self.batches.store.device)
            random.manual_seed(mix(self.seed, number, self.batches.mine.start))
        steps = self.padded(number)
        if not self.batches.store.resident:
            self.tables.inputs.fill(number, self.padded)
        if not self.capture:
            return self.step(steps)
        if steps not in self.graphs and self.taken > WARMUP and steps in self.seen and len(self.graphs) < MOST:
            self._record(steps)
        if steps in self.graphs:
            graph, taken = self.graphs[steps]
            graph.replay()
            return taken
        self.seen.add(steps)
        return self._on_stream(steps)

    def padded(self, number: int) -> int:
        """The time steps that the batch of step ``number`` is padded to, the same on all processes."""
        store, longest = self.batches.store, self.tables.longest[number % self.batches.steps_per_epoch]
        return longest if store.lengths is None else min(store.longest, -(-longest // MULTIPLE) * MULTIPLE)

    def _on_stream(self, steps: int) -> Taken:
        """A step kernel by kernel, on the stream that graphs are captured on."""
        self.stream = self.stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            taken = self.step(steps)
        torch.cuda.current_stream().wait_stream(self.stream)
        return taken

    def _record(self, steps: int) -> None:
        """Capture the step, which does not take it. Where one process cannot, none does from then on, and it is said why."""
        problem = ""
        graph, first = torch.cuda.CUDAGraph(), next((graph for graph, _ in self.graphs.values()), None)
        pool = first.pool() if first else None
        try:  # in this mode threads of NCCL and of others may go on
            with torch.cuda.graph(graph, pool=pool, stream=self.stream, capture_error_mode="thread_local"):
                taken = self.step(steps)
        except RuntimeError as error:
            problem = " ".join(str(error).split())[:200] or type(error).__name__
        everyone = gather(problem)
        for norm in self.state.model.batch_norms:
            norm.taken()  # of a capture that broke off
        if not any(everyone):
            self.graphs[steps] = graph, taken
            return
        self.close()
        self.capture = False
        if rank() == 0:
            number, reason = next((number, said) for number, said in enumerate(everyone) if said)
            self.state.say(f"steps go on kernel by kernel: process {number} could not capture a CUDA graph ({reason})")

    def check(self) -> None:
        """Wait for the device, and have it take again what overflowed, until it is where the host is.

        Raises NonFiniteError that names the first step whose gradient was not finite.
        """
        self._settle(self.state.step)

    def _settle(self, steps: int) -> None:
        """``check``, where the host is at the end of so many ``steps``."""
        at, nonfinite = self.position()
        while at < steps and not nonfinite and self.state.scaler is not None:
            self.step.flow.release()
            for number in range(at, steps):
                self._take(number)
            at, nonfinite = self.position()
        if nonfinite:
            self.state.step = at
            raise self.state.nonfinite_error(self.batches)

    def position(self) -> tuple[int, bool]:
        """The steps that the device has settled, and whether it stands at one whose gradient is not finite."""
        if self.batches.store.device.type == "cuda":
            until(recorded())
        stopped = self.train.on_nonfinite == "stop" and bool(self.state.nonfinite)
        return int(self.tables.counter), stopped

    def close(self) -> None:
        """Give the graphs back: with NCCL in them they must not outlive its group. Not those whose work has no end."""
        if not self.graphs or patience.lost:
            return
        until(recorded())
        torch.cuda.synchronize()
        for graph, _ in self.graphs.values():
            graph.reset()
        self.graphs.clear()
