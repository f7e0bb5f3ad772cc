"""What tune measures, where it stops, what it advises, and that it leaves nothing behind but tuning/NAME/."""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.data.sources import checksums
from pipeline.data.store import Part, Store
from pipeline.errors import UserError
from pipeline.stages.advice import tune
from pipeline.training import loop
from pipeline.training.state import State
from pipeline.tuning import batch_search, measure, memory, range_test
from pipeline.tuning.batch_search import Memory, Sizes, Trial, find_batch
from pipeline.tuning.measure import End, Steps
from pipeline.tuning.range_test import RangeTest
from tests.support.launching import ROOT, run, succeed, weights

SMOKE = ("--config", str(ROOT / "configs/smoke.yaml"))
NEVER = float("inf")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SECONDS", 0.001)


@pytest.fixture
def steps(state: Callable[..., State], part: Callable[..., Part], accelerator: Accelerator) -> Callable[..., Steps]:
    """``steps(**optim)``: trainings of the tiny model on 96 tiny examples, whose labels follow from their values."""

    def make(values: torch.Tensor | None = None, **changes: Any) -> Steps:
        made = part(96) if values is None else Part(values, torch.zeros(len(values), dtype=torch.int64), torch.arange(96))
        labels = (made.values.float().mean((1, 2)) > 127).long() if values is None else made.labels
        store = Store(Part(made.values, labels, made.index), CPU, 1)
        optim = config.Optim(**changes)

        def steps(batch: int, rate: Callable[[int], float]) -> Iterator[loop.Report]:
            train = config.Train(batch=batch, epochs=10**6)
            batches = Batches(store, batch, 1, range(1), 0)
            return loop.train(state(optim, train), batches, train, optim, 0, rate)

        return steps

    return make


def trials(steps: Steps, peaks: list[int], room: int, count: int = 96, deadline: float = NEVER) -> list[Trial]:
    """The trials from a batch of 16 on, where memory is what ``peaks`` says, one after the other."""
    left = iter(peaks)
    return list(find_batch(steps, Sizes(16, 10**6, count), Memory(next(left), lambda: next(left), lambda: room), deadline))


@pytest.mark.parametrize("each", [0.0, 0.02])
def test_a_gpu_is_given_several_steps_at_once_unless_they_take_long(monkeypatch: pytest.MonkeyPatch, each: float) -> None:
    """60 steps of a large batch would be minutes. The GPU here is one that takes ``each`` seconds a step."""
    monkeypatch.setattr(measure, "SECONDS", 0.1)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    given = [0]  # steps before each wait

    def steps(batch: int, rate: Callable[[int], float]) -> Iterator[Any]:
        while True:
            given[-1] += 1
            yield

    def waits() -> None:
        time.sleep(each * given[-1])
        given.append(0)

    monkeypatch.setattr(torch.cuda, "synchronize", waits)
    speed = measure.speed_of(steps, 8)
    alone, *timed = given[measure.GRAPHED : -1]
    assert alone == 1
    if each:
        assert sum(timed) <= 15 and speed <= 8 / each
    else:
        assert {*timed} == {measure.TOGETHER}


def test_a_batch_that_memory_might_not_hold_is_never_tried(steps: Callable[..., Steps]) -> None:
    # 16 added 40 to the floor of 100, so that 32 can add 80 at most; 32 added 70, so that 64 may add 140
    found = trials(steps(), [100, 140, 170], room=200)
    assert [trial.batch for trial in found] == [16, 32]
    assert [trial.memory for trial in found] == [140, 170]
    assert found[0].end is None and found[1].end is not None
    assert found[1].end.kind == "memory" and "64 may need" in found[1].end.text


@pytest.mark.parametrize(("constant", "each"), [(0, 10), (500, 10), (10**6, 1), (0, 0)])
def test_the_prediction_is_never_below_what_the_double_takes(constant: int, each: int) -> None:
    for batch in (16, 32, 512):
        for times in (0.5, 1.5, 2, 8):
            assert batch_search.memory_of(times, 100, 100 + constant + each * batch) >= 100 + constant + each * times * batch


