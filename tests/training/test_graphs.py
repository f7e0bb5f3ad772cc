"""The step that a CUDA graph is made of, without the graph: it is the eager step, and tells the host of a bad gradient late.

Whether a graph of it computes the same takes a GPU: the test that is marked so. What it launches is rehearsed in tests/gpu.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from pipeline.config import Optim, Train
from pipeline.data.batches import Batches
from pipeline.data.store import Part, Store
from pipeline.errors import NonFiniteError
from pipeline.training import loop, optim
from pipeline.training.graphs import graphed_step as graphed_step_module
from pipeline.training.graphs.fitting import obstacle
from pipeline.training.graphs.graphed_step import GraphedStep
from pipeline.training.state import LEAST_SCALE, State

MakeState, MakeBatches = Callable[..., State], Callable[..., Batches]
COUNT, BATCH, STEPS = 30, 8, 8  # the fourth batch of an epoch lacks two examples


def weights(state: State) -> Tensor:
    averages = state.ema.parameters() if state.ema is not None else ()
    buffers = state.ema.buffers() if state.ema is not None else ()
    return torch.cat([value.detach().reshape(-1) for value in [*state.model.parameters(), *averages, *buffers]]).cpu()


def graphed_step(state: State, fed: Batches, train: Train, rates: Optim) -> GraphedStep:
    state.forward.train()
    return GraphedStep(state, fed, train, rates, 0, lambda step: optim.lr_at(step, STEPS, rates))


def graphed(state: State, fed: Batches, train: Train, rates: Optim, steps: int) -> list[float]:
    """Take steps with GraphedStep as the loop does; the losses."""
    step, losses, right = graphed_step(state, fed, train, rates), [], 0
    for number in range(steps):
        taken = step(0.0)
        assert sum(float(part.weights.sum()) for _, part in taken.answers) == fed.count(number)
        assert taken.norm is not None and taken.norm > 0
        losses.append(taken.loss.item())
        right += sum(int(((logits.argmax(1) == part.labels) * part.weights).sum()) for logits, part in taken.answers)
        state.step += 1
    state.check()
    assert int(state.right) == right, "counted on the device, before the next step overwrites the logits"
    return losses


def unequal(slices: int = 1, bucket: bool = False) -> Batches:
    """Series of 3 to 21 steps."""
    random = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 22, (COUNT,), generator=random)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    values = torch.randint(0, 256, (int(offsets[-1]), 3), dtype=torch.uint8, generator=random)
    part = Part(values, torch.randint(0, 4, (COUNT,), generator=random), torch.arange(COUNT), offsets)
    return Batches(Store(part, torch.device("cpu"), 1), BATCH, slices, range(slices), 0, bucket=bucket)


@pytest.mark.parametrize(
    ("options", "settings", "slices", "arguments"),
    [
        ({}, {}, 1, {}),
        ({"clip": 0.05}, {"ema": 0.9}, 1, {"bidirectional": True, "pooling": "mean"}),
        ({"weight_decay": 0.1, "name": "adamw"}, {}, 1, {}),
        ({"name": "sgd"}, {"accumulate": 2}, 2, {}),
        ({"name": "sgd", "clip": 0.05}, {"gradient_shards": 4}, 4, {}),
        ({}, {}, 1, {"layers": 2, "dropout": 0.5, "head_dropout": 0.1}),
        ({"name": "sgd"}, {"ema": 0.9}, 1, {"conv": 4, "conv_norm": "batch"}),
        ({"name": "sgd"}, {"accumulate": 2}, 2, {"conv": 4, "conv_norm": "batch"}),
        ({"name": "sgd"}, {"gradient_shards": 4}, 4, {"conv": 4, "conv_norm": "batch"}),
    ],
)
@pytest.mark.parametrize("data", ["equal", "unequal", "buckets"])
def test_its_steps_are_those_of_the_engine(
    state: MakeState,
    batches: MakeBatches,
    options: dict[str, Any],
    settings: dict[str, int],
    slices: int,
    arguments: dict[str, Any],
    data: str,
) -> None:
    rates = Optim(**({"schedule": "cosine"} | options))
    train = Train(**({"batch": BATCH, "epochs": 2, "label_smoothing": 0.1} | settings))
    feed = partial(batches, COUNT, BATCH, slices) if data == "equal" else partial(unequal, slices, data == "buckets")
    eager, made = state(rates, train, **arguments), state(rates, train, **arguments)
    eager.class_weights = made.class_weights = torch.tensor([1.0, 2.0, 0.5, 1.0])
    expected = [report.loss.item() for report in loop.train(eager, feed(), train, rates, 0)]
    if arguments.get("dropout") and data != "equal":
        return  # padding to other lengths draws other masks
    assert graphed(made, feed(), train, rates, STEPS) == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(weights(made), weights(eager), rtol=0, atol=1e-5)


@pytest.mark.parametrize("slices", [1, 2])
def test_batches_that_the_host_gathers_are_those_of_a_store_on_the_device(
    state: MakeState, batches: MakeBatches, slices: int
) -> None:
    rates, settings = Optim(), Train(batch=BATCH, epochs=2, accumulate=slices)
    for feed in (partial(batches, COUNT, BATCH, slices), partial(unequal, slices, True)):
        found = []
        for resident in (True, False):
            made, fed = state(rates, settings), feed()
            fed.store.resident = resident
            found.append((graphed(made, fed, settings, rates, STEPS), weights(made)))
        assert found[0][0] == found[1][0]
        assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("name", ["adam", "sgd"])
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_no_update_is_made_with_a_gradient_that_is_not_finite(
    state: MakeState, batches: MakeBatches, policy: str, name: str
) -> None:
    rates, settings = Optim(name=name), Train(batch=BATCH, epochs=2, on_nonfinite=policy)
    made, fed = state(rates, settings), batches(COUNT, BATCH)
    fed.store.values = fed.store.values.float()
    fed.store.values[fed.rows(2)[0]] = torch.nan  # step 3 of each epoch
    step, seen = graphed_step(made, fed, settings, rates), []
    for _ in range(6):
        before = weights(made)
        step(0.01)
        made.step += 1
        seen.append(not torch.equal(weights(made), before))
    if policy == "skip":
        bad = [bool(fed.store.values[fed.rows(number)].isnan().any()) for number in range(6)]
        assert seen == [not wrong for wrong in bad] and bad[2]
        made.check()
        assert made.step == 6
        return
    assert seen == [True, True, False, False, False, False], "none after it either"
    with pytest.raises(NonFiniteError, match=r"^step 3: .*the weights are those of step 2\.") as caught:
        made.check()
    assert str(fed.rows(2)) in str(caught.value) and made.step == 2


class Overflows(torch.amp.GradScaler):
    """Of fp16, for the CPU."""

    def __init__(self, scale: float) -> None:
        super().__init__("cpu", init_scale=scale, growth_interval=3)


def mapped(make: MakeBatches) -> Batches:
    """Batches that the host gathers."""
    fed = make(COUNT, BATCH)
    fed.store.resident = False
    return fed


FED: dict[str, tuple[Callable[[MakeBatches], Batches], dict[str, Any]]] = {
    "by the device alone": (lambda make: make(COUNT, BATCH), {}),
    "dropout": (lambda make: make(COUNT, BATCH), {"layers": 2, "dropout": 0.5, "head_dropout": 0.1}),
    "unequal lengths": (lambda make: unequal(bucket=True), {}),
    "beyond the device": (mapped, {}),
    "batch normalisation": (lambda make: make(COUNT, BATCH), {"conv": 4, "conv_norm": "batch"}),
    "batch normalisation, dropout": (lambda make: make(COUNT, BATCH), {"conv": 4, "conv_norm": "batch", "head_dropout": 0.2}),
}


@pytest.mark.parametrize("logged", [False, True])
@pytest.mark.parametrize("fed", FED)
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_step_that_overflows_is_taken_again_at_a_lower_scale_before_the_host_looks(
    state: MakeState, batches: MakeBatches, monkeypatch: pytest.MonkeyPatch, policy: str, fed: str, logged: bool
) -> None:
    monkeypatch.setattr(graphed_step_module, "WARMUP", 2)  # steps that the host waits for where it has a part in them
    feed, arguments = FED[fed]
    # Adam would blow up the noise that is the gradient of a bias before batch normalisation
    rates = Optim(name="sgd", lr=1e-8) if "normalisation" in fed else Optim()
    settings = Train(batch=BATCH, epochs=2, ema=0.5, on_nonfinite=policy)
    eager, made = state(rates, settings, **arguments), state(rates, settings, **arguments)
    eager.scaler, made.scaler = Overflows(2.0**126), Overflows(2.0**126)
    eager.class_weights = made.class_weights = torch.full((4,), 1e6)  # so that gradients are large
    expected = [report.loss.item() for report in loop.train(eager, feed(batches), settings, rates, 0)]
    step, losses = graphed_step(made, feed(batches), settings, rates), []
    for _ in range(STEPS):
        losses.append(step(0.0, logged).loss.clone().item())
        made.step += 1
    assert logged or step.position()[0] < STEPS, "the device is behind"
    made.check()
    assert step.position()[0] == made.step == STEPS and len(expected) == STEPS
    torch.testing.assert_close(weights(made), weights(eager), rtol=0, atol=1e-5)
    assert not logged or losses == pytest.approx(expected, rel=1e-5), "what is logged is of its step"
    assert made.scaler.get_scale() == eager.scaler.get_scale() < 2.0**126
    for ours, theirs in zip(made.model.batch_norms, eager.model.batch_norms, strict=True):
        torch.testing.assert_close((ours.mean, ours.var), (theirs.mean, theirs.var))


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_batch_that_no_scale_helps_is_left_out_or_named(state: MakeState, batches: MakeBatches, policy: str) -> None:
    rates, settings = Optim(), Train(batch=BATCH, epochs=2, on_nonfinite=policy)
    made, fed = state(rates, settings), batches(COUNT, BATCH)
    fed.store.values = fed.store.values.float()
    fed.store.values[fed.rows(2)[0]] = torch.nan
    made.scaler = Overflows(2.0**4)
    step = graphed_step(made, fed, settings, rates)
    for _ in range(4):
        step(0.0, False)
        made.step += 1
    if policy == "skip":
        made.check()
        assert step.position()[0] == made.step == 4
        assert made.scaler.get_scale() == 2.0**4, "the next batch has the scale that the one before it had"
        assert bool(weights(made).isfinite().all())
        return
    with pytest.raises(NonFiniteError, match=r"^step 3: "):
        made.check()
    assert made.step == 2


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_gradient_beyond_fp16_is_taken_at_a_scale_below_one(
    state: MakeState, batches: MakeBatches, policy: str, graphs: bool
) -> None:
    rates, settings = Optim(name="sgd", lr=1e-9), Train(batch=BATCH, epochs=2, on_nonfinite=policy)
    plain, made = state(rates, settings), state(rates, settings)
    for one in (plain, made):
        one.class_weights = torch.full((4,), 1e7)
    made.scaler = Overflows(2.0**4)
    for parameter in made.model.parameters():
        parameter.register_hook(lambda grad: grad.masked_fill(grad.abs() > 65504, torch.inf))
    graphed(plain, batches(COUNT, BATCH), settings, rates, STEPS)
    if graphs:
        graphed(made, batches(COUNT, BATCH), settings, rates, STEPS)
    else:
        list(loop.train(made, batches(COUNT, BATCH), settings, rates, 0))
    assert LEAST_SCALE < made.scaler.get_scale() < 1
    torch.testing.assert_close(weights(made), weights(plain), rtol=1e-5, atol=0)


def test_it_goes_on_where_a_checkpoint_was_made(state: MakeState, batches: MakeBatches) -> None:
    rates, settings = Optim(), Train(batch=BATCH, epochs=2, ema=0.9)
    whole, first = state(rates, settings), state(rates, settings)
    graphed(whole, batches(COUNT, BATCH), settings, rates, STEPS)
    graphed(first, batches(COUNT, BATCH), settings, rates, 5)
    step = graphed_step(first, batches(COUNT, BATCH), settings, rates)
    for _ in range(3):
        step(0.0)
        first.step += 1
    assert torch.equal(weights(first), weights(whole))


def test_lengths_are_padded_to_few(state: MakeState) -> None:
    settings, fed = Train(batch=BATCH, epochs=2), unequal()
    step = graphed_step(state(Optim(), settings), fed, settings, Optim())
    step.tables.turn(0)
    lengths = fed.store.lengths
    assert lengths is not None
    for number in range(fed.steps_per_epoch):
        longest = int(lengths[fed.padded_rows(number)].max())
        assert longest <= step.padded(number) <= longest + 7 and step.padded(number) in (8, 16, fed.store.longest)


def test_what_only_the_host_can_do_is_named(state: MakeState, batches: MakeBatches) -> None:
    settings, fed = Train(batch=BATCH), batches(COUNT, BATCH)
    made = state(Optim(), settings)
    assert obstacle(made, fed, settings) == ""
    assert obstacle(state(Optim(), settings, layers=2, dropout=0.5), fed, settings) == ""
    shards = Train(batch=BATCH, gradient_shards=2)
    dropped = state(Optim(), settings, head_dropout=0.5)
    assert obstacle(dropped, batches(COUNT, BATCH, 2), shards) == "dropout in exact mode"
    assert DistributedDataParallel.__name__ not in obstacle(made, fed, settings)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT TESTED: needs a GPU")
def test_a_graph_computes_what_its_step_computes(model: Callable[..., Any], part: Callable[..., Any]) -> None:
    rates, gpu, found = Optim(name="adam", clip=1.0), torch.device("cuda"), []
    for way in ("off", "auto"):
        settings = Train(batch=BATCH, epochs=6, cuda_graph=way)
        made = deepcopy(model()).to(gpu).flatten_parameters()
        zero = torch.zeros((), device=gpu)
        more = {"nonfinite": zero, "right": zero.double()}
        state = State(made, made, optim.make_optimizer(made, rates), **more)
        fed = Batches(Store(part(COUNT), gpu, 1), BATCH, 1, range(1), 0)
        found.append((graphed(state, fed, settings, rates, 3 * STEPS), weights(state)))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


def test_sgd_starts_from_a_momentum_of_zero_where_its_first_update_is_skipped(state: MakeState, batches: MakeBatches) -> None:
    rates, settings = Optim(name="sgd", lr=0.01), Train(batch=BATCH, epochs=2, on_nonfinite="skip")
    made, fed = state(rates, settings), batches(COUNT, BATCH)
    values = fed.store.values
    step = graphed_step(made, fed, settings, rates)
    before = weights(made)
    fed.store.values = torch.full(values.shape, torch.inf)
    step(0.01)
    assert torch.equal(weights(made), before)
    fed.store.values = values
    step(0.01)
    gradient = torch.cat([p.grad.reshape(-1) for p in made.model.parameters() if p.grad is not None])
    torch.testing.assert_close(weights(made), before - 0.01 * gradient, rtol=0, atol=1e-6)
