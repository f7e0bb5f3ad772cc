"""What optim.py promises: the rate is a function of the step, and the groups are those one expects."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from pipeline.config import Optim
from pipeline.model.classifier import RecurrentClassifier
from pipeline.training.optim import lr_at, make_optimizer, warmup_steps

Make = Callable[..., RecurrentClassifier]


def rates(steps: int, **settings: Any) -> list[float]:
    return [lr_at(step, steps, Optim(**settings)) for step in range(steps)]


@pytest.mark.parametrize("steps", [4, 7, 10, 11, 20, 33, 100, 999, 1000])
@pytest.mark.parametrize("lr", [0.01, 3.0])
def test_one_cycle_is_torchs_step_by_step(steps: int, lr: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.3, anneal_strategy="cos")
    theirs = []
    for step in range(steps):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:
            schedule.step()
    assert rates(steps, lr=lr, schedule="one_cycle") == pytest.approx(theirs, rel=1e-12)
    if steps % 10 == 0:
        assert rates(steps, lr=lr, schedule="one_cycle", warmup=3 * steps // 10) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
@pytest.mark.parametrize("warmup", [1, 5, 0.1, 0.37, 100])
def test_warm_up_is_a_line_that_begins_above_zero_and_reaches_the_peak(schedule: str, warmup: float) -> None:
    steps, lr = 100, 0.5
    count = warmup_steps(steps, Optim(warmup=warmup))
    got = rates(steps, lr=lr, schedule=schedule, warmup=warmup)
    assert got[:count] == pytest.approx([lr * (step + 1) / count for step in range(count)])
    assert got[0] > 0 and max(got) == got[count - 1] == lr


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("warmup", [0, 10, 0.25])
def test_decay_falls_from_the_peak_to_nearly_zero(schedule: str, warmup: float) -> None:
    steps = 200
    count = warmup_steps(steps, Optim(warmup=warmup))
    decay = rates(steps, lr=1.0, schedule=schedule, warmup=warmup)[count:]
    assert decay[0] == 1.0
    assert all(later < earlier for earlier, later in pairwise(decay))
    assert 0 < decay[-1] <= 1.01 / len(decay)
    shape = {"linear": lambda left: left, "cosine": lambda left: (1 - math.cos(math.pi * left)) / 2}[schedule]
    assert decay == pytest.approx([shape(1 - place / len(decay)) for place in range(len(decay))])


def test_constant_is_constant() -> None:
    assert set(rates(50, lr=0.3, schedule="constant")) == {0.3}


def test_one_cycle_ends_near_zero_and_begins_at_a_25th() -> None:
    got = rates(1000, lr=1.0, schedule="one_cycle")
    assert (max(got), got.index(1.0)) == (1.0, 299)
    assert (got[0], got[-1]) == pytest.approx((0.04, 4e-6))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "one_cycle"])
@pytest.mark.parametrize("warmup", [0, 1, 2, 0.3, 0.99, 10**6])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_the_shortest_runs_have_a_rate_at_every_step(schedule: str, warmup: float, steps: int) -> None:
    assert all(0 < rate <= 1 for rate in rates(steps, lr=1.0, schedule=schedule, warmup=warmup))


def test_warm_up_is_a_share_or_a_count() -> None:
    assert warmup_steps(1000, Optim(warmup=0.05)) == warmup_steps(1000, Optim(warmup=50)) == 50
    assert warmup_steps(10, Optim(warmup=50)) == 10
    assert warmup_steps(1000, Optim()) == warmup_steps(1000, Optim(warmup=0.0)) == 0
    assert warmup_steps(1000, Optim(warmup=1)) == 1, "a whole number is a count"
    assert warmup_steps(100, Optim(warmup=0.29)) == 29, "although 0.29 * 100 is less in binary"
    assert warmup_steps(1000, Optim(warmup=0.0996)) == 100


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_every_optimiser_is_fused_and_decays_matrices_but_no_bias(model: Make, name: str) -> None:
    made = model(bidirectional=True, layers=2)
    optimizer = make_optimizer(made, Optim(name=name, lr=0.1, weight_decay=0.3, momentum=0.7))
    names = {parameter: key for key, parameter in made.named_parameters()}
    decay = {names[parameter]: group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]}
    assert decay == {key: 0.0 if "bias" in key else 0.3 for key in names.values()}, "each parameter once"
    assert all(group["fused"] and group["lr"] == 0.1 for group in optimizer.param_groups)
    assert type(optimizer) is {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[name]
    if name == "sgd":
        assert {group["momentum"] for group in optimizer.param_groups} == {0.7}


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_decay_moves_matrices_and_leaves_biases(model: Make, name: str) -> None:
    """With no gradient at all, an update is the decay alone."""
    made = model()
    before = {key: parameter.detach().clone() for key, parameter in made.named_parameters()}
    optimizer = make_optimizer(made, Optim(name=name, lr=0.1, weight_decay=0.5))
    for parameter in made.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = {key: not torch.equal(parameter, before[key]) for key, parameter in made.named_parameters()}
    assert moved == {key: "bias" not in key for key in before}


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_without_decay_nothing_is_decayed_whatever_torchs_default_is(model: Make, name: str) -> None:
    made = model()
    before = {key: parameter.detach().clone() for key, parameter in made.named_parameters()}
    optimizer = make_optimizer(made, Optim(name=name, lr=0.1))
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0}
    for parameter in made.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert all(torch.equal(parameter, before[key]) for key, parameter in made.named_parameters())


def test_what_is_frozen_is_not_optimised(model: Make) -> None:
    made = model()
    made.head.weight.requires_grad_(False)
    groups = make_optimizer(made, Optim()).param_groups
    assert not any(parameter is made.head.weight for group in groups for parameter in group["params"])
