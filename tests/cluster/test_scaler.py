"""The scale of fp16 and the number of processes leave the gradient what it is."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from pipeline.config import Optim, Train
from pipeline.data.batches import Batches
from pipeline.data.store import Part, Store
from pipeline.model.classifier import RecurrentClassifier
from pipeline.training import loop
from pipeline.training.optim import make_optimizer
from pipeline.training.state import State
from tests.support.processes import everywhere

BATCH = 8
PLAIN = Optim(name="sgd", lr=1.0, momentum=0.0)


def updated(number: int, accumulate: int) -> tuple[float, float]:
    """The distance of the weights after a step with a scaler from those after a step by the whole gradient, and its norm."""
    torch.manual_seed(0)
    values, labels = torch.rand(BATCH, 5, 3), torch.arange(BATCH) % 4
    model = RecurrentClassifier(3, 4, hidden=6)
    parameters = list(model.parameters())
    whole = torch.autograd.grad(functional.cross_entropy(model(values), labels), parameters)
    expected = [(parameter - grad).detach().clone() for parameter, grad in zip(parameters, whole, strict=True)]
    slices, mine = 2 * accumulate, range(number * accumulate, (number + 1) * accumulate)
    fed = Batches(Store(Part(values, labels, torch.arange(BATCH)), torch.device("cpu"), 1), BATCH, slices, mine, 0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    made = State(model, DistributedDataParallel(model), make_optimizer(model, PLAIN), scaler)
    next(loop.train(made, fed, Train(batch=BATCH, accumulate=accumulate), PLAIN, 0))
    apart = max(float((parameter - other).detach().abs().max()) for parameter, other in zip(parameters, expected, strict=True))
    return apart, float(torch.cat([grad.reshape(-1) for grad in whole]).norm())


def once(number: int) -> tuple[float, float]:
    return updated(number, 1)


def accumulated(number: int) -> tuple[float, float]:
    return updated(number, 2)


@pytest.mark.parametrize("work", [once, accumulated])
def test_a_scaled_gradient_on_two_processes_is_that_of_the_whole_batch(work) -> None:
    for apart, norm in everywhere(work, 2):
        assert apart < 1e-6 < 0.1 < norm
