"""What eager_step.py promises of a host that runs ahead of the device: the training that waits at every step, bit for bit.

A CPU is no device to run ahead of: it is told to be one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.config import Optim, Train
from pipeline.data.batches import Batches
from pipeline.data.store import Part, Store
from pipeline.errors import NonFiniteError
from pipeline.training import eager_step, loop
from pipeline.training.eager_step import EagerStep
from pipeline.training.state import State

MakeState, MakePart = Callable[..., State], Callable[..., Part]
COUNT, BATCH, STEPS, EPOCHS = 29, 8, 4, 6
BAD = 2  # a step that meets a row that is not finite


class Late(EagerStep):
    """As on a GPU."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, late=True)
        self.waits = 0

    def _now(self, rate: float, logged: bool) -> Any:
        self.waits += 1
        return super()._now(rate, logged)


def fed(part: MakePart, slices: int, bad: bool) -> Batches:
    data = part(COUNT)
    values = data.values.float()
    made = Batches(Store(Part(values, data.labels, data.index), torch.device("cpu"), 1), BATCH, slices, range(slices), 0)
    if bad:
        values[made.rows(BAD)[1], 2] = torch.nan
    return made


def everything(state: State) -> dict[str, Any]:
    """All that a checkpoint holds, and what decides the next step."""
    model = dict(state.model.state_dict())
    averages = {f"ema {name}": value for name, value in (state.ema.state_dict() if state.ema else {}).items()}
    moments = {f"{n} {name}": value for n, held in enumerate(state.optimizer.state.values()) for name, value in held.items()}
    held = {name: value.clone() for name, value in (model | averages | moments).items()}
    numbers = {"scaler": state.scaler and state.scaler.state_dict(), "step": state.step, "right": int(state.right)}
    return held | numbers


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) if isinstance(one[name], Tensor) else one[name] == other[name] for name in one
    )


def overflowing(state: State, scale: float, interval: int) -> None:
    """The scaler of fp16, and gradients that overflow where those of fp16 do."""
    state.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=interval)
    for parameter in state.model.parameters():
        parameter.register_hook(lambda grad: grad.masked_fill(grad.abs() > 65504, torch.inf))


def trained(
    kind: type[EagerStep], state: State, batches: Batches, optim: Optim, settings: Train, monkeypatch: pytest.MonkeyPatch
) -> Iterator[loop.Report]:
    monkeypatch.setattr(loop, "EagerStep", kind)
    return loop.train(state, batches, settings, optim, 0)


SETTINGS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({}, {}, {}),
    ({"name": "sgd", "clip": 0.05}, {"ema": 0.9}, {"layers": 2, "dropout": 0.5}),
    ({"schedule": "one_cycle"}, {"gradient_shards": 4}, {"conv": 3, "conv_norm": "batch"}),
    ({"clip": 1.0}, {"accumulate": 2}, {"conv": 3, "conv_norm": "batch", "bidirectional": True}),
]


@pytest.mark.parametrize("policy", ["stop", "skip"])
@pytest.mark.parametrize(("optim", "train", "network"), SETTINGS)
def test_a_host_that_runs_ahead_gets_the_same_training(
    state: MakeState, part: MakePart, monkeypatch: pytest.MonkeyPatch, policy: str, optim: Any, train: Any, network: Any
) -> None:
    rates, options = Optim(**optim), {"batch": BATCH, "epochs": EPOCHS, "log_every": 5, "on_nonfinite": policy} | train
    settings, found = Train(**options), []
    for kind in (EagerStep, Late):
        made = state(rates, settings, **network)
        batches = fed(part, settings.gradient_shards or settings.accumulate, policy == "skip")
        losses = [report.loss.item() for report in trained(kind, made, batches, rates, settings, monkeypatch)]
        made.check()
        found.append((str(losses), everything(made)))
    assert found[0][0] == found[1][0] and same(found[0][1], found[1][1])


@pytest.mark.parametrize("network", [{}, {"conv": 3, "conv_norm": "batch"}])
@pytest.mark.parametrize(("interval", "bad", "policy"), [(10**6, False, "stop"), (3, False, "stop"), (7, True, "skip")])
@pytest.mark.parametrize("mode", [{}, {"gradient_shards": 4}, {"ema": 0.9}])
def test_a_step_that_overflows_is_taken_again_when_it_is_known_and_all_after_it(
    state: MakeState,
    part: MakePart,
    monkeypatch: pytest.MonkeyPatch,
    mode: Any,
    interval: int,
    bad: bool,
    policy: str,
    network: Any,
) -> None:
    rates, found = Optim(name="adam", schedule="linear", clip=0.5), []
    settings = Train(batch=BATCH, epochs=EPOCHS, log_every=5, on_nonfinite=policy, **mode)
    for kind in (EagerStep, Late):
        made = state(rates, settings, **network)
        overflowing(made, 2.0**20, interval)
        reports = list(trained(kind, made, fed(part, settings.gradient_shards or 1, bad), rates, settings, monkeypatch))
        assert [report.step for report in reports] == list(range(1, STEPS * EPOCHS + 1))
        logged = [report.loss.item() for report in reports if report.step % 5 == 0]
        found.append((str(logged), everything(made)))
    assert found[0][0] == found[1][0] and same(found[0][1], found[1][1])


