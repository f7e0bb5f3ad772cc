"""Pictures of a training: curves, the range test of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import starmap
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.report.plots.canvas import BLUE, GREEN, GREY, ORANGE, Array, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 2000  # of a line; more than a picture has pixels
PANELS = {"loss": 2.2, "accuracy": 1.4, "learning rate": 0.8}  # and their share of the height
FEW = 80  # records; a mean over the neighbours of fewer would say more of them than of the run


class Line:
    """The points of a line, which come in the order of their steps, as a picture shows them: all of up to POINTS, else the
    lowest and the highest of each of at most POINTS / 2 spans of as many points. It takes as little memory, however many come.
    """

    def __init__(self) -> None:
        self._spans: list[_Span] = []
        self._each = 1

    def add(self, step: float, value: float | None) -> None:
        """Take in a point; nothing if it has no value, or one that is not finite."""
        if value is None or not math.isfinite(value):
            return
        span = _Span((step, value), (step, value), step, value, 1)
        if self._spans and self._spans[-1].number < self._each:
            span = _joined(self._spans.pop(), span)
        self._spans.append(span)
        while len(self._spans) > (POINTS if self._each == 1 else POINTS // 2):
            last = self._spans[len(self._spans) // 2 * 2 :]
            self._spans = [*starmap(_joined, zip(self._spans[::2], self._spans[1::2], strict=False)), *last]
            self._each *= 2

    @property
    def points(self) -> tuple[Array, Array]:
        """Steps and values of what is shown."""
        shown = [point for span in self._spans for point in sorted({span.low, span.high})]
        steps, values = np.array(shown, dtype=np.float64).reshape(-1, 2).T
        return steps, values

    @property
    def means(self) -> tuple[Array, Array]:
        """Of each span, the mean of its steps and of its values."""
        means = [(span.steps / span.number, span.values / span.number) for span in self._spans]
        steps, values = np.array(means, dtype=np.float64).reshape(-1, 2).T
        return steps, values


class _Span(NamedTuple):
    """Points that follow each other: the lowest and the highest, the first of equals, the sums and their number."""

    low: tuple[float, float]
    high: tuple[float, float]
    steps: float
    values: float
    number: int


def _joined(one: _Span, other: _Span) -> _Span:
    low, high = min(one.low, other.low, key=itemgetter(1)), max(one.high, other.high, key=itemgetter(1))
    return _Span(low, high, one.steps + other.steps, one.values + other.values, one.number + other.number)


def curves(path: Path, records: Iterable[Mapping[str, Any]], chosen: int | None = None, title: str = "") -> None:
    """A run over its steps, from the records of metrics.jsonl: losses, accuracies, learning rate.

    What many training batches gave is drawn twice: as it was, faint, and as a running mean. The losses have a logarithmic
    scale when they span more than one order of magnitude. Missing values and null are left out.
    ``chosen``: the step whose checkpoint was evaluated, which is marked in each panel. ``title``: what stands above.
    """
    lines = {name: Line() for name in ("train/loss", "valid/loss", "train/accuracy", "valid/accuracy", "train/lr")}
    for record in records:
        for name, line in lines.items():
            line.add(record["step"], record.get(name))
    shows = {"loss": ("train/loss",), "accuracy": ("train/accuracy", "valid/accuracy"), "learning rate": ("train/lr",)}
    panels = [name for name in PANELS if name == "loss" or any(len(lines[line].points[0]) for line in shows[name])]
    figure = new_figure(7.5, 1.2 + 1.5 * len(panels))
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=[PANELS[name] for name in panels]).ravel()
    for axes, name in zip(grid, panels, strict=True):
        if name == "learning rate":
            steps, rates = lines["train/lr"].points
            axes.plot(steps, rates, color=GREY, marker=_marker(rates), markersize=3.5, linewidth=1.5)
            axes.set_ylim(0, 1.1 * rates.max() or 1)
        else:
            drawn = _both_splits(axes, lines[f"train/{name}"], lines[f"valid/{name}"], name)
        if chosen is not None:
            axes.axvline(chosen, color=GREEN, linewidth=1.2, linestyle=":", label=f"evaluated: step {chosen:,}")
        if name == "loss":
            _logarithmic_if_wide(axes, drawn)
            axes.legend(frameon=False, fontsize=9)
        axes.set_ylabel(name.replace(" ", "\n"))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    grid[-1].set_xlabel("step")
    grid[-1].xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(title, fontsize=10)
    figure.align_ylabels()
    save(figure, path)


def _both_splits(axes: Axes, train: Line, validation: Line, what: str) -> Array:
    """The loss or the accuracy of the training batches, and of the validation split with its best value marked: all values
    of the lines that are not faint."""
    (steps, values), name = train.points, "training batches"
    if len(values) >= FEW:
        axes.plot(steps, values, color=BLUE, alpha=0.3, linewidth=0.8)
        steps, means = train.means
        values, name = _running_mean(means, len(means) // 40), f"{name} (running mean)"
    axes.plot(steps, values, color=BLUE, linewidth=1.5, marker=_marker(values), markersize=3.5, label=name)
    valid_steps, valid = validation.points
    if len(valid):
        best = int(valid.argmin() if what == "loss" else valid.argmax())
        axes.plot(valid_steps, valid, color=ORANGE, marker=_marker(valid), markersize=3.5, linewidth=1.5, label="validation")
        axes.plot(valid_steps[best], valid[best], "*", color=ORANGE, markersize=11)
        if what == "accuracy":
            text = f"best {valid[best]:.4f} at step {valid_steps[best]:,.0f}"
            axes.annotate(text, (0.985, 0.08), xycoords="axes fraction", ha="right", fontsize=9, color=ORANGE)
    return np.concatenate([values, valid])


def _logarithmic_if_wide(axes: Axes, values: Array) -> None:
    from matplotlib.ticker import LogLocator

    if len(values) and values.min() > 0 and values.max() > 10 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")


def _marker(values: Array) -> str:
    return "o" if len(values) <= 60 else ""


def _running_mean(values: Array, reach: int) -> Array:
    """The mean over up to ``reach`` neighbours on each side; never more after than before, so that a steep start stays."""
    index = np.arange(len(values))
    before = np.minimum(index, reach)
    after = np.minimum(before, index[::-1])
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((sums[index + after + 1] - sums[index - before]) / (before + after + 1))


def rate_range(
    path: Path, rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float | None
) -> None:
    """A range test: the loss, as it was and smoothed, over the rates of its steps, and the suggested rate, if any."""
    figure = new_figure(7.5, 4.2)
    axes = figure.subplots()
    axes.plot(rates, losses, color=BLUE, alpha=0.3, linewidth=0.8, label="loss of a batch")
    axes.plot(rates, smoothed, color=BLUE, linewidth=1.8, label="smoothed")
    if suggestion:
        axes.axvline(suggestion, color=ORANGE, linewidth=1.5, linestyle="--", label=f"suggestion: optim.lr={suggestion:g}")
    if len(smoothed):
        low, first = min(losses), max(smoothed[: 1 + len(smoothed) // 2])
        axes.set_ylim(
            low - 0.05 * (first - low) - 0.01, first + 0.25 * (first - low) + 0.01
        )  # what diverged leaves the picture
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    save(figure, path)


def scaling_curve(
    path: Path, predicted: Sequence[tuple[int, float, float]], measured: Sequence[tuple[int, float]], caption: str
) -> None:
    """Steps by the number of processes: ``predicted`` (processes, seconds of a step, of them for the exchange) and ``measured``
    (processes, seconds)."""
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    numbers = [number for number, _, _ in predicted]
    axes.plot(numbers, [1e3 * step for _, step, _ in predicted], "o-", color=BLUE, label="a step, predicted")
    axes.plot(
        numbers, [1e3 * predicted[0][1] / number for number in numbers], "--", color=GREY, label="if all of it could be cut"
    )
    several = [(number, 1e3 * exchange) for number, _, exchange in predicted if exchange]
    if several:
        axes.plot(*zip(*several, strict=True), "s-", color=ORANGE, label="of it the exchange of gradients")
    if measured:
        places, seconds = zip(*measured, strict=True)
        axes.plot(places, [1e3 * took for took in seconds], "*", color=GREEN, markersize=12, label="measured here")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(numbers, [f"{number:,}" for number in numbers])
    axes.set_xlabel("processes")
    axes.set_ylabel("milliseconds per step")
    axes.set_title(caption, fontsize=9)
    axes.legend(frameon=False)
    save(figure, path)
