"""Pictures of a training: curves, the range test of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import starmap
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.plots.canvas import BLUE, GREY, ORANGE, Array, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 2000  # of a line; more than a picture has pixels


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


def curves(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """A run over its steps, from the records of metrics.jsonl: losses, validation accuracy, learning rate.

    The training loss is drawn twice: as it was, faint, and as a running mean. Its panel has a logarithmic
    scale when it spans more than one order of magnitude. Missing values and null are left out.
    """
    lines = {name: Line() for name in ("train/loss", "valid/loss", "valid/accuracy", "train/lr")}
    for record in records:
        for name, line in lines.items():
            line.add(record["step"], record.get(name))
    panels = [name for name in ("loss", "valid/accuracy", "train/lr") if name == "loss" or len(lines[name].points[0])]
    figure = new_figure(7.5, 1.2 + 1.5 * len(panels))
    ratios = [{"loss": 2.2, "valid/accuracy": 1.4, "train/lr": 0.8}[name] for name in panels]
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=ratios).ravel()
    for axes, name in zip(grid, panels, strict=True):
        if name == "loss":
            _losses(axes, lines["train/loss"], lines["valid/loss"])
        else:
            steps, values = lines[name].points
            color = ORANGE if name == "valid/accuracy" else GREY
            axes.plot(steps, values, color=color, marker=_marker(values), markersize=3.5, linewidth=1.5)
            if name == "valid/accuracy":
                best = int(values.argmax())
                text = f"best {values[best]:.4f} at step {steps[best]:,.0f}"
                axes.annotate(text, (0.985, 0.08), xycoords="axes fraction", ha="right", fontsize=9, color=color)
        axes.set_ylabel({"loss": "loss", "valid/accuracy": "validation\naccuracy", "train/lr": "learning\nrate"}[name])
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    grid[-1].set_xlabel("step")
    grid[-1].xaxis.get_major_locator().set_params(integer=True)
    figure.align_ylabels()
    save(figure, path)


def _losses(axes: Axes, train: Line, validation: Line) -> None:
    from matplotlib.ticker import LogLocator

    steps, losses = train.points
    middles, means = train.means
    smooth = _running_mean(means, max(1, len(means) // 40))
    axes.plot(steps, losses, color=BLUE, alpha=0.3, marker=_marker(losses), markersize=3.5, linewidth=0.8)
    axes.plot(middles, smooth, color=BLUE, linewidth=1.8, label="training (running mean)")
    valid_steps, valid = validation.points
    if len(valid):
        axes.plot(valid_steps, valid, color=ORANGE, marker=_marker(valid), markersize=3.5, linewidth=1.5, label="validation")
    both = np.concatenate([smooth, valid])
    if len(both) and both.min() > 0 and both.max() > 10 * both.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    axes.legend(frameon=False, fontsize=9)


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
