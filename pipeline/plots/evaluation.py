"""Pictures of an evaluation: confusion, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.plots.canvas import BLUE, GREY, MOST_COUNTED, ORANGE, Array, name_ticks, new_figure, save


def confusion(path: Path, matrix: Array, class_names: Sequence[str]) -> None:
    """A confusion matrix (C, C) of counts, labels down and predictions across.

    The colour is the share of the label's examples, on a square-root scale so that rare mistakes show.
    Cells that hold nothing are blank; above 20 classes the colour stands alone.
    """
    from matplotlib.colors import PowerNorm

    count = len(class_names)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(0.48 * count, 3.0, 8.5))
    figure = new_figure(side + 1.7, side + 0.9)
    axes = figure.subplots()
    line = float(np.clip(12 / count, 0.25, 1))
    image = axes.pcolormesh(share, cmap="Blues", norm=PowerNorm(0.5, 0, 1), edgecolors="white", linewidth=line)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    size = float(np.clip(72 * side / count * 0.75, 5, 10))
    upright = 90 if max(map(len, class_names)) > 2 and count > 4 else 0
    name_ticks(axes.xaxis, class_names, 0.5, fontsize=size, rotation=upright)
    name_ticks(axes.yaxis, class_names, 0.5, fontsize=size)
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
    save(figure, path)


def frequent_mistakes(path: Path, cells: Array, class_names: Sequence[str]) -> None:
    """Of more classes than a matrix can show: bars of the counts of mistakes, (K, 3) label, prediction and count."""
    names = [f"{class_names[label]} → {class_names[guess]}" for label, guess, _ in cells]
    figure = new_figure(7.5, 1.2 + 0.22 * len(cells))
    axes = figure.subplots()
    axes.barh(np.arange(len(cells)), cells[:, 2], color=ORANGE)
    name_ticks(axes.yaxis, names, fontsize=8)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlabel="examples", title="most frequent mistakes: label → prediction" if len(cells) else "no mistake")
    save(figure, path)


def reliability(path: Path, confidence: Array, accuracy: Array, counts: Array) -> None:
    """A reliability diagram (Guo et al., On Calibration of Modern Neural Networks, 2017) of equal-width bins.

    ``confidence``, ``accuracy``: the means in each bin (B,), anything where it is empty. ``counts``: examples (B,).
    """
    edges = np.linspace(0, 1, len(counts) + 1)
    full = counts > 0
    confidence, accuracy = (np.where(full, values, 0.0) for values in (confidence, accuracy))
    error = float((counts * np.abs(accuracy - confidence)).sum() / max(1, counts.sum()))
    figure = new_figure(4.6, 5.4)
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
    save(figure, path)
