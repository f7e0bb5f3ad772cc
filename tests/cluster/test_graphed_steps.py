"""The step that is one CUDA graph on GPUs, on several processes over gloo: the number of processes changes no mathematics."""

from __future__ import annotations

from functools import partial

import torch

from pipeline.config import Optim, Train
from pipeline.data.batches import Batches
from pipeline.data.store import Part, Store
from pipeline.model.classifier import RecurrentClassifier
from pipeline.training.graphs.graphed_step import GraphedStep
from pipeline.training.optim import make_optimizer
from pipeline.training.state import State
from tests.support.processes import everywhere

COUNT, BATCH, STEPS = 22, 8, 6  # the last batch of an epoch has 6: 4 for the first of two processes, 2 for the second
RATES = Optim(name="sgd", lr=0.5, momentum=0.9, clip=0.5)
Trained = tuple[list[float], list[float]]


def trained(processes: int, number: int, shards: int) -> Trained:
    """This process's shares of the losses, and the weights after six steps."""
    torch.manual_seed(0)
    part = Part(torch.rand(COUNT, 5, 3), torch.arange(COUNT) % 4, torch.arange(COUNT))
    model = RecurrentClassifier(3, 4, hidden=6, bidirectional=True)
    state = State(model, model, make_optimizer(model, RATES))
    slices = shards or processes
    mine = range(number * slices // processes, (number + 1) * slices // processes)
    fed = Batches(Store(part, torch.device("cpu"), 1), BATCH, slices, mine, 0)
    train = Train(batch=BATCH, epochs=2, gradient_shards=shards)
    step, losses = GraphedStep(state, fed, train, RATES, 0, lambda _: 0.5), []
    for _ in range(STEPS):
        losses.append(float(step(0.0).loss))
        state.step += 1
    state.check()
    return losses, torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()]).tolist()


def both(processes: int, number: int) -> dict[int, Trained]:
    """``trained`` in plain mode, and in exact mode with four shards."""
    return {shards: trained(processes, number, shards) for shards in (0, 4)}


def test_graphed_steps_on_two_processes_are_those_of_one() -> None:
    first, second = everywhere(partial(both, 2), 2)
    (one,) = everywhere(partial(both, 1), 1)
    for shards in (0, 4):
        assert first[shards][1] == second[shards][1], "the processes agree bit for bit"
        shares = [mine + others for mine, others in zip(first[shards][0], second[shards][0], strict=True)]
        torch.testing.assert_close(torch.tensor(shares), torch.tensor(one[shards][0]), rtol=0, atol=1e-5)
        torch.testing.assert_close(torch.tensor(first[shards][1]), torch.tensor(one[shards][1]), rtol=0, atol=1e-5)
    assert first[4][1] == one[4][1], "exact mode has the same bits on one and two"
