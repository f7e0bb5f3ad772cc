"""The learning rate: within its bounds, without jumps, a warm-up that rises and a rest that never does; and resuming."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal

import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.config import Optim, Train
from pipeline.data.batches import Batches
from pipeline.run import checkpoints, saving
from pipeline.training import loop
from pipeline.training.optim import lr_at, warmup_steps
from pipeline.training.selection import Selection
from pipeline.training.state import State
from tests.properties.inputs import tried

Schedule = Literal["constant", "cosine", "linear", "one_cycle"]
SCHEDULES: st.SearchStrategy[Schedule] = st.sampled_from(["constant", "cosine", "linear", "one_cycle"])
WARMUP = st.just(0) | st.integers(0, 400) | st.floats(0, 1, exclude_max=True, allow_subnormal=False)
RATES = st.floats(1e-8, 10)


@given(schedule=SCHEDULES, warmup=WARMUP, lr=RATES, steps=st.integers(1, 300))
def test_the_rate_stays_within_its_bounds_rises_in_the_warm_up_and_never_after_it(
    schedule: Schedule, warmup: float, lr: float, steps: int
) -> None:
    optim = Optim(lr=lr, schedule=schedule, warmup=warmup)
    rates = [lr_at(step, steps, optim) for step in range(steps)]
    assert all(0 < rate <= lr * (1 + 1e-12) for rate in rates), "positive, and never above the peak"
    risen = min(steps, warmup_steps(steps, optim))
    assert 0 <= risen <= steps
    top = max(range(steps), key=rates.__getitem__)
    assert all(one < other for one, other in pairwise(rates[: max(1, risen - 1)]))
    assert all(one >= other for one, other in pairwise(rates[top:]))
    if schedule != "one_cycle":
        assert math.isclose(rates[max(0, risen - 1)], lr, rel_tol=1e-12), "the peak is reached where the warm-up ends"


@given(schedule=SCHEDULES, warmup=WARMUP, lr=RATES, steps=st.integers(1, 300))
def test_the_rate_has_no_jumps(schedule: Schedule, warmup: float, lr: float, steps: int) -> None:
    optim = Optim(lr=lr, schedule=schedule, warmup=warmup)
    rates = [lr_at(step, steps, optim) for step in range(steps)]
    up = max(1.0, warmup_steps(steps, optim) - 1.5)  # one_cycle may peak between two steps
    down = max(1.0, steps - 1 - up)
    for step, (one, other) in enumerate(pairwise(rates)):
        room = down if step >= up else min(up, down) if step >= up - 1.5 else up
        assert abs(other - one) <= lr * math.pi / 2 / max(1.0, room - 1), "of a line or half a cosine over these steps"


@given(steps=st.integers(2, 100), lr=RATES, share=st.floats(0.05, 0.95))
def test_one_cycle_is_that_of_torch(steps: int, lr: float, share: float) -> None:
    assume(share * steps >= 1.01 and abs(share * steps - steps) > 1e-6)
    optim = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optim, lr, steps, pct_start=share, cycle_momentum=False)
    ours = Optim(lr=lr, schedule="one_cycle", warmup=share)
    for step in range(steps):
        assert math.isclose(lr_at(step, steps, ours), theirs.get_last_lr()[0], rel_tol=1e-9, abs_tol=lr * 1e-12)
        optim.step()
        if step < steps - 1:
            theirs.step()


@given(
    optim=st.builds(
        Optim,
        name=st.sampled_from(["adam", "adamw", "sgd"]),
        lr=st.sampled_from([0.01, 0.3]),
        weight_decay=st.sampled_from([0.0, 0.1]),
        momentum=st.sampled_from([0.0, 0.9]),
        schedule=SCHEDULES,
        warmup=st.sampled_from([0, 2, 0.3]),
        clip=st.sampled_from([0.0, 0.5]),
    ),
    ema=st.sampled_from([0.0, 0.9]),
    slices=st.sampled_from([1, 2]),
    exact=st.booleans(),
    at=st.integers(0, 9),
    conv=st.sampled_from([0, 2]),
)
@tried(25)
def test_a_run_resumed_at_any_step_ends_with_the_bits_of_one_left_alone(
    state: Callable[..., State],
    batches: Callable[..., Batches],
    optim: Optim,
    ema: float,
    slices: int,
    exact: bool,
    at: int,
    conv: int,
) -> None:
    shards = {"gradient_shards": slices} if exact else {"accumulate": slices}
    train = Train(batch=8, epochs=3, ema=ema, cpu_lstm="torch", log_every=2, **shards)

    def made() -> State:
        return state(optim, train, layers=2, dropout=0.3, conv=conv, conv_norm="batch")

    def run(one: State, steps: int) -> list[tuple[int, float, float]]:
        # batches of its own: an order that was begun is not there after a start
        reports = islice(loop.train(one, batches(20, 8, slices), train, optim, 0), steps)
        return [(report.step, report.lr, float(report.loss)) for report in reports]

    alone = made()
    wanted = run(alone, 9)
    first, resumed = made(), made()
    taken = run(first, at)
    with tempfile.TemporaryDirectory() as folder:
        facts = checkpoints.Facts(selection=Selection(), data="", processes=1)
        saving.save(Path(folder), saving.snapshot(first, facts), 1)
        found, skipped = checkpoints.newest(Path(folder))
        assert found and not skipped
        checkpoints.restore(found, resumed)
    assert taken + run(resumed, 9 - at) == wanted and len(wanted) == 9
    for one, other in ((alone.model, resumed.model), (alone.best_model, resumed.best_model)):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