def test_an_allocation_that_fails_ends_the_trials(steps: Callable[..., Steps]) -> None:
    real = steps()

    def greedy(batch: int, rate: Callable[[int], float]) -> Iterator[loop.Report]:
        torch.empty(1 << (50 if batch > 32 else 10), dtype=torch.uint8)
        yield from real(batch, rate)

    found = trials(greedy, [0] * 9, room=10**9)
    assert [(trial.batch, trial.samples_per_second > 0) for trial in found] == [(16, True), (32, True), (64, False)]
    assert found[-1].end == End("memory", "64 do not fit into memory")


def test_another_error_is_not_taken_for_a_lack_of_memory(steps: Callable[..., Steps]) -> None:
    def broken(batch: int, rate: Callable[[int], float]) -> Iterator[loop.Report]:
        torch.ones(2) @ torch.ones(3)
        yield from ()

    with pytest.raises(RuntimeError, match="size"):
        trials(broken, [0] * 9, room=10**9)


def test_no_batch_exceeds_the_training_part(steps: Callable[..., Steps]) -> None:
    found = trials(steps(), [0] * 9, room=10**9)
    assert [trial.batch for trial in found] == [16, 32, 64]
    assert found[-1].end == End("data", "128 are more than the 96 training examples")


def test_trials_end_in_time(steps: Callable[..., Steps]) -> None:
    found = trials(steps(), [0] * 9, room=10**9, deadline=time.monotonic())
    assert [trial.end and trial.end.kind for trial in found] == ["time"]


@pytest.mark.parametrize(("budget", "tried"), [(9.9, [16]), (10.1, [16, 32]), (23.2, [16, 32]), (23.4, [16, 32, 64])])
def test_no_trial_is_begun_that_would_end_after_the_deadline(
    monkeypatch: pytest.MonkeyPatch, budget: float, tried: list[int]
) -> None:
    """A trial of 16 takes 10/3 seconds, and each takes twice as long as the one before."""
    now = 0.0
    monkeypatch.setattr(batch_search, "monotonic", lambda: now)

    def timed(steps: Steps, batch: int) -> float:
        nonlocal now
        now += batch / 16 * 10 / 3
        return float(batch**2)

    monkeypatch.setattr(batch_search, "speed_if_it_fits", timed)
    found = list(find_batch(lambda batch, rate: iter(()), Sizes(16, 10**6, 10**6), Memory(0, lambda: 0, lambda: 1), budget))
    assert [trial.batch for trial in found] == tried
    assert found[-1].end is not None and found[-1].end.kind == "time" and now <= budget


def test_trials_end_when_larger_batches_are_no_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(measure, "perf_counter", lambda: now)

    def steady(batch: int, rate: Callable[[int], float]) -> Iterator[Any]:
        nonlocal now
        for step in itertools.count():
            now += 100 if step < 2 else batch / 4000  # the first steps are slow, and do not count
            yield None

    found = list(find_batch(steady, Sizes(4, 8, 10**6), Memory(0, lambda: 0, lambda: 1), NEVER))
    assert [trial.batch for trial in found] == [4, 8, 16]
    assert [trial.samples_per_second for trial in found] == pytest.approx([4000] * 3)
    assert found[-1].end and found[-1].end.kind == "growth"


def test_the_fastest_is_the_smallest_that_is_as_good_as_the_best() -> None:
    assert batch_search.fastest({16: 50.0, 32: 97.5, 64: 100.0, 128: 99.0}) == 32


def test_speeds_of_threads_are_taken_with_those_threads_and_leave_them_as_they_were(
    steps: Callable[..., Steps],
) -> None:
    real, seen = steps(), []

    def watched(batch: int, rate: Callable[[int], float]) -> Iterator[loop.Report]:
        seen.append(torch.get_num_threads())
        yield from real(batch, rate)

    before = torch.get_num_threads()
    assert list(batch_search.speeds_of_threads(watched, 16, [1, 2], NEVER)) == [1, 2] == seen
    assert list(batch_search.speeds_of_threads(watched, 16, [1, 2], 0.0)) == [1]
    assert torch.get_num_threads() == before


def test_the_range_test_takes_each_rate_once_and_smooths_as_it_says(steps: Callable[..., Steps]) -> None:
    test = range_test.range_test(steps(clip=1.0), 32, number=40)
    np.testing.assert_allclose(test.rates, np.geomspace(1e-5, 10, 40)[: len(test.rates)])
    share = 0.9 ** np.arange(len(test.losses))[::-1]  # the weight of each loss in the last mean
    assert test.smoothed[-1] == pytest.approx(np.average(test.losses, weights=share))
    assert min(test.smoothed) < test.losses[0]


