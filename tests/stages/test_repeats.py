"""Folds and seeds: each is a run of its own, found again by the same command; what they gave stands in one file."""

from __future__ import annotations

import csv
import json
import math
import signal
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline import fit
from pipeline.data.prepared import open_prepared
from pipeline.run.folder import settings_of
from pipeline.stages.repeats import summary
from tests.support.launching import Job, numbers, run, succeed, wait_until, weights
from tests.support.raw_files import small_disk

TRAIN = ("train", "--config", "own.yaml")
FOLDS = (*TRAIN, "train.folds=3")
SEEDS = ("seeds", "--config", "own.yaml", "--count", "3")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A working folder with a long table of 40 series of 10 persons, and a configuration for it."""
    random = np.random.default_rng(0)
    with (tmp_path / "own.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "time", "a", "b", "label", "person"])
        for number in range(40):
            for step in range(5):
                values = (f"{value:.4f}" for value in random.normal(number % 2, 1, 2))
                rows.writerow([f"s{number:02}", 100 * number + step, *values, "xy"[number % 2], f"p{number // 4}"])
    (tmp_path / "own.yaml").write_text(
        "data: {source: csv, path: own.csv, channels: [a, b]}\nmodel: {hidden: 4, head_dropout: 0.1}\ntrack: {backends: []}\n"
        "train: {epochs: 3, batch: 8, checkpoint_every: 1, log_every: 1}\n"
    )
    return tmp_path


def said(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def held_out(number: int) -> list[int]:
    """Which series of the file a fold was measured on."""
    prepared = open_prepared(settings_of(Path(f"runs/own/folds/{number}")).data)
    found: list[int] = prepared.part("valid").index.tolist()
    return found


def test_each_training_example_is_held_out_once_and_the_test_split_never(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    output = succeed(*FOLDS, cwd=own)
    found = said(own / "runs/own/folds.json")
    accuracies = [one["accuracy"] for one in found["each"]]
    assert found["folds"] == 3 and found["how"] == "stratified" and len(accuracies) == 3
    assert found["accuracy"]["mean"] == pytest.approx(mean(accuracies))
    assert found["accuracy"]["std"] == pytest.approx(stdev(accuracies))
    line = f"cross-validation, 3 folds (stratified): accuracy {mean(accuracies):.4f} +- {stdev(accuracies):.4f}"
    assert output.count(line) == 1 and "the test split was not used" in output
    succeed(*TRAIN, cwd=own)
    test = set(open_prepared(settings_of(Path("runs/own")).data).part("test").index.tolist())
    assert sorted(row for number in (1, 2, 3) for row in held_out(number)) == sorted(set(range(40)) - test) and len(test) == 8


def test_what_is_typed_after_a_cross_validation_trains_in_the_same_folder(own: Path) -> None:
    last = succeed(*FOLDS, cwd=own).splitlines()[-1]
    assert last == "next: python -m pipeline train --config runs/own/config.yaml run.dir=runs/own"
    output = succeed(*last.removeprefix("next: python -m pipeline ").split(), cwd=own)
    assert "evaluate --run runs/own" in output and (own / "runs/own/checkpoints").is_dir()
    assert "nothing to do" in succeed(*TRAIN, cwd=own)
    assert sorted(path.name for path in (own / "runs").iterdir()) == ["own"]


@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize(("command", "second"), [(FOLDS, "folds/2"), (SEEDS, "seed-2")], ids=["folds", "seeds"])
@pytest.mark.parametrize("end", ["kill", "term"])
def test_what_was_ended_goes_on_with_the_same_bits(own: Path, command: Any, second: str, processes: int, end: str) -> None:
    succeed(*command, "run.dir=whole", cwd=own, processes=processes)
    job = Job(*command, "run.dir=broken", cwd=own, processes=processes)
    wait_until(lambda: len(list((own / "broken" / second).glob("checkpoints/step_*"))), "the second one")
    job.signal(signal.SIGKILL if end == "kill" else signal.SIGTERM)
    statuses, output = job.wait()
    assert all(status in ((-9,) if end == "kill" else (143, 0)) for status in statuses), output
    first = {path: path.stat().st_mtime_ns for path in (own / "broken").rglob("*1/checkpoints/*/model.safetensors")}
    assert first
    output = succeed(*command, "run.dir=broken", cwd=own, processes=processes)
    assert "nothing to do" in output
    assert {path: path.stat().st_mtime_ns for path in first} == first
    names = [f"folds/{number}" if command is FOLDS else f"seed-{number}" for number in (1, 2, 3)]
    for name in names:
        assert weights(own / "whole" / name) == weights(own / "broken" / name)
        assert numbers(own / "whole" / name) == numbers(own / "broken" / name)
    file = "folds.json" if command is FOLDS else "seeds.json"
    whole, broken = (said(own / name / file) for name in ("whole", "broken"))
    for one in (*whole["each"], *broken["each"]):
        del one["folder"]
    assert whole == broken


def test_groups_stay_whole_in_folds(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    output = succeed(*FOLDS, "data.group=person", "data.split=group", cwd=own)
    assert "3 folds (by group)" in output
    persons = [{index // 4 for index in held_out(number)} for number in (1, 2, 3)]
    assert not persons[0] & persons[1] and not persons[1] & persons[2] and not persons[0] & persons[2]


def test_folds_by_time_are_trained_on_what_was_before(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    assert "3 folds (forward in time)" in succeed(*FOLDS, "data.split=time", cwd=own)
    assert [held_out(number) for number in (1, 2, 3)] == [list(range(8, 16)), list(range(16, 24)), list(range(24, 32))]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("train.folds=1",), "train.folds: takes two parts or more"),
        (("train.folds=30",), "no class has so many examples; set train.folds=16 or less"),
        (
            ("train.folds=9", "data.group=person", "data.split=group"),
            "there are 8 groups to train on; set train.folds=8 or less",
        ),
    ],
)
def test_folds_that_cannot_be_had_are_refused_with_what_can(own: Path, overrides: tuple[str, ...], says: str) -> None:
    status, output = run(*TRAIN, *overrides, cwd=own)
    assert status == 2 and says in output and "Traceback" not in output, output


def test_a_full_disk_ends_with_one_message_and_what_was_done_stays(own: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "200k") as disk:
        status, output = run(*FOLDS, f"run.dir={disk}/run", "train.keep_last=100", "model.hidden=16", cwd=own)
        assert status == 2 and output.count("error:") == 1 and "the disk is full" in output and "Traceback" not in output, (
            output
        )
        for checkpoint in (disk / "run/folds").glob("*/checkpoints/step_*"):
            assert {"manifest.json", "state.json", "model.safetensors"} <= {path.name for path in checkpoint.iterdir()}


def test_the_interval_of_a_share_ends_at_0_and_1_and_that_of_a_loss_at_0_alone() -> None:
    assert (found := summary([0.9, 1.0], 1.0))["high"] == 1.0 and found["low"] == pytest.approx(0.95 - 12.7062 * 0.05, abs=1e-4)
    assert (found := summary([0.0, 1.0], math.inf))["low"] == 0.0 and found["high"] > 6


def test_seeds_are_the_runs_of_these_seeds_and_their_spread_is_said(own: Path) -> None:
    output = succeed(*SEEDS, cwd=own)
    found = said(own / "runs/own/seeds.json")
    accuracies = [one["accuracy"] for one in found["each"]]
    line = f"3 seeds: accuracy {mean(accuracies):.4f} +- {stdev(accuracies):.4f} (standard deviation), "
    assert output.count(line + f"{min(accuracies):.4f} to {max(accuracies):.4f}; 95 % interval of the mean") == 1
    half = 4.302652729911275 * stdev(accuracies) / 3**0.5  # Student's t of two degrees of freedom
    low, high = mean(accuracies) - half, mean(accuracies) + half
    expected = max(0.0, low), min(1.0, high)
    assert (found["accuracy"]["low"], found["accuracy"]["high"]) == pytest.approx(expected)
    assert f"95 % interval of the mean {expected[0]:.4f} to {expected[1]:.4f}" in output
    for command in ("summary", "evaluate"):
        status, refused = run(command, "--run", "runs/own", cwd=own)
        assert status == 2 and "runs/own: holds runs of several seeds and no model of its own; name one of them" in refused
    succeed(*TRAIN, "run.seed=2", "run.dir=alone", cwd=own)
    assert weights(own / "alone") == weights(own / "runs/own/seed-2")
    assert yaml.safe_load((own / "runs/own/seed-3/config.yaml").read_text())["run"]["seed"] == 3
    more = succeed(*SEEDS[:3], "--count", "4", cwd=own)
    assert more.count("nothing to do") == 3 and len(said(own / "runs/own/seeds.json")["each"]) == 4
    with (own / "runs/own/seed-1/results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1, "what was measured is not measured again"


def test_another_configuration_of_seeds_or_folds_gets_another_folder(own: Path) -> None:
    succeed(*SEEDS[:3], "--count", "1", cwd=own)
    output = succeed(*FOLDS, "train.folds=2", "optim.lr=0.02", cwd=own)
    assert "runs/own: belongs to another run (optim.lr: 0.01 -> 0.02); this one is runs/own-2" in output
    assert (own / "runs/own-2/folds.json").exists()


def test_folds_from_python(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    done = fit("own.yaml", "train.folds=2")
    assert said(done.folder / "folds.json")["folds"] == 2
