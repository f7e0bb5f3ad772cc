"""What engine.py promises: a step is the step that a plain loop would take, and an evaluation counts every row once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config import Optim, Train
from pipeline.data.batches import Batches
from pipeline.data.store import Part, Store
from pipeline.errors import NonFiniteError
from pipeline.model import footprint
from pipeline.model.classifier import RecurrentClassifier
from pipeline.run import checkpoints
from pipeline.training import evaluation, loop
from pipeline.training.optim import lr_at
from pipeline.training.state import State, recurrent_dtype
from tests.conftest import C, T

CPU = torch.device("cpu")
COUNT, BATCH = 29, 8  # the last of the four batches of an epoch holds 5
MakeState, MakeBatches, MakeModel, MakePart = (Callable[..., kind] for kind in (State, Batches, RecurrentClassifier, Part))
PLAIN = Optim(name="sgd", lr=0.5, momentum=0.0)


def train(
    state: State, batches: Batches, accelerator: Accelerator, optim: Optim = PLAIN, seed: int = 0, **options: Any
) -> Iterator[loop.Report]:
    settings = Train(**({"batch": batches.batch, "epochs": 2, "log_every": 1} | options))
    return loop.train(state, batches, settings, optim, seed)


def watch(state: State) -> list[Tensor]:
    """A list that receives the gradient of every update, all parameters in a row, as the optimiser sees it."""
    seen: list[Tensor] = []
    state.optimizer.register_step_pre_hook(lambda *_: seen.append(gradient(state.model)))
    return seen


def gradient(model: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.reshape(-1) for parameter in model.parameters() if parameter.grad is not None])


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


def plain_loss(model: RecurrentClassifier, part: Part, rows: list[int], smoothing: float = 0.0) -> Tensor:
    return functional.cross_entropy(model(part.values[rows]), part.labels[rows], label_smoothing=smoothing)


def close(one: Tensor, other: Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("slices", "mode"), [(1, {}), (2, {"accumulate": 2}), (4, {"accumulate": 4})])
@pytest.mark.parametrize("arguments", [{}, {"cell": "gru", "layers": 2, "bidirectional": True, "pooling": "max"}])
def test_each_step_is_that_of_a_plain_torch_loop_over_the_same_rows(
    state: MakeState,
    batches: MakeBatches,
    part: MakePart,
    accelerator: Accelerator,
    slices: int,
    mode: dict[str, int],
    smoothing: float,
    arguments: dict[str, Any],
) -> None:
    made, fed, data = state(PLAIN, Train(), **arguments), batches(COUNT, BATCH, slices), part(COUNT)
    plain = deepcopy(made.model).flatten_parameters()
    descent = torch.optim.SGD(plain.parameters(), lr=PLAIN.lr)
    gradients = watch(made)
    counts, right = [], 0
    for step, report in enumerate(train(made, fed, accelerator, label_smoothing=smoothing, **mode)):
        rows = fed.rows(step)
        descent.zero_grad()
        loss = plain_loss(plain, data, rows, smoothing)
        loss.backward()
        close(gradients[-1], gradient(plain))
        numbers = report.numbers()
        assert numbers["loss"] == pytest.approx(loss.item(), abs=1e-6)
        assert numbers["grad_norm"] == pytest.approx(gradient(plain).norm().item(), abs=1e-6)
        with torch.no_grad():
            hits = (plain(data.values[rows]).argmax(1) == data.labels[rows]).sum().item()
        assert numbers["accuracy"] == hits / len(rows)
        right += hits
        assert (report.hits(), report.seen) == (right, sum(counts) + len(rows)), "those of all steps, read at any of them"
        assert (report.step, report.lr, report.count) == (step + 1, 0.5, len(rows)) and report.step == made.step
        descent.step()
        close(weights(made.model), weights(plain))
        counts.append(report.count)
    assert counts == [8, 8, 8, 5] * 2


def gradients_of(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator, slices: int, steps: int = 4, **options: Any
) -> list[Tensor]:
    settings = Train(batch=BATCH, **options)
    made = state(PLAIN, settings)
    seen = watch(made)
    list(islice(train(made, batches(COUNT, BATCH, slices), accelerator, **options), steps))
    return seen


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulating_gives_the_gradient_of_the_whole_batch(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator, parts: int
) -> None:
    whole = gradients_of(state, batches, accelerator, 1)
    for one, other in zip(whole, gradients_of(state, batches, accelerator, parts, accumulate=parts), strict=True):
        close(one, other)


@pytest.mark.parametrize("shards", [1, 2, 4, 8])
def test_exact_mode_gives_the_gradient_of_the_whole_batch(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator, shards: int
) -> None:
    whole = gradients_of(state, batches, accelerator, 1)
    for one, other in zip(whole, gradients_of(state, batches, accelerator, shards, gradient_shards=shards), strict=True):
        close(one, other)


def test_exact_mode_sums_shards_in_a_binary_tree_bit_for_bit(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator
) -> None:
    made, fed = state(PLAIN, Train(gradient_shards=4)), batches(COUNT, BATCH, 4)
    plain = deepcopy(made.model).flatten_parameters()
    leaves = []
    for piece in fed.slices(0):
        plain.zero_grad()
        losses = functional.cross_entropy(plain(piece.values), piece.labels, reduction="none")
        ((losses * piece.weights).sum() / BATCH).backward()
        leaves.append(gradient(plain))
    a, b, c, d = leaves
    seen = watch(made)
    next(train(made, fed, accelerator, gradient_shards=4))
    assert torch.equal(seen[0], (a + b) + (c + d))
    assert not torch.equal(seen[0], ((a + b) + c) + d), "the example tells the orders apart"


def test_exact_mode_reports_and_steps_like_the_plain_one(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator
) -> None:
    def run(slices: int, **options: Any) -> tuple[list[dict[str, float]], Tensor]:
        settings = Train(batch=BATCH, ema=0.9, **options)
        made = state(Optim(clip=0.1), settings, layers=2, dropout=0.0)
        reports = train(made, batches(COUNT, BATCH, slices), accelerator, Optim(clip=0.1), ema=0.9, **options)
        numbers = [report.numbers() for report in reports]
        assert made.ema is not None
        return numbers, torch.cat([weights(made.model), weights(made.ema)])

    plain, exact = run(1), run(4, gradient_shards=4)
    for one, other in zip(plain[0], exact[0], strict=True):
        assert other == pytest.approx(one, abs=1e-5)
    close(plain[1], exact[1], 1e-4)


@pytest.mark.parametrize("decay", [0.5, 0.15, 0.999])
def test_averaged_weights_follow_their_formula(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator, decay: float
) -> None:
    settings = Train(ema=decay)
    made = state(PLAIN, settings)
    assert made.ema is not None and made.best_model is made.ema
    average = weights(made.model)
    assert torch.equal(weights(made.ema), average)
    for step, _ in enumerate(train(made, batches(COUNT, BATCH), accelerator, ema=decay)):
        rate = min(decay, (1 + step) / (10 + step))
        average = rate * average + (1 - rate) * weights(made.model)
        close(weights(made.ema), average)
        assert not torch.equal(weights(made.model), average)
    assert not any(parameter.grad is not None for parameter in made.ema.parameters())


def test_without_an_average_the_weights_themselves_are_the_best(state: MakeState) -> None:
    made = state(PLAIN, Train())
    assert made.ema is None and made.best_model is made.model


def test_the_norm_is_computed_where_it_is_logged_and_nowhere_else(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator
) -> None:
    reports = train(state(PLAIN, Train()), batches(COUNT, BATCH), accelerator, log_every=3)
    seen = {report.step: report.grad_norm is not None for report in reports}
    assert [step for step, there in seen.items() if there] == [*range(3, max(seen), 3), max(seen)]


@pytest.mark.parametrize("mode", [{}, {"accumulate": 4}, {"gradient_shards": 4}])
def test_clipping_limits_the_norm_and_keeps_the_direction(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator, mode: dict[str, int]
) -> None:
    slices = max([1, *mode.values()])

    def run(clip: float) -> tuple[Tensor, float]:
        made, optim = state(PLAIN, Train(**mode)), PLAIN.model_copy(update={"clip": clip})
        seen = watch(made)
        report = next(train(made, batches(COUNT, BATCH, slices), accelerator, optim, **mode))
        return seen[0], float(report.grad_norm)

    free, norm = run(0.0)
    assert norm == pytest.approx(float(free.norm()), rel=1e-5)
    clipped, reported = run(norm / 3)
    assert reported == pytest.approx(norm), "the report has the norm before clipping"
    close(clipped, free / 3)
    assert torch.equal(run(norm * 2)[0], free)


def test_a_step_that_is_not_logged_is_clipped_too(state: MakeState, batches: MakeBatches, accelerator: Accelerator) -> None:
    optim = PLAIN.model_copy(update={"clip": 0.01})
    made = state(optim, Train())
    seen = watch(made)
    report = next(train(made, batches(COUNT, BATCH), accelerator, optim, log_every=100))
    assert float(seen[0].norm()) == pytest.approx(0.01, rel=1e-4) and float(report.grad_norm) > 0.02


def test_the_rate_of_each_update_is_that_of_its_step(state: MakeState, batches: MakeBatches, accelerator: Accelerator) -> None:
    optim = Optim(name="sgd", lr=0.1, momentum=0.0, schedule="one_cycle")
    made, used = state(optim, Train()), []
    made.optimizer.register_step_pre_hook(lambda optimizer, *_: used.append({g["lr"] for g in optimizer.param_groups}))
    reports = list(train(made, batches(COUNT, BATCH), accelerator, optim))
    expected = [lr_at(step, 8, optim) for step in range(8)]
    assert used == [{rate} for rate in expected] and [report.lr for report in reports] == expected
    assert list(train(made, batches(COUNT, BATCH), accelerator, optim)) == [], "a finished run takes no step"


POISONED = 2  # the step of the first epoch that meets the row that is not finite


def poisoned(part: MakePart, slices: int = 1) -> Batches:
    """Data of which one row is not finite."""
    data = part(COUNT)
    values = data.values.float()
    fed = Batches(Store(Part(values, data.labels, data.index), CPU, 1), BATCH, slices, range(slices), 0)
    values[fed.rows(POISONED)[1], 2] = torch.nan
    assert fed.store.values.isnan().any()
    return fed


@pytest.mark.parametrize("mode", [{}, {"accumulate": 2}, {"gradient_shards": 4}])
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_gradient_that_is_not_finite_stops_before_the_update_and_names_the_rows(
    state: MakeState, part: MakePart, accelerator: Accelerator, mode: dict[str, int], clip: float
) -> None:
    optim = Optim(name="adam", clip=clip)
    made, fed = state(optim, Train(ema=0.9, **mode)), poisoned(part, max([1, *mode.values()]))
    before: tuple[Tensor, ...] = ()
    with pytest.raises(NonFiniteError) as caught:
        for _ in train(made, fed, accelerator, optim, ema=0.9, **mode):
            before = _everything(made)
    assert made.step == POISONED
    assert all(torch.equal(one, other) for one, other in zip(before, _everything(made), strict=True))
    message = str(caught.value)
    assert message.startswith(f"step {POISONED + 1}: ") and str(fed.rows(POISONED)) in message
    assert "on_nonfinite=skip" in message


def _everything(state: State) -> tuple[Tensor, ...]:
    moments = [value for moments in state.optimizer.state.values() for value in moments.values()]
    assert state.ema is not None
    return tuple(value.clone() for value in (weights(state.model), weights(state.ema), *moments))


@pytest.mark.parametrize("mode", [{}, {"gradient_shards": 4}])
def test_skipping_leaves_out_the_update_and_goes_on(
    state: MakeState, part: MakePart, accelerator: Accelerator, mode: dict[str, int]
) -> None:
    optim = Optim(name="adam")
    made, fed = state(optim, Train(**mode)), poisoned(part, max([1, *mode.values()]))
    before, moved = weights(made.model), []
    for report in train(made, fed, accelerator, optim, on_nonfinite="skip", **mode):
        moved.append(not torch.equal(weights(made.model), before))
        before = weights(made.model)
        assert before.isfinite().all() and bool(report.grad_norm.isfinite()) == moved[-1]
    finite = [bool(fed.store.values[fed.rows(step)].isfinite().all()) for step in range(8)]
    assert moved == finite and finite.count(False) == 2, "once in each of two epochs"


def scaled(state: State, scale: float) -> State:
    """With the gradient scaler of fp16, and gradients that overflow where those of fp16 do, on a CPU."""
    state.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6)
    for parameter in state.model.parameters():
        parameter.register_hook(lambda grad: grad.masked_fill(grad.abs() > 65504, torch.inf))
    return state


@pytest.mark.parametrize("mode", [{}, {"gradient_shards": 4}])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_an_overflow_of_fp16_tries_the_same_step_again_at_a_lower_scale(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator, name: str, mode: dict[str, int]
) -> None:
    optim, slices = Optim(name=name, schedule="linear", clip=0.5), mode.get("gradient_shards", 1)
    plain, made = state(optim, Train(**mode)), scaled(state(optim, Train(**mode)), 2.0**30)
    theirs = list(train(plain, batches(COUNT, BATCH, slices), accelerator, optim, **mode))
    ours = list(train(made, batches(COUNT, BATCH, slices), accelerator, optim, **mode))
    assert 2.0 < made.scaler.get_scale() < 2.0**25, "the example overflows, and recovers"
    assert [(report.step, report.lr) for report in ours] == [(report.step, report.lr) for report in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.numbers() == pytest.approx(other.numbers(), rel=1e-5)
    close(weights(made.model), weights(plain.model), 1e-5)


def test_a_step_that_overflows_in_fp16_moves_no_running_statistic(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator
) -> None:
    optim, batch_norm = Optim(name="sgd"), {"conv": 3, "conv_norm": "batch"}
    plain, made = state(optim, Train(), **batch_norm), scaled(state(optim, Train(), **batch_norm), 2.0**40)
    for one in (plain, made):
        list(train(one, batches(COUNT, BATCH), accelerator, optim))
    assert made.scaler.get_scale() < 2.0**35, "the example overflows, and recovers"
    for ours, theirs in zip(made.model.batch_norms, plain.model.batch_norms, strict=True):
        close(torch.cat([ours.mean, ours.var]), torch.cat([theirs.mean, theirs.var]), 1e-4)


def test_what_no_scale_makes_finite_stops_fp16_too(state: MakeState, part: MakePart, accelerator: Accelerator) -> None:
    optim = Optim(name="adam")
    made, fed = scaled(state(optim, Train()), 2.0**16), poisoned(part)
    before = weights(made.model)
    with pytest.raises(NonFiniteError, match=rf"step {POISONED + 1}: "):
        for _ in train(made, fed, accelerator, optim):
            before = weights(made.model)
    assert torch.equal(weights(made.model), before) and made.step == POISONED


def test_a_batch_that_no_scale_makes_finite_is_left_out_and_the_scale_recovers(
    state: MakeState, part: MakePart, accelerator: Accelerator
) -> None:
    optim = Optim(name="adam")
    made, fed, moved = scaled(state(optim, Train()), 2.0**16), poisoned(part), []
    before = weights(made.model)
    for _ in train(made, fed, accelerator, optim, on_nonfinite="skip"):
        moved.append(not torch.equal(weights(made.model), before))
        before = weights(made.model)
    row = fed.rows(POISONED)[1]
    assert [step for step, one in enumerate(moved) if not one] == [step for step in range(len(moved)) if row in fed.rows(step)]
    assert sum(moved) > len(moved) / 2
    assert made.scaler.get_scale() == 2.0**16, "gradients later on are not lost for it"


def test_the_loss_of_bf16_is_computed_in_single_precision(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator
) -> None:
    made = state(PLAIN, Train())
    made.autocast = torch.autocast("cpu", torch.bfloat16)
    report = next(train(made, batches(COUNT, BATCH), accelerator))
    ((logits, answered),) = report.answers
    expected = functional.cross_entropy(logits.float(), answered.labels, reduction="sum") / report.count
    assert float(report.loss) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("mode", [{}, {"accumulate": 2}, {"gradient_shards": 2}])
def test_dropout_repeats_for_the_same_seed_step_and_slice_alone(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator, mode: dict[str, int]
) -> None:
    slices = max([1, *mode.values()])

    def run(first: int, seed: int, noise: int) -> Tensor:
        made, fed = state(PLAIN, Train(**mode), layers=2, dropout=0.5), batches(COUNT, BATCH, slices)
        made.step = first
        seen = watch(made)
        torch.manual_seed(noise)
        next(train(made, fed, accelerator, seed=seed, **mode))
        return seen[0]

    assert torch.equal(run(2, seed=7, noise=1), run(2, seed=7, noise=2))
    assert not torch.equal(run(2, seed=7, noise=1), run(2, seed=8, noise=1))


def test_dropout_differs_between_steps_and_between_slices(
    state: MakeState, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = []
    real = functional.dropout

    def dropout(x: Tensor, share: float, training: bool) -> Tensor:
        masks.append(real(torch.ones_like(x), share, training))
        return x * masks[-1]

    monkeypatch.setattr("pipeline.model.classifier.functional.dropout", dropout)
    same = Part(torch.ones(8, T, 3), torch.zeros(8, dtype=torch.int64), torch.arange(8))
    made = state(PLAIN, Train(), layers=2, dropout=0.5)
    fed = Batches(Store(same, CPU, 1), 4, 2, range(2), 0)
    list(train(made, fed, accelerator, epochs=1, accumulate=2))
    assert len(masks) == 4
    assert len({tuple(mask.reshape(-1).tolist()) for mask in masks}) == 4


def test_training_without_dropout_draws_no_random_numbers(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator
) -> None:
    made = state(PLAIN, Train())
    before = torch.random.get_rng_state()
    list(train(made, batches(COUNT, BATCH), accelerator))
    assert torch.equal(torch.random.get_rng_state(), before)


def evaluate(model: RecurrentClassifier, part: Part, limit: int | None = None) -> evaluation.Rows:
    return evaluation.evaluate(model, Store(part, CPU, 1), limit)


def fields(rows: evaluation.Rows) -> list[np.ndarray]:
    return [rows.labels, rows.predictions, rows.confidence, rows.losses]


@pytest.mark.parametrize("count", [1, 2, 249, 250, 251, 503])
@torch.no_grad()
def test_an_evaluation_has_each_row_exactly_once(
    model: MakeModel, part: MakePart, accelerator: Accelerator, count: int
) -> None:
    made, data = model(bidirectional=True), part(count)
    rows = evaluate(made, data)
    logits = made(data.values).double()
    assert [len(field) for field in fields(rows)] == [count] * 4
    np.testing.assert_array_equal(rows.labels, data.labels)
    np.testing.assert_array_equal(rows.predictions, logits.argmax(1))
    np.testing.assert_allclose(rows.confidence, logits.softmax(1).amax(1), atol=1e-6)
    losses = functional.cross_entropy(logits, data.labels, reduction="none")
    np.testing.assert_allclose(rows.losses, losses, atol=1e-6)
    assert rows.labels.dtype == rows.predictions.dtype == np.int64 and rows.losses.dtype == np.float64


@pytest.mark.parametrize("limit", [1, 249, 250, 251, 400, 10**6])
def test_a_limited_evaluation_has_the_same_rows_bit_for_bit(
    model: MakeModel, part: MakePart, accelerator: Accelerator, limit: int
) -> None:
    made, data = model(), part(400)
    whole, some = evaluate(made, data), evaluate(made, data, limit)
    for one, other in zip(fields(whole), fields(some), strict=True):
        np.testing.assert_array_equal(one[:limit], other)


def test_a_row_has_the_same_bits_whatever_follows_it(model: MakeModel, part: MakePart, accelerator: Accelerator) -> None:
    made, data = model(bidirectional=True, pooling="mean"), part(251)
    whole = evaluate(made, data)
    for count in (1, 17, 249, 250):
        shorter = evaluate(made, Part(data.values[:count], data.labels[:count], data.index[:count]))
        for one, other in zip(fields(whole), fields(shorter), strict=True):
            np.testing.assert_array_equal(one[:count], other)


def ragged(part: Part) -> Part:
    """The examples of a part as series of 1 to T steps."""
    lengths = torch.arange(len(part.labels)) % T + 1
    values = torch.cat([one[:steps] for one, steps in zip(part.values, lengths, strict=True)])
    return Part(values, part.labels, part.index, torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]))


def test_an_evaluation_of_series_is_that_of_each_series_by_itself(
    model: MakeModel, part: MakePart, accelerator: Accelerator
) -> None:
    made, data = model(bidirectional=True, pooling="mean"), ragged(part(300))
    rows = evaluation.evaluate(made, Store(data, CPU, 1))
    assert rows is not None and data.offsets is not None
    ends = data.offsets.tolist()
    logits = torch.cat([made(data.values[None, start:stop]) for start, stop in pairwise(ends)])
    losses = functional.cross_entropy(logits.double(), data.labels, reduction="none").detach()
    np.testing.assert_allclose(rows.losses, losses, atol=1e-5)


def test_a_step_on_series_is_the_plain_loss_of_each_series_by_itself(
    state: MakeState, part: MakePart, accelerator: Accelerator
) -> None:
    made, data = state(PLAIN, Train(), bidirectional=True), ragged(part(24))
    assert data.offsets is not None
    ends, before = data.offsets.tolist(), deepcopy(made.model)
    batches = Batches(Store(data, CPU, 1), 24, 1, range(1), 0, bucket=True)
    report = next(train(made, batches, accelerator))
    logits = torch.cat([before(data.values[None, start:stop]) for start, stop in pairwise(ends)])
    close(report.loss, functional.cross_entropy(logits, data.labels).detach())


def test_evaluation_blocks_of_long_series_hold_fewer_rows(
    model: MakeModel, part: MakePart, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, store = model(), Store(part(60), CPU, 1)
    whole = evaluation.evaluate(made, store)
    sizes: list[int] = []
    monkeypatch.setitem(footprint.LIMITS, "cpu", 7 * T * made.sizes.step_bytes)
    monkeypatch.setattr(store, "take", lambda rows, take=store.take: (sizes.append(len(rows)), take(rows))[1])
    small = evaluation.evaluate(made, store)
    assert set(sizes) == {7} and whole is not None and small is not None
    np.testing.assert_allclose(small.losses, whole.losses, rtol=1e-6)
    sizes.clear()
    monkeypatch.undo()
    monkeypatch.setattr(footprint, "LOGITS", 5 * 8 * made.head.out_features)
    monkeypatch.setattr(store, "take", lambda rows, take=store.take: (sizes.append(len(rows)), take(rows))[1])
    evaluation.evaluate(made, store)
    assert set(sizes) == {5}, "many classes too"


@pytest.mark.parametrize("training", [True, False])
def test_an_evaluation_drops_nothing_and_leaves_no_trace(
    model: MakeModel, part: MakePart, accelerator: Accelerator, training: bool
) -> None:
    made, data = model(layers=2, dropout=0.5).train(training), part(30)
    before = torch.random.get_rng_state()
    first, second = evaluate(made, data), evaluate(made.eval(), data)
    np.testing.assert_array_equal(first.losses, second.losses)
    made.train(training)
    evaluate(made, data)
    assert {module.training for module in made.modules()} == {training}
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.is_grad_enabled() and all(parameter.grad is None for parameter in made.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_an_evaluation_that_is_told_to_stop_ends_after_its_block_without_a_result(
    model: MakeModel, part: MakePart, accelerator: Accelerator, training: bool
) -> None:
    made, asked = model().train(training), []

    def stop() -> bool:
        asked.append(True)
        return len(asked) == 2

    with pytest.raises(evaluation.Interrupted):
        evaluation.evaluate(made, Store(part(751), CPU, 1), stop=stop)
    assert len(asked) == 2 and made.training == training


def test_a_digest_tells_any_two_weights_apart(model: MakeModel) -> None:
    made = model()
    first = checkpoints.digest(made)
    assert checkpoints.digest(deepcopy(made)) == first == checkpoints.digest(model())
    with torch.no_grad():
        made.head.bias[0] = torch.nextafter(made.head.bias[0], torch.tensor(9.0))
    assert checkpoints.digest(made) != first


def test_evaluating_between_steps_does_not_change_training(
    state: MakeState, batches: MakeBatches, part: MakePart, accelerator: Accelerator
) -> None:
    def run(watching: bool) -> Tensor:
        made = state(PLAIN, Train(), layers=2, dropout=0.3)
        for _ in train(made, batches(COUNT, BATCH), accelerator):
            if watching:
                evaluate(made.best_model, part(40, seed=1))
        return weights(made.model)

    assert torch.equal(run(True), run(False))


def test_a_step_learns(state: MakeState, batches: MakeBatches, accelerator: Accelerator) -> None:
    optim = Optim(lr=0.02)
    made = state(optim, Train(), hidden=16)
    losses = [report.numbers()["loss"] for report in train(made, batches(COUNT, BATCH), accelerator, optim, epochs=40)]
    assert losses[0] == pytest.approx(np.log(C), abs=0.3) and np.mean(losses[-4:]) < 0.3


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("mode", [{}, {"accumulate": 4}, {"gradient_shards": 4}])
def test_class_weights_weigh_each_example_by_its_class(
    state: MakeState, batches: MakeBatches, part: MakePart, accelerator: Accelerator, mode: dict[str, int], smoothing: float
) -> None:
    made, fed, data = state(PLAIN, Train(**mode)), batches(COUNT, BATCH, max([1, *mode.values()])), part(COUNT)
    made.class_weights = torch.tensor([0.5, 2.0, 0.0, 1.5])
    plain = deepcopy(made.model).flatten_parameters()
    gradients = watch(made)
    next(train(made, fed, accelerator, label_smoothing=smoothing, **mode))
    rows, labels = fed.rows(0), data.labels[fed.rows(0)]
    losses = functional.cross_entropy(plain(data.values[rows]), labels, reduction="none", label_smoothing=smoothing)
    (losses * made.class_weights[data.labels[rows]]).mean().backward()
    close(gradients[0], gradient(plain))


def test_a_gradient_that_is_finite_and_whose_norm_is_not_is_refused_and_not_clipped_to_nothing(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator
) -> None:
    clipped = PLAIN.model_copy(update={"clip": 1.0})
    made, fed = state(clipped, Train()), batches(COUNT, BATCH)
    made.class_weights = torch.full((4,), 1e30)  # squares of such gradients overflow
    before = weights(made.model)
    with pytest.raises(NonFiniteError):
        next(train(made, fed, accelerator, clipped))
    assert torch.equal(weights(made.model), before)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_what_recurrent_layers_compute_in_is_asked_of_them(state: MakeState, cell: str) -> None:
    made = state(PLAIN, Train(), cell=cell)
    assert recurrent_dtype(made) == torch.float32
    made.autocast = torch.autocast("cpu", torch.bfloat16)
    with made.autocast:
        expected = made.model.recurrent[0](torch.zeros(2, 3, made.model.mean.shape[0]))[0].dtype
    assert recurrent_dtype(made) == expected and (cell != "lstm" or expected == torch.bfloat16)