def test_the_range_test_ends_where_the_loss_has_grown_fourfold() -> None:
    losses = [2.0, 1.0, *[1.0] * 20, *[50.0] * 20]

    def reports(batch: int, rate: Callable[[int], float]) -> Iterator[loop.Report]:
        for step, loss in enumerate(losses):
            yield loop.Report(step + 1, rate(step), batch, torch.tensor(loss), [], None)

    test = range_test.range_test(reports, 16, number=42)
    assert test.end.kind == "loss" and "4 times" in test.end.text
    assert test.losses == losses[:23]


def test_a_loss_that_is_not_a_number_and_is_not_refused_at_once_ends_the_range_test_before_it() -> None:
    def reports(batch: int, rate: Callable[[int], float]) -> Iterator[loop.Report]:
        for step, loss in enumerate([3.0, 2.0, 1.0, *[float("nan")] * 20]):
            yield loop.Report(step + 1, rate(step), batch, torch.tensor(loss), [], None)

    test = range_test.range_test(reports, 16, number=42)
    assert test.losses == [3.0, 2.0, 1.0] and test.end.kind == "loss"
    assert range_test.suggestion(test) is not None


def test_a_loss_that_is_not_a_number_ends_the_range_test(steps: Callable[..., Steps]) -> None:
    values = torch.ones(96, 5, 3)
    values[70] = torch.nan
    test = range_test.range_test(steps(values), 8)
    assert 0 < len(test.losses) < 12 and np.isfinite(test.losses).all()
    assert test.end.kind == "loss" and "not finite" in test.end.text


def test_the_suggestion_lies_between_the_steepest_descent_and_the_least_loss() -> None:
    rates, end = np.geomspace(1e-4, 1, 81), End("range", "")
    x = np.log10(rates)
    # steepest at 0.01, least at 0.1: a sigmoid down and a wall
    curve = (2 - 1 / (1 + np.exp(-6 * (x + 2))) + np.where(x > -1, 5 * (x + 1), 0)).tolist()
    assert range_test.suggestion(RangeTest(rates.tolist(), curve, curve, end)) == pytest.approx(0.5 * 10**-1.5, rel=0.1)


@pytest.mark.parametrize("losses", [[], [2.0, 2.0, 1.95, 3.0], [2.0, 2.5, 9.0, 9.0]])
def test_nothing_is_suggested_where_the_loss_never_fell(losses: list[float]) -> None:
    assert range_test.suggestion(RangeTest([0.001, 0.01, 0.1, 1.0][: len(losses)], losses, losses, End("loss", ""))) is None


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {}, 4096_000),
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "3000000", "a/memory.current": "1000000"}, 2_000_000),
        ("0::/lost", {"memory.max": "100", "memory.current": "300"}, 0),
        ("4:memory:/x\n0::/", {"memory/x/memory.limit_in_bytes": "500", "memory/x/memory.usage_in_bytes": "100"}, 400),
        ("4:memory:/x", {"memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "1"}, 4096_000),
    ],
)
def test_available_memory_is_the_least_of_the_machine_and_its_groups(
    tmp_path: Path, groups: str, files: dict[str, str], expected: int
) -> None:
    for name, text in {"proc/meminfo": "MemAvailable:    4000 kB\n", "proc/self/cgroup": groups + "\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name, text in files.items():
        (tmp_path / "sys/fs/cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/fs/cgroup" / name).write_text(text + "\n")
    assert memory.available(tmp_path) == expected


def test_the_peak_remembers_what_was_freed() -> None:
    before = memory.peak(CPU)
    torch.ones(before // 4 + 2**23)  # four bytes each: more than was ever in use
    assert memory.peak(CPU) > before + 2**24
    assert memory.room(CPU) > 2**20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared digits and a finished run."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", *SMOKE, cwd=folder)
    succeed("train", *SMOKE, "train.epochs=1", "run.dir=runs/smoke", cwd=folder)
    return folder


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith((".output", checksums.NAME)) and "tuning" not in path.parts
    }


def global_state() -> tuple[Any, ...]:
    cudnn = torch.backends.cudnn
    flags = (cudnn.deterministic, cudnn.allow_tf32, torch.are_deterministic_algorithms_enabled(), torch.get_num_threads())
    return random.getstate(), torch.get_rng_state().tolist(), flags, os.environ.get("CUBLAS_WORKSPACE_CONFIG")


