"""Pictures of an evaluation: confusion, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import short
from pipeline.report.plots.canvas import (
    BLUE,
    GREY,
    MOST_COUNTED,
    MOST_NAMED,
    ORANGE,
    Array,
    few_ticks,
    name_some,
    name_ticks,
    new_figure,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MOST_CELLS = 400  # of the picture of a matrix, across and down
FREQUENT = 25  # mistakes, by label and prediction, that are named where the matrix has no numbers


def confusion(path: Path, cells: Array, class_names: Sequence[str], title: str = "") -> None:
    """A confusion matrix, labels down and predictions across.

    ``cells`` (K, 3): label, prediction and count of those that are not 0.
    The colour is the share of the label's examples, on a square-root scale so that rare mistakes show.
    Cells that hold nothing are blank. Up to 20 classes, each cell has its count and each row its recall. Of more, the most
    frequent mistakes are named beside the matrix; above 60, some classes are named; above 400, a cell holds several classes.
    """
    count = len(class_names)
    side = float(np.clip(0.48 * count, 2.6, 8.5)) if count <= MOST_NAMED else 6.5
    numbered = count <= MOST_COUNTED
    width = max(map(len, (short(name, 24) for name in class_names))) * 0.08
    figure = new_figure(side + 1.7 + (1.0 if numbered else 3.4) + min(width, 1.2), side + 1.1 + min(width, 1.2))
    if numbered:
        axes = figure.subplots()
    else:
        axes, beside = figure.subplots(1, 2, width_ratios=[side, 2.2])
        _frequent(beside, cells, class_names)
    _matrix(figure, axes, cells, class_names, side)
    figure.suptitle(title, fontsize=10)
    save(figure, path)


def _matrix(figure: Figure, axes: Axes, cells: Array, names: Sequence[str], side: float) -> None:
    from matplotlib.colors import PowerNorm

    count = len(names)
    of_cell = -(-count // MOST_CELLS)  # classes in a cell, across and down
    labels, guesses, counts = cells.T
    across = -(-count // of_cell)
    place = labels // of_cell * across + guesses // of_cell
    matrix = np.bincount(place, counts, across * across).reshape(across, across)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    style: dict[str, Any] = {"cmap": "Blues", "norm": PowerNorm(0.5, 0, 1)}
    if count > MOST_NAMED:
        image: Any = axes.imshow(share, extent=(0, count, count, 0), interpolation="nearest", **style)
    else:
        image = axes.pcolormesh(share, edgecolors="white", linewidth=float(np.clip(12 / count, 0.25, 1)), **style)
        axes.invert_yaxis()
    axes.set_aspect("equal")
    size = float(np.clip(72 * side / min(count, MOST_NAMED) * 0.75, 5, 10))
    upright = 90 if max(map(len, names)) > 2 and count > 4 else 0
    name_some(axes.xaxis, names, 0.5, fontsize=size, rotation=upright)
    name_some(axes.yaxis, names, 0.5, fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="prediction", ylabel="label" if of_cell == 1 else f"label, {of_cell} classes in a cell")
    if count <= MOST_COUNTED:
        _numbers(axes, matrix, share, side)
    bar = figure.colorbar(image, ax=axes, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1], fraction=0.04, pad=0.03)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("share of the label's examples (square-root scale)", fontsize=8)
    bar.outline.set_visible(False)


def _numbers(axes: Axes, matrix: Array, share: Array, side: float) -> None:
    """The count in each cell, and the recall of each class beside its row."""
    count = len(matrix)
    digits = len(str(int(matrix.max())))
    size = float(np.clip(72 * side / count * 0.9 / (0.65 * digits), 4, 10))
    for row, column in np.argwhere(matrix):
        color = "white" if share[row, column] > 0.3 else "#222222"
        text = str(int(matrix[row, column]))
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=color, fontsize=size)
    for row in range(count):
        said = f"{share[row, row]:.0%}" if matrix[row].any() else "-"
        axes.text(count + 0.12, row + 0.5, said, va="center", fontsize=min(8, size + 2))
    axes.text(count + 0.12, -0.1, "recall", fontsize=min(8, size + 2))


def _frequent(axes: Axes, cells: Array, names: Sequence[str]) -> None:
    """Bars of the most frequent mistakes."""
    wrong = cells[cells[:, 0] != cells[:, 1]]
    wrong = wrong[np.argsort(-wrong[:, 2], kind="stable")[:FREQUENT]]
    axes.barh(np.arange(len(wrong)), wrong[:, 2], color=ORANGE)
    name_ticks(axes.yaxis, [f"{short(names[label], 16)} → {short(names[guess], 16)}" for label, guess, _ in wrong], fontsize=7)
    axes.set_ylim(FREQUENT - 0.4, -0.6)
    axes.set_title("most frequent mistakes:\nlabel → prediction" if len(wrong) else "no mistake", fontsize=9)
    few_ticks(axes.xaxis, 4, whole=True)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel("examples", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def reliability(path: Path, confidence: Array, accuracy: Array, counts: Array, title: str = "") -> None:
    """A reliability diagram (Guo et al., On Calibration of Modern Neural Networks, 2017) of equal-width bins.

    ``confidence``, ``accuracy``: the means in each bin (B,), anything where it is empty. ``counts``: examples (B,).
    Each bin is a point with its 95 % interval (Wilson, 1927), so that a bin of few examples does not look like one of many.
    """
    edges = np.linspace(0, 1, len(counts) + 1)
    full = counts > 0
    confidence, accuracy, many = confidence[full], accuracy[full], counts[full]
    error = float((many * np.abs(accuracy - confidence)).sum() / max(1, many.sum()))
    low, high = _wilson(accuracy, many)
    figure = new_figure(4.8, 5.6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.2])
    top.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="as sure as right")
    top.vlines(confidence, low, high, color=BLUE, linewidth=1.2, label="95 % interval")
    top.plot(confidence, accuracy, "o", color=BLUE, markersize=5, label="accuracy of a bin")
    said = f"expected calibration error {100 * error:.2f} %"
    top.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="accuracy", title=f"{title}\n{said}" if title else said)
    top.title.set_fontsize(10)
    top.grid(alpha=0.25)
    top.legend(frameon=False, fontsize=9, loc="lower right")
    bottom.bar(edges[:-1], counts, 1 / len(counts), align="edge", color=GREY, edgecolor="white", linewidth=0.8)
    for left, number in zip(edges[:-1][full], many, strict=True):
        bottom.annotate(
            f"{number:,.0f}",
            (left + 0.5 / len(counts), number),
            (0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=6.5,
        )
    bottom.set(xlabel="confidence of the prediction", ylabel="examples", yscale="log", ylim=(0.5, 4 * max(1, counts.max())))
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels()
    save(figure, path)


def _wilson(share: Array, count: Array) -> tuple[Array, Array]:
    """The ends of the 95 % interval of a probability, of which ``count`` trials gave ``share``."""
    z = 1.96
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return middle - half, middle + half
