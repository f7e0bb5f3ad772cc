"""What the curves of a run show."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.report.plots.training import FEW, curves, scaling_curve
from tests.report.plots.drawing import Drawn, records, texts


def test_the_step_that_was_evaluated_is_marked_in_every_panel(tmp_path: Path, drawn: Drawn) -> None:
    curves(tmp_path / "x.png", records(300), 250)
    for axes in drawn[0].axes:
        assert [250, 250] in [list(line.get_xdata()) for line in axes.lines], axes.get_ylabel()
    assert "evaluated: step 250" in texts(drawn[0])


def test_the_best_value_of_each_measure_of_the_validation_split_is_starred(tmp_path: Path, drawn: Drawn) -> None:
    curves(tmp_path / "x.png", [*records(300), {"step": 301, "valid/loss": 3.0, "valid/accuracy": 0.1}])
    stars = [
        (line.get_xdata()[0], line.get_ydata()[0]) for axes in drawn[0].axes for line in axes.lines if line.get_marker() == "*"
    ]
    assert stars == [(300, 2.0 / 300), (300, 1 - 1 / 300)]
    assert "best 0.9967 at step 300" in texts(drawn[0])


def test_few_records_are_drawn_as_they_are_and_many_as_a_mean_too(tmp_path: Path, drawn: Drawn) -> None:
    few = [{"step": 50, "train/loss": 0.6, "train/accuracy": 0.7}, {"step": 90, "train/loss": 0.02, "train/accuracy": 1.0}]
    curves(tmp_path / "x.png", few)
    curves(tmp_path / "x.png", records(FEW))
    assert [list(line.get_ydata()) for line in drawn[0].axes[0].lines] == [[0.6, 0.02]]
    assert "training batches (running mean)" not in texts(drawn[0])
    assert "training batches (running mean)" in texts(drawn[1]) and len(drawn[1].axes[0].lines) == 4


def test_a_constant_learning_rate_is_a_line_above_0(tmp_path: Path, drawn: Drawn) -> None:
    curves(tmp_path / "x.png", records(30))
    rates = drawn[0].axes[-1]
    low, high = rates.get_ylim()
    assert rates.get_ylabel() == "learning\nrate" and low == 0 and 0.01 < high < 0.02


def test_the_accuracy_of_the_training_batches_stands_beside_that_of_the_validation_split(tmp_path: Path, drawn: Drawn) -> None:
    curves(tmp_path / "x.png", [record | {"train/accuracy": 0.5} for record in records(30)])
    axes = drawn[0].axes[1]
    assert axes.get_ylabel() == "accuracy" and np.array_equal(axes.lines[0].get_ydata(), np.full(30, 0.5))


def test_a_run_without_a_validation_split_shows_the_accuracy_of_its_training_batches(tmp_path: Path, drawn: Drawn) -> None:
    bare = [{"step": step, "train/loss": 1 / step, "train/accuracy": 1 - 1 / step} for step in range(1, 20)]
    curves(tmp_path / "x.png", bare, 19, "test split: accuracy 90.00%, 30 examples")
    axes = drawn[0].axes[1]
    assert axes.get_ylabel() == "accuracy" and list(axes.lines[0].get_ydata()) == [one["train/accuracy"] for one in bare]
    assert "test split: accuracy 90.00%, 30 examples" in texts(drawn[0])


def test_steps_by_processes_stand_beside_what_could_be_had_and_what_was_measured(tmp_path: Path, drawn: Drawn) -> None:
    scaling_curve(tmp_path / "x.png", [(1, 0.008, 0.0), (2, 0.005, 0.001), (4, 0.004, 0.002)], [(2, 0.006)], "link: here")
    (axes,) = drawn[0].axes
    lines = {line.get_label(): [round(value, 6) for value in line.get_ydata()] for line in axes.lines}
    assert lines["a step, predicted"] == [8, 5, 4] and lines["if all of it could be cut"] == [8, 4, 2]
    assert lines["of it the exchange of gradients"] == [1, 2] and lines["measured here"] == [6]
    assert "link: here" in texts(drawn[0])
