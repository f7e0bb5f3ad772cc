"""The step that a CUDA graph is made of, without the graph: it is the eager step, and tells the host of a bad gradient late.

Whether a graph of it computes the same takes a GPU: the test that is marked so.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from pipeline.config import Optim, Train
from pipeline.data.batches import Batches
from pipeline.data.store import Store
from pipeline.errors import NonFiniteError
from pipeline.training import loop, optim
from pipeline.training.cuda_graph import GraphedStep, fits
from pipeline.training.state import State

MakeState, MakeBatches = Callable[..., State], Callable[..., Batches]
COUNT, BATCH, STEPS = 30, 8, 8  # the fourth batch of an epoch lacks two examples


def weights(state: State) -> Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in state.model.parameters()]).cpu()


def graphed(state: State, fed: Batches, train: Train, rates: Optim, steps: int, capture: bool = False) -> list[float]:
    """Take steps with GraphedStep as engine.train does; the losses."""
    state.forward.train()
    step, losses = GraphedStep(state, fed, train, rates, capture), []
    for number in range(steps):
        taken = step(optim.lr_at(number, STEPS, rates))
        loss, [(logits, part)], norm = taken.loss, taken.answers, taken.norm
        assert logits.shape == (BATCH, 4) and part.weights.sum() == fed.count(number) and norm > 0
        losses.append(loss.item())
        state.step += 1
    return losses


@pytest.mark.parametrize("options", [{}, {"clip": 0.05}, {"weight_decay": 0.1, "name": "adamw"}, {"name": "sgd"}])
def test_its_steps_are_those_of_the_engine(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator, options: dict[str, Any]
) -> None:
    rates = Optim(**({"schedule": "cosine"} | options))
    settings = Train(batch=BATCH, epochs=2, label_smoothing=0.1)
    eager, made = state(rates, settings), state(rates, settings)
    eager.class_weights = made.class_weights = torch.tensor([1.0, 2.0, 0.5, 1.0])
    reports = loop.train(eager, batches(COUNT, BATCH), settings, rates, 0)
    expected = [report.loss.item() for report in reports]
    assert graphed(made, batches(COUNT, BATCH), settings, rates, STEPS) == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(weights(made), weights(eager), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["adam", "sgd"])
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_no_update_is_made_with_a_gradient_that_is_not_finite(
    state: MakeState, batches: MakeBatches, policy: str, name: str
) -> None:
    rates, settings = Optim(name=name), Train(batch=BATCH, epochs=2, on_nonfinite=policy)
    made, fed = state(rates, settings), batches(COUNT, BATCH)
    fed.store.values = fed.store.values.float()
    fed.store.values[fed.rows(2)[0]] = torch.nan  # step 3 of each epoch
    step, seen = GraphedStep(made, fed, settings, rates, capture=False), []
    made.forward.train()
    for _ in range(6):
        before = weights(made)
        step(0.01)
        made.step += 1
        seen.append(not torch.equal(weights(made), before))
    if policy == "skip":
        bad = [bool(fed.store.values[fed.rows(number)].isnan().any()) for number in range(6)]
        assert seen == [not wrong for wrong in bad] and bad[2]
        made.check()
        return
    assert seen == [True, True, False, False, False, False], "none after it either"
    with pytest.raises(NonFiniteError, match=r"^step 3: .*the weights are those of step 2\.") as caught:
        made.check()
    assert str(fed.rows(2)) in str(caught.value) and made.step == 2


def test_a_check_that_finds_nothing_counts_from_there(state: MakeState, batches: MakeBatches) -> None:
    rates, settings = Optim(name="sgd"), Train(batch=BATCH, epochs=2)
    made, fed = state(rates, settings), batches(COUNT, BATCH)
    step = GraphedStep(made, fed, settings, rates, capture=False)
    for number in range(5):
        if number == 4:
            fed.store.values = torch.full(fed.store.values.shape, torch.inf)
        step(0.01)
        made.step += 1
        if number == 2:
            made.check()
    with pytest.raises(NonFiniteError, match=r"^step 5: "):
        made.check()


def test_it_is_taken_on_one_gpu_only_and_only_if_asked_for(state: MakeState, batches: MakeBatches) -> None:
    settings = Train(cuda_graph="auto", batch=BATCH)
    made, fed = state(Optim(), settings), batches(COUNT, BATCH)
    assert not fits(made, fed, settings, 1), "a CPU has no CUDA graphs"
    fed.store.device = torch.device("cuda")
    assert fits(made, fed, settings, 1) and not fits(made, fed, settings, 2)
    for changed in (Train(batch=BATCH), Train(cuda_graph="auto", batch=BATCH, gradient_shards=2)):
        assert not fits(made, fed, changed, 1)
    assert not fits(state(Optim(), settings, layers=2, dropout=0.5), fed, settings, 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT TESTED: needs a GPU")
def test_a_graph_computes_what_its_step_computes(model: Callable[..., Any], part: Callable[..., Any]) -> None:
    rates, settings = Optim(name="adam", clip=1.0), Train(batch=BATCH, epochs=2)
    gpu, found = torch.device("cuda"), []
    for capture in (False, True):
        made = deepcopy(model()).to(gpu).flatten_parameters()
        state = State(made, made, optim.make_optimizer(made, rates), nonfinite=torch.zeros((), device=gpu))
        fed = Batches(Store(part(COUNT), gpu, 1), BATCH, 1, range(1), 0)
        found.append((graphed(state, fed, settings, rates, STEPS, capture), weights(state)))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=1e-5)


def test_sgd_starts_from_a_momentum_of_zero_where_its_first_update_is_skipped(state: MakeState, batches: MakeBatches) -> None:
    rates, settings = Optim(name="sgd"), Train(batch=BATCH, epochs=2, on_nonfinite="skip")
    made, fed = state(rates, settings), batches(COUNT, BATCH)
    values = fed.store.values
    step = GraphedStep(made, fed, settings, rates, capture=False)
    before = weights(made)
    fed.store.values = torch.full(values.shape, torch.inf)
    step(0.01)
    assert torch.equal(weights(made), before)
    fed.store.values = values
    step(0.01)
    gradient = torch.cat([p.grad.reshape(-1) for p in made.model.parameters() if p.grad is not None])
    torch.testing.assert_close(weights(made), before - 0.01 * gradient, rtol=0, atol=1e-6)
