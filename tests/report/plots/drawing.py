"""Each picture of the package with small data, and what a picture says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from pipeline.report.plots.data import data_report, image_grid
from pipeline.report.plots.evaluation import confusion, reliability
from pipeline.report.plots.series import series_grid
from pipeline.report.plots.sweeps import history, parameters
from pipeline.report.plots.training import curves, rate_range

Drawn = list[Figure]


def texts(figure: Figure) -> list[str]:
    """What is written in a picture: titles, labels, names, numbers."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def cells(classes: int) -> Any:
    """The cells of a confusion matrix (K, 3), most examples on the diagonal: label, prediction, count."""
    random = np.random.default_rng(0)
    matrix = random.integers(0, 9, (classes, classes)) * (random.random((classes, classes)) < 0.3)
    matrix += 900 * np.eye(classes, dtype=np.int64)
    places = np.argwhere(matrix)
    return np.column_stack([places, matrix[tuple(places.T)]])


def records(steps: int) -> list[dict[str, Any]]:
    """The records of a run, with an evaluation every ten steps."""
    return [
        {"step": step, "train/loss": 2.3 / step, "train/lr": 0.01}
        | ({"valid/loss": 2.0 / step, "valid/accuracy": 1 - 1 / step} if step % 10 == 0 else {})
        for step in range(1, steps + 1)
    ]


def draw_samples(path: Path, names: Sequence[str]) -> None:
    """Images."""
    images = np.random.default_rng(0).integers(0, 255, (40, 28, 28))
    image_grid(path, images, [names[n % len(names)] for n in range(40)], "40 of 300 training examples")


def draw_series(path: Path, names: Sequence[str]) -> None:
    """Series of unequal lengths; classes and channels have the names."""
    sequences = [np.random.default_rng(n).normal(size=(10 + n, min(len(names), 12))) for n in range(11)]
    titles = [names[n % len(names)] for n in range(11)]
    series_grid(path, sequences, titles, names[:12], "11 of 300 training examples", "value")


def draw_reliability(path: Path, names: Sequence[str]) -> None:
    """Four bins, one of them empty."""
    counts = np.array([0, 2, 3, 50])
    confidence, accuracy = np.array([np.nan, 0.3, 0.6, 0.9]), np.array([np.nan, 0.5, 2 / 3, 0.88])
    reliability(path, confidence, accuracy, counts, "test split: accuracy 85.45%, 55 examples")


def draw_report(path: Path, names: Sequence[str]) -> None:
    """Two parts; classes and channels have the names."""
    random = np.random.default_rng(0)
    numbers = {"least": -3.0, "mean": 0.5, "most": 1e5, "deviation": 20.0, "constant": False}
    channels = [numbers | {"name": name, "missing": 5 * (n == 1)} for n, name in enumerate(names)]
    counts = {name: 20 - 17 * (n % 2) for n, name in enumerate(names)}
    report = {"parts": {"train": 23, "test": 23}, "classes": {"train": counts, "test": counts}, "channels": channels}
    data_report(path, report, [random.integers(1, 90, 23) for _ in range(2)])


def draw_rates(path: Path, names: Sequence[str]) -> None:
    """A range test over six orders of magnitude."""
    rates = np.geomspace(1e-5, 10, 200)
    losses = 2 - np.exp(-((np.log10(rates) + 1) ** 2)) + np.random.default_rng(0).normal(0, 0.1, 200)
    rate_range(path, rates.tolist(), losses.tolist(), losses.tolist(), 0.025)


def draw_confusion(path: Path, names: Sequence[str]) -> None:
    """A matrix of as many classes as names."""
    confusion(path, cells(len(names)), list(names), "test split: accuracy 85.00%, 360 examples")


def draw_parameters(path: Path, names: Sequence[str]) -> None:
    """Three parameters, of which one has the names as values; some trials were stopped early."""
    random, number = np.random.default_rng(0), 3 * len(names)
    measured = [(float(value), place % 3 > 0) for place, value in enumerate(random.random(number))]
    values = {
        "optim.lr": np.geomspace(0.001, 0.1, number).tolist(),
        "model.cell": [*names] * 3,
        "train.bucket": [True] * number,
    }
    parameters(path, values, measured, {"optim.lr": 0.25, "model.cell": 0.75}, "valid/accuracy")


def draw_history(path: Path, names: Sequence[str]) -> None:
    """Twenty trials, of which every third was stopped early."""
    values = np.random.default_rng(0).random(20).tolist()
    history(path, [(number, value, number % 3 > 0) for number, value in enumerate(values)], "valid/accuracy", True)


@dataclass(frozen=True)
class Picture:
    """How a picture is drawn with ``names`` in it, if it has any: ``draw(path, names)``."""

    draw: Callable[[Path, Sequence[str]], None]
    names: bool = True


PICTURES = {
    "samples": Picture(draw_samples),
    "report": Picture(draw_report),
    "series": Picture(draw_series),
    "rates": Picture(draw_rates, names=False),
    "reliability": Picture(draw_reliability, names=False),
    "curves": Picture(lambda path, names: curves(path, records(300), 250), names=False),
    "confusion of 3": Picture(draw_confusion),
    "parameters": Picture(draw_parameters),
    "history": Picture(draw_history, names=False),
}
