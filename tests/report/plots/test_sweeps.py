"""What the pictures of a sweep show."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.report.plots.sweeps import MOST, history, parameters
from tests.report.plots.drawing import Drawn, texts

TRIALS = [(0, 0.5, True), (1, 0.9, False), (2, 0.8, True), (3, 0.7, True)]


@pytest.mark.parametrize(
    ("maximized", "best", "so_far"), [(True, (2, 0.8), [0.5, 0.8, 0.8]), (False, (0, 0.5), [0.5, 0.5, 0.5])]
)
def test_the_best_so_far_is_of_finished_trials_and_its_first_is_starred(
    tmp_path: Path, drawn: Drawn, maximized: bool, best: tuple[int, float], so_far: list[float]
) -> None:
    history(tmp_path / "x.png", TRIALS, "valid/accuracy", maximized)
    (axes,) = drawn[0].axes
    line, star = axes.lines
    assert list(line.get_ydata()) == so_far
    assert (star.get_xdata()[0], star.get_ydata()[0]) == best
    said = texts(drawn[0])
    assert f"best: trial {best[0]}, valid/accuracy {best[1]:.4f}; 3 of 4 trials finished" in said
    assert "stopped early: the best until then" in said


def test_a_sweep_without_a_finished_trial_is_drawn_too(tmp_path: Path, drawn: Drawn) -> None:
    history(tmp_path / "x.png", [(0, 0.5, False)], "valid/loss", False)
    assert "valid/loss, lower is better" in texts(drawn[0])


def test_each_parameter_has_a_panel_and_the_most_important_is_first(tmp_path: Path, drawn: Drawn) -> None:
    values = {
        "optim.lr": [0.001, 0.01, 0.1, 0.1],
        "model.cell": ["gru", "lstm", "gru", "rnn"],
        "train.bucket": [True, False] * 2,
    }
    measured = [(value, whole) for _, value, whole in TRIALS]
    parameters(tmp_path / "x.png", values, measured, {"optim.lr": 0.3, "model.cell": 0.7}, "valid/accuracy")
    axes = drawn[0].axes
    assert [one.get_title() for one in axes] == ["model.cell\nimportance 70%", "optim.lr\nimportance 30%", "train.bucket"]
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["gru", "lstm", "rnn"]
    assert axes[1].get_xscale() == "log" and axes[0].get_xscale() == "linear"
    finished = axes[0].collections[0].get_offsets()
    assert [tuple(point) for point in finished] == [(0.0, 0.5), (0.0, 0.8), (2.0, 0.7)]


def test_of_many_parameters_the_most_important_are_drawn(tmp_path: Path, drawn: Drawn) -> None:
    values = {f"a.{number}": [1, 2, 3, 4] for number in range(MOST + 3)}
    measured = [(value, whole) for _, value, whole in TRIALS]
    parameters(tmp_path / "x.png", values, measured, {"a.14": 1.0}, "valid/accuracy")
    shown = [one for one in drawn[0].axes if one.get_visible()]
    assert len(shown) == MOST and shown[0].get_title() == "a.14\nimportance 100%"
