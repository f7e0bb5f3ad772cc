"""The guards: the pipeline's step costs hardly more than the bare loop's, which takes the same step, and less by its own
kernel."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Literal

import pytest
import torch

from pipeline.model.cpu_lstm import Unavailable, library
from tests.benchmarks import quick

ATTEMPTS = 3  # a neighbour on the same core may spoil an attempt, and never speeds one up for long


@pytest.mark.parametrize(("cpu_lstm", "limit"), [("torch", 1.10), ("auto", 0.85)])
def test_what_a_step_costs_beside_that_of_the_bare_loop(cpu_lstm: Literal["auto", "torch"], limit: float) -> None:
    if cpu_lstm == "auto":
        try:
            library()
        except Unavailable as problem:
            pytest.skip(f"NOT TESTED: our LSTM kernel: {problem}")
    part = quick.synthetic()
    contenders = [quick.bare(part), quick.pipeline(part, cpu_lstm=cpu_lstm)]
    costs: list[float] = []
    while len(costs) < ATTEMPTS and (not costs or costs[-1] > limit):
        costs.append(median(quick.race(contenders, quick.TURN, 10)[1].cost))
    assert costs[-1] <= limit, f"times the bare step, in each attempt: {costs}"


@pytest.mark.parametrize("shards", [0, 4])
def test_both_loops_take_the_same_step(monkeypatch: pytest.MonkeyPatch, shards: int) -> None:
    """On the same rows, the losses of the first steps are the same: the guard compares like with like."""
    part = quick.synthetic()
    monkeypatch.setattr(torch, "randperm", lambda count, generator=None: torch.arange(count))
    with quick.alone("fp32") as accelerator:
        theirs = [loss.item() for loss in islice(quick.bare(part).steps(accelerator), 10)]
        ours = [report.loss.item() for report in islice(quick.pipeline(part, shards=shards).steps(accelerator), 10)]
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert len(set(ours)) == 10, "it learns"


def test_the_command_prints_a_table_and_writes_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "bench.json"
    quick.main(["--steps", "2", "--repeats", "2", "--json", str(file)])
    measured = json.loads(file.read_text())
    printed = capsys.readouterr().out
    for contender in measured["contenders"]:
        assert contender["name"] in printed
        assert len(contender["samples_per_second"]) == len(contender["cost"]) == 2
        assert min(contender["samples_per_second"]) > 0 and min(contender["cost"]) > 0
    assert measured["contenders"][0]["cost"] == [1.0, 1.0], "the bare loop is its own limit"


@pytest.mark.parametrize("wrong", [["--steps", "0"], ["--repeats", "0"], ["--steps", "many"]])
def test_nonsense_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        quick.main(wrong)
    assert stopped.value.code == 2
