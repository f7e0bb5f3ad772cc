"""Every picture. Each function writes one PNG as a whole, the same bytes for the same arguments.

Colours are those of Okabe and Ito, Color Universal Design (2008), which readers without red-green vision tell apart.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"
MOST_COUNTED = 20  # classes; numbers in the cells of more would be too small to read
MOST_CHANNELS = 40  # drawn in a data report


def sample_grid(path: Path, images: Sequence[Array] | Array, titles: Sequence[str], lines: bool = False) -> None:
    """Labelled examples side by side, at most ten in a row; a title may have several lines.

    ``images``: N arrays (h, w), drawn in grey from the least to the greatest value of all. With ``lines``:
    N sequences (T, F), drawn as one line a feature over the steps, all on one scale.
    """
    texts = [line for title in titles for line in title.split("\n")]
    width = max(1.9 if lines else 1.15, 0.075 * max(map(len, texts), default=0))
    height = 1.2 + 0.16 * max((title.count("\n") + 1 for title in titles), default=1)
    most = int(np.clip(12 // width, 1, max(1, min(10, len(images)))))
    columns = min(range((most + 1) // 2, most + 1), key=lambda columns: (-len(images) % columns, -columns))
    rows = max(1, -(-len(images) // columns))
    figure = _figure(columns * width, rows * height + 0.1)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    low = min((float(np.nanmin(image)) for image in images), default=0.0)
    high = max((float(np.nanmax(image)) for image in images), default=1.0)
    for axes, image, title in zip(grid, images, titles, strict=False):
        axes.set_title(title, fontsize=9, pad=3)
        if lines:
            _sequence(axes, np.asarray(image), low, high)
        else:
            axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            axes.set_axis_off()
    for axes in grid[len(images) :]:
        axes.set_axis_off()
    _save(figure, path)


def _sequence(axes: Axes, values: Array, low: float, high: float) -> None:
    axes.set_prop_cycle(color=[BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000"])
    axes.plot(values, linewidth=0.9)
    margin = 0.05 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.set_xticks([])
    axes.set_yticks([])


def data_report(path: Path, report: Mapping[str, Any], lengths: Sequence[Array]) -> None:
    """A data report: examples of each class, lengths, and the range of each channel, by part.

    ``report`` is that of ``data.report``; ``lengths`` are the steps of each example, (N), of each part.
    """
    channels = report["channels"][:MOST_CHANNELS]
    classes = list(next(iter(report["classes"].values())))
    panels = 2 + bool(channels)
    figure = _figure(7.5, 1.0 + 2.1 * panels + 0.12 * len(channels))
    grid = figure.subplots(panels, 1, squeeze=False, height_ratios=[1, 1, 0.6 + 0.08 * len(channels)][:panels]).ravel()
    for number, (part, color) in enumerate(zip(report["parts"], (BLUE, ORANGE, GREEN), strict=False)):
        counts = np.array([report["classes"][part][name] for name in classes])
        grid[0].bar(np.arange(len(classes)) + 0.27 * (number - 1), counts, 0.27, color=color, label=part)
        bins = np.linspace(min(map(np.min, lengths)) - 0.5, max(map(np.max, lengths)) + 0.5, 41)
        grid[1].hist(lengths[number], bins, color=color, histtype="step", linewidth=1.5, density=True)
    upright = 90 if len(classes) > MOST_COUNTED or max(map(len, classes)) > 8 else 0
    grid[0].set_xticks(np.arange(len(classes)), classes, rotation=upright, fontsize=8)
    grid[0].set(xlabel="class", ylabel="examples")
    grid[0].legend(frameon=False, fontsize=9)
    grid[1].set(xlabel="steps", ylabel="density")
    for row, channel in enumerate(channels):
        grid[2].plot([channel["least"], channel["most"]], [row, row], color=GREY, linewidth=1)
        grid[2].errorbar(channel["mean"], row, xerr=channel["deviation"], color=BLUE, marker="o", markersize=3, linewidth=2.5)
    if channels:
        notes = [channel["name"] + f"\n{channel['missing']} missing" * bool(channel["missing"]) for channel in channels]
        grid[2].set_yticks(range(len(channels)), notes, fontsize=7)
        grid[2].invert_yaxis()
        grid[2].set_xscale("symlog")
        grid[2].set_xlabel("least to most, mean and deviation, in the training part")
    for axes in grid:
        axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def confusion(path: Path, matrix: Array, class_names: Sequence[str]) -> None:
    """A confusion matrix (C, C) of counts, labels down and predictions across.

    The colour is the share of the label's examples, on a square-root scale so that rare mistakes show.
    Cells that hold nothing are blank; above 20 classes the colour stands alone.
    """
    from matplotlib.colors import PowerNorm

    count = len(class_names)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(0.48 * count, 3.0, 8.5))
    figure = _figure(side + 1.7, side + 0.9)
    axes = figure.subplots()
    line = float(np.clip(12 / count, 0.25, 1))
    image = axes.pcolormesh(share, cmap="Blues", norm=PowerNorm(0.5, 0, 1), edgecolors="white", linewidth=line)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    size = float(np.clip(72 * side / count * 0.75, 5, 10))
    upright = 90 if max(map(len, class_names)) > 2 and count > 4 else 0
    axes.set_xticks(np.arange(count) + 0.5, class_names, fontsize=size, rotation=upright)
    axes.set_yticks(np.arange(count) + 0.5, class_names, fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    if count <= MOST_COUNTED:
        digits = len(str(matrix.max()))
        size = float(np.clip(72 * side / count * 0.9 / (0.65 * digits), 4, 10))
        for row, column in np.argwhere(matrix):
            color = "white" if share[row, column] > 0.3 else "#222222"
            axes.text(column + 0.5, row + 0.5, str(matrix[row, column]), ha="center", va="center", color=color, fontsize=size)
    scale = axes.inset_axes((1 + 0.15 / side, 0, 0.2 / side, 1))
    bar = figure.colorbar(image, cax=scale, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.ax.set_yticklabels(["0", "1 %", "5 %", "20 %", "50 %", "100 %"], fontsize=8)
    bar.outline.set_visible(False)
    _save(figure, path)


def curves(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """A run over its steps, from the records of metrics.jsonl: losses, validation accuracy, learning rate.

    The training loss is drawn twice: as it was, faint, and as a running mean. Its panel has a logarithmic
    scale when it spans more than one order of magnitude. Missing values and null are left out.
    """
    panels = [name for name in ("loss", "valid/accuracy", "train/lr") if name == "loss" or len(_points(records, name)[0])]
    figure = _figure(7.5, 1.2 + 1.5 * len(panels))
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
    _save(figure, path)


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


def reliability(path: Path, confidence: Array, accuracy: Array, counts: Array) -> None:
    """A reliability diagram (Guo et al., On Calibration of Modern Neural Networks, 2017) of equal-width bins.

    ``confidence``, ``accuracy``: the means in each bin (B,), anything where it is empty. ``counts``: examples (B,).
    """
    edges = np.linspace(0, 1, len(counts) + 1)
    full = counts > 0
    confidence, accuracy = (np.where(full, values, 0.0) for values in (confidence, accuracy))
    error = float((counts * np.abs(accuracy - confidence)).sum() / max(1, counts.sum()))
    figure = _figure(4.6, 5.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    style: dict[str, Any] = {"width": 1 / len(counts), "align": "edge", "edgecolor": "white", "linewidth": 0.8}
    top.bar(edges[:-1], accuracy, color=BLUE, label="accuracy", **style)
    gap, base = np.abs(accuracy - confidence), np.minimum(accuracy, confidence)
    top.bar(edges[:-1], gap, bottom=base, color=ORANGE, alpha=0.55, hatch="///", label="gap to confidence", **style)
    top.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="perfect")
    top.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", title=f"expected calibration error {100 * error:.2f} %")
    top.legend(frameon=False, fontsize=9, loc="upper left")
    bottom.bar(edges[:-1], counts, color=GREY, **style)
    bottom.set(xlabel="confidence of the prediction", ylabel="examples", ylim=(0.5, None), yscale="log")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels()
    _save(figure, path)


def rate_range(
    path: Path, rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float | None
) -> None:
    """A range test: the loss, as it was and smoothed, over the rates of its steps, and the suggested rate, if any."""
    figure = _figure(7.5, 4.2)
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
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    """A figure of inches that no global state knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), dpi=105, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with files.disk_errors("a picture", path):
            # Without the version of matplotlib in the file, its bytes follow from what is drawn.
            figure.savefig(partial, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