def test_an_overflow_behind_the_hosts_back_is_found_before_anything_is_read(
    state: MakeState, part: MakePart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient of another size than those before: the scale was right for them."""
    rates, settings, found = Optim(name="sgd"), Train(batch=BATCH, epochs=EPOCHS, log_every=100), []
    for kind in (EagerStep, Late):
        made, batches = state(rates, settings), fed(part, 1, False)
        overflowing(made, 2.0**10, 10**6)
        made.class_weights, seen = torch.ones(4), []
        for report in trained(kind, made, batches, rates, settings, monkeypatch):
            made.class_weights = torch.full((4,), 3000.0 if report.step >= 9 else 1.0)
            if report.step in (8, 14, 20):
                made.check()
                seen.append(everything(made))
        found.append(seen)
    assert found[0][-1]["scaler"]["scale"] < 2.0**10 == found[0][0]["scaler"]["scale"], "the example overflows"
    assert all(same(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("fp16", [False, True])
def test_a_bad_gradient_stops_late_and_leaves_what_it_would_have_left_at_once(
    state: MakeState, part: MakePart, monkeypatch: pytest.MonkeyPatch, fp16: bool
) -> None:
    rates, settings, found = Optim(name="adam"), Train(batch=BATCH, epochs=EPOCHS, log_every=10), []
    for kind in (EagerStep, Late):
        made, batches = state(rates, settings), fed(part, 1, True)
        if fp16:
            overflowing(made, 2.0**8, 10**6)
        with pytest.raises(NonFiniteError) as caught:
            list(trained(kind, made, batches, rates, settings, monkeypatch))
        assert made.step == BAD
        found.append((str(caught.value), everything(made)))
    assert found[0][0] == found[1][0] and same(found[0][1], found[1][1])


def test_the_host_is_never_further_ahead_than_it_keeps_answers_for(
    state: MakeState, part: MakePart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eager_step, "FURTHEST", 6)
    rates, settings, right = Optim(name="adam"), Train(batch=BATCH, epochs=100), []
    for late in (False, True):
        made = state(rates, settings)
        made.forward.train()
        step, most = EagerStep(made, fed(part, 1, False), settings, rates, 0, late), 0
        for _ in range(40):
            step(0.01, False)
            made.step += 1
            most = max(most, len(step.answers))
        assert most == (6 if late else 0)
        made.check()
        right.append(int(made.right))
    assert right[0] == right[1] > 0


@pytest.mark.parametrize("clip", [0.01, 0.37, 1.0, 100.0])
def test_a_gradient_is_clipped_as_torch_does_it(state: MakeState, part: MakePart, clip: float) -> None:
    rates, settings = Optim(clip=clip), Train(batch=BATCH, epochs=1)
    made = state(rates, settings)
    made.forward.train()
    step = EagerStep(made, fed(part, 1, False), settings, rates, 0)
    step._gradient(0.0)
    own = [parameter.grad.clone() for parameter in step.parameters if parameter.grad is not None]
    expected = torch.nn.utils.clip_grad_norm_(step.parameters, clip)
    theirs = [parameter.grad for parameter in step.parameters if parameter.grad is not None]
    for parameter, grad in zip(step.parameters, own, strict=True):
        parameter.grad = grad
    assert step._clip(False) == expected and all(map(torch.equal, own, theirs))


def test_the_host_waits_at_steps_that_are_logged_and_where_the_scale_may_change(state: MakeState, part: MakePart) -> None:
    rates, settings = Optim(name="adam"), Train(batch=BATCH, epochs=100)
    for fp16, expected in ((False, 2), (True, 2 + 5)):
        made = state(rates, settings)
        made.forward.train()
        if fp16:
            overflowing(made, 2.0, 20)
        step = Late(made, fed(part, 1, False), settings, rates, 0)
        for number in range(1, 51):
            assert step(0.01, number % 25 == 0) is not None
            made.step += 1
        assert step.waits == expected, "of fp16: the first step, the 20th and the 40th, and the ones after these"