def test_tune_writes_its_own_folder_and_nothing_else_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], accelerator: Accelerator
) -> None:
    monkeypatch.chdir(folder)
    before = contents(folder)
    states = global_state()
    overrides = ("train.epochs=1", "run.dir=runs/smoke", "run.deterministic=true", "optim.clip=1.0")
    for _ in range(2):  # the second replaces the first
        tune.tune(config.load(SMOKE[1], overrides), SMOKE[1], 600)
    shown = capsys.readouterr().out
    assert global_state() == states
    assert contents(folder) == before
    assert sorted(path.name for path in (folder / "tuning").iterdir()) == ["smoke"]
    assert sorted(path.name for path in (folder / "tuning/smoke").iterdir()) == ["batch.json", "rate.json", "rate.png"]
    batch, rate = (json.loads((folder / "tuning/smoke" / name).read_text()) for name in ("batch.json", "rate.json"))
    assert [trial["batch"] for trial in batch["trials"]][:3] == [16, 32, 64]
    assert batch["configured"] == 96 and "1" in batch["threads"]["96"]
    assert len(rate["rates"]) == len(rate["smoothed"]) > 100
    for advice in (f"train.batch={batch['fastest']}", "run.threads=", f"optim.lr={rate['suggestion']:g}"):
        assert advice in shown
    assert 0.005 < rate["suggestion"] < 0.3


def test_a_run_after_tune_is_the_run_without_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, accelerator: Accelerator
) -> None:
    from pipeline.stages import train

    monkeypatch.chdir(folder)
    settings = config.load(SMOKE[1], ("train.epochs=1", "run.dir=runs/after"))
    tune.tune(settings, SMOKE[1], 1)
    train.train(settings)
    assert weights(folder / "runs/after") == weights(folder / "runs/smoke")


def test_other_work_on_the_machine_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(os, "getloadavg", lambda: (0.9, 9.0, 9.0))
    tune.warn_of_other_work()
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(os, "getloadavg", lambda: (1.6, 0.0, 0.0))
    tune.warn_of_other_work()
    assert "warning: a load of 1.6 on 2 cores" in capsys.readouterr().out


def test_too_little_time_for_a_range_test_is_said_with_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune.enough_time(60, 0.1)
    assert not tune.enough_time(30, 2.0)
    assert capsys.readouterr().out == "no range test: its 200 steps take about 400 s; type --budget 1000\n"


def test_a_configured_batch_that_does_not_fit_is_refused_with_one_that_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch, accelerator: Accelerator
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(memory, "room", lambda device: 1)
    with pytest.raises(UserError, match=r"train\.batch = 96 may not fit into memory; type train\.batch=16,"):
        tune.tune(config.load(SMOKE[1]), "small.yaml", 20)
    assert not (folder / "tuning/small").exists()


def test_a_configured_batch_that_was_not_tried_is_not_begun_if_it_might_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [Trial(16, 100.0, 1600, End("time", ""))]
    monkeypatch.setattr(memory, "room", lambda device: 6500)
    with tune.refused_if_too_large(64, trials, 0, CPU):
        pass  # 6,400 at most
    with (
        pytest.raises(UserError, match=r"train\.batch = 128 .* a larger --budget"),
        tune.refused_if_too_large(128, trials, 0, CPU),
    ):
        pytest.fail("it was begun")
    with pytest.raises(UserError, match=r"train\.batch = 64"), tune.refused_if_too_large(64, trials, 0, CPU):
        torch.empty(1 << 50, dtype=torch.uint8)


def test_several_processes_are_refused(folder: Path) -> None:
    status, shown = run("tune", *SMOKE, cwd=folder, processes=2)
    assert (status, shown.count("error:")) == (2, 1), shown
    assert "tune measures one process, and 2 were started; type: python -m pipeline tune --config" in shown


def test_a_folder_with_other_files_is_not_replaced(folder: Path) -> None:
    notes = folder / "tuning/mine/notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("keep")
    (folder / "mine.yaml").write_text("model:\n  hidden: 8\n")
    status, shown = run("tune", "--config", "mine.yaml", cwd=folder)
    assert (status, shown.count("error:")) == (2, 1), shown
    assert "tuning/mine: holds other files (notes.txt)" in shown and notes.read_text() == "keep"
