"""An attribution over the series or the image, and beside it the deletion curve that says whether it is true.

Shapes: T time steps, C drawn channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import short
from pipeline.report.explain.deletion import Deletion
from pipeline.report.plots.canvas import BLUE, GREY, ORANGE, Array, few_ticks, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHANNELS = 6  # drawn at most: those of the largest attribution
COLOURS = "RdBu_r"  # red speaks for the class, blue against it; those without red-green vision tell them apart


def series(path: Path, values: Array, attribution: Array, channels: Sequence[str], deleted: Deletion, caption: str) -> None:
    """Draw a series (T, C), NaN where a value is missing, each value in the colour of its ``attribution`` (T, C)."""
    chosen = sorted(np.argsort(-np.abs(attribution).sum(0), kind="stable")[:CHANNELS].tolist())
    figure = new_figure(9.5, 1.6 + 1.25 * max(2, len(chosen)))
    parts: Any = figure.subfigures(1, 2, width_ratios=(2.2, 1))
    left, right = parts
    grid = np.ravel(left.subplots(len(chosen), 1, sharex=True, squeeze=False))
    most = _most(attribution)
    for axes, channel in zip(grid, chosen, strict=True):
        steps = np.arange(len(values))
        axes.plot(steps, values[:, channel], color=GREY, linewidth=0.8, zorder=1)
        dots = axes.scatter(
            steps, values[:, channel], c=attribution[:, channel], cmap=COLOURS, vmin=-most, vmax=most, s=14, zorder=2
        )
        dots.set_edgecolor(GREY)
        dots.set_linewidth(0.3)
        axes.set_ylabel(short(channels[channel], 24), fontsize=8)
        axes.tick_params(labelsize=7, length=2)
        axes.spines[["top", "right"]].set_visible(False)
        few_ticks(axes.xaxis, 8, whole=True)
        few_ticks(axes.yaxis, 3)
    grid[-1].set_xlabel(
        "step" if len(chosen) == len(channels) else f"step ({len(chosen)} of {len(channels):,} channels)", fontsize=8
    )
    _bar(left, dots, grid)
    _curves(right.subplots(), deleted)
    figure.suptitle(caption, fontsize=9)
    save(figure, path)


def image(path: Path, values: Array, attribution: Array, deleted: Deletion, caption: str) -> None:
    """Draw an image (height, width) and, beside it, its ``attribution`` (height, width)."""
    figure = new_figure(9.5, 3.4)
    plain, coloured, curves = figure.subplots(1, 3)
    most = _most(attribution)
    plain.imshow(values, cmap="gray_r")
    shown = coloured.imshow(attribution, cmap=COLOURS, vmin=-most, vmax=most)
    for axes, title in ((plain, "example"), (coloured, "attribution")):
        axes.set_title(title, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    _bar(figure, shown, [coloured])
    _curves(curves, deleted)
    figure.suptitle(caption, fontsize=9)
    save(figure, path)


def _most(attribution: Array) -> float:
    return float(np.abs(attribution).max()) or 1.0


def _bar(figure: Figure, shown: object, axes: object) -> None:
    bar = figure.colorbar(shown, ax=axes, fraction=0.04, pad=0.02)  # type: ignore[arg-type]
    bar.set_label("adds to the logit", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _curves(axes: Axes, deleted: Deletion) -> None:
    areas = deleted.areas
    for number, curve in enumerate(deleted.random):
        label = f"at random ({areas['random']:.2f})" if number == 0 else None
        axes.plot(deleted.shares, curve, color=GREY, linewidth=0.5, alpha=0.6, label=label)
    axes.plot(deleted.shares, deleted.falling, color=ORANGE, label=f"largest first ({areas['falling']:.2f})")
    axes.plot(deleted.shares, deleted.rising, "--", color=BLUE, label=f"smallest first ({areas['rising']:.2f})")
    axes.set_title("steps taken away", fontsize=9)
    axes.set_xlabel("share of the steps", fontsize=8)
    axes.set_ylabel("probability of the class", fontsize=8)
    axes.set_ylim(-0.02, 1.02)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, title="order (area)", title_fontsize=7)
