"""The number of processes changes the speed, never the mathematics."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from pipeline.distributed.cores import pinned
from tests.support.launching import ROOT, Job, losses, numbers, reached, records, succeed, wait_until, weights

SMOKE = str(ROOT / "configs/smoke.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which the data of smoke.yaml is prepared."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", "--config", SMOKE, cwd=folder)
    return folder


def test_losses_of_the_first_20_steps_agree_over_1_2_and_3_processes(folder: Path) -> None:
    for processes in (1, 2, 3):
        said = succeed("train", "--config", SMOKE, f"run.dir=plain{processes}", cwd=folder, processes=processes)
        assert f"{processes} process" in said
    one = losses(folder / "plain1")[:20]
    assert len(one) == 20
    assert one[0] > 1.1 * one[-1], "it learns"
    for processes in (2, 3):
        np.testing.assert_allclose(losses(folder / f"plain{processes}")[:20], one, rtol=1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_gradient_itself_agrees_over_1_2_and_3_processes(folder: Path, accumulate: int) -> None:
    """Adam takes out a wrong scale, and so does no clipping: here SGD takes the gradient as it is, and its norm is compared."""
    options = ["optim.name=sgd", "optim.lr=0.05", "optim.clip=0.15", "train.log_every=1", f"train.accumulate={accumulate}"]
    found = {}
    for processes in (1, 2, 3):
        name = f"scale{accumulate}{processes}"
        succeed("train", "--config", SMOKE, f"run.dir={name}", *options, cwd=folder, processes=processes)
        steps = [record for record in records(folder / name) if "train/loss" in record][:20]
        found[processes] = [(record["train/loss"], record["train/grad_norm"]) for record in steps]
    assert len(found[1]) == 20 and any(norm > 0.15 for _, norm in found[1]), "it clips"
    for processes in (2, 3):
        np.testing.assert_allclose(found[processes], found[1], rtol=1e-5)


def test_processes_agree_on_what_trains_the_recurrent_layers(folder: Path) -> None:
    """One of two has no compiler: both train by torch."""
    empty = folder / "empty"
    empty.mkdir()
    arguments = ("train", "--config", SMOKE, "run.dir=agreed", "model.hidden=16")
    job = Job(*arguments, cwd=folder, processes=2, paths={1: "/none"}, XDG_CACHE_HOME=str(empty))
    statuses, output = job.wait()
    assert statuses == [0, 0], output
    assert "by torch, not by our own kernel: there is no C++ compiler" in output


def test_losses_are_the_golden_ones(folder: Path) -> None:
    if not (folder / "plain1").exists():
        succeed("train", "--config", SMOKE, "run.dir=plain1", cwd=folder, processes=1)
    golden = json.loads((ROOT / "tests/golden/smoke.json").read_text())
    np.testing.assert_allclose(losses(folder / "plain1"), golden["train/loss"], rtol=1e-4)


def test_exact_mode_gives_the_same_bits_on_1_2_and_4_processes(folder: Path) -> None:
    exact = ["train.gradient_shards=4", "model.layers=2", "model.dropout=0.2", "train.ema=0.9"]
    exact += ["data.shift=1", "data.rotate=10", "data.elastic=1"]
    for processes in (1, 2, 4):
        succeed("train", "--config", SMOKE, f"run.dir=exact{processes}", *exact, cwd=folder, processes=processes)
    assert len({weights(folder / f"exact{processes}") for processes in (1, 2, 4)}) == 1
    assert numbers(folder / "exact1") == numbers(folder / "exact2") == numbers(folder / "exact4")


def test_accumulation_is_exact_on_two_processes(folder: Path) -> None:
    for accumulate in (1, 4):
        name = f"accumulate{accumulate}"
        overrides = [f"run.dir={name}", f"train.accumulate={accumulate}"]
        succeed("train", "--config", SMOKE, *overrides, cwd=folder, processes=2)
    np.testing.assert_allclose(losses(folder / "accumulate4")[:20], losses(folder / "accumulate1")[:20], rtol=1e-5)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="NOT TESTED: processes on cores of their own need two cores")
@pytest.mark.parametrize("how", ["free", "off", "bound before", "too few cores", "alone"])
def test_processes_train_on_cores_of_their_own_if_nobody_bound_them(folder: Path, how: str) -> None:
    ours = os.sched_getaffinity(0)
    first = {min(ours)}
    overrides = {"off": ["run.pin=false"], "too few cores": [f"run.threads={len(ours) // 2 + 1}"]}.get(how, [])
    arguments = ("--config", SMOKE, f"run.dir=pin {how}", "train.epochs=100000", "train.log_every=50", *overrides)
    job = Job("train", *arguments, cwd=folder, processes=1 if how == "alone" else 2)
    try:
        if how == "bound before":
            os.sched_setaffinity(job.processes[0].pid or 0, first)
        wait_until(lambda: reached(folder / f"pin {how}", 50), "step 50")
        found = [os.sched_getaffinity(process.pid or 0) for process in job.processes]
    finally:
        job.signal(signal.SIGTERM)
        statuses, _ = job.wait()
    assert statuses == [143] * len(statuses)
    expected = {"bound before": [first, ours], "alone": [ours]}.get(how, [ours, ours])
    if how == "free":
        assert found[0] | found[1] <= ours and not found[0] & found[1]
        assert len(found[0]) == len(found[1]) == len(ours) // 2
    else:
        assert found == expected


CPUS = frozenset(range(8))


@pytest.mark.parametrize(
    ("everyone", "rank", "expected"),
    [
        ([("a", CPUS)] * 2, 0, {0, 1, 4, 5}),
        ([("a", CPUS)] * 2, 1, {2, 3, 6, 7}),
        ([("a", CPUS), ("b", CPUS)], 1, None),
        ([("a", CPUS), ("b", CPUS), ("b", CPUS)], 2, {2, 3, 6, 7}),
        ([("a", CPUS), ("a", frozenset(range(4)))], 0, None),
        ([("a", CPUS)] * 9, 8, None),
        ([("a", CPUS)] * 3, 2, {2, 6}),
        ([("a", CPUS)], 0, None),
    ],
)
def test_shares_are_whole_cores_and_what_was_before_comes_back(
    monkeypatch: pytest.MonkeyPatch, everyone: list[tuple[str, frozenset[int]]], rank: int, expected: set[int] | None
) -> None:
    """Eight threads of four cores: 0 and 4 are one, and so on."""
    bound: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: everyone[rank][1])
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cpus: bound.append(set(cpus)))
    monkeypatch.setattr("pipeline.distributed.cores.gather", lambda _: everyone)
    monkeypatch.setattr("pipeline.distributed.cores.rank", lambda: rank)
    monkeypatch.setattr("pipeline.distributed.cores._core", lambda cpu: (0, cpu % 4, cpu))
    with pytest.raises(KeyError), pinned():
        assert bound == ([] if expected is None else [expected])
        raise KeyError
    assert bound[1:] == ([] if expected is None else [set(everyone[rank][1])])
