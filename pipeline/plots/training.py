"""Pictures of a training: curves, the range test of the learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.plots.canvas import BLUE, GREY, ORANGE, Array, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def curves(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """A run over its steps, from the records of metrics.jsonl: losses, validation accuracy, learning rate.

    The training loss is drawn twice: as it was, faint, and as a running mean. Its panel has a logarithmic
    scale when it spans more than one order of magnitude. Missing values and null are left out.
    """
    panels = [name for name in ("loss", "valid/accuracy", "train/lr") if name == "loss" or len(_points(records, name)[0])]
    figure = new_figure(7.5, 1.2 + 1.5 * len(panels))
    ratios = [{"loss": 2.2, "valid/accuracy": 1.4, "train/lr": 0.8}[name] for name in panels]
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=ratios).ravel()
    for axes, name in zip(grid, panels, strict=True):
        if name == "loss":
            _losses(axes, records)
        else:
            steps, values = _points(records, name)
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


def _losses(axes: Axes, records: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import LogLocator

    steps, losses = _points(records, "train/loss")
    smooth = _running_mean(losses, max(1, len(losses) // 40))
    axes.plot(steps, losses, color=BLUE, alpha=0.3, marker=_marker(losses), markersize=3.5, linewidth=0.8)
    axes.plot(steps, smooth, color=BLUE, linewidth=1.8, label="training (running mean)")
    valid_steps, valid = _points(records, "valid/loss")
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


def _points(records: Sequence[Mapping[str, Any]], key: str) -> tuple[Array, Array]:
    """The steps where ``key`` has a value, and the values."""
    points = [(record["step"], record[key]) for record in records if record.get(key) is not None]
    steps, values = np.array(points, dtype=np.float64).reshape(-1, 2).T
    finite = np.isfinite(values)
    return steps[finite], values[finite]


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
