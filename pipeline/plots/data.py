"""Pictures of data: sample examples, the report on a prepared folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.plots.canvas import BLUE, GREEN, GREY, MOST_COUNTED, ORANGE, Array, name_ticks, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    figure = new_figure(columns * width, rows * height + 0.1)
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
    save(figure, path)


def _sequence(axes: Axes, values: Array, low: float, high: float) -> None:
    axes.set_prop_cycle(color=[BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000"])
    axes.plot(values, linewidth=0.9)
    margin = 0.05 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.set_xticks([])
    axes.set_yticks([])


def data_report(path: Path, report: Mapping[str, Any], lengths: Sequence[Array]) -> None:
    """A data report: examples of each class, lengths, and the range of each channel, by part.

    ``report`` is that of ``data.preparation.report``; ``lengths`` are the steps of each example, (N), of each part.
    """
    channels = report["channels"][:MOST_CHANNELS]
    classes = list(next(iter(report["classes"].values())))
    panels = 2 + bool(channels)
    figure = new_figure(7.5, 1.0 + 2.1 * panels + 0.12 * len(channels))
    grid = figure.subplots(panels, 1, squeeze=False, height_ratios=[1, 1, 0.6 + 0.08 * len(channels)][:panels]).ravel()
    for number, (part, color) in enumerate(zip(report["parts"], (BLUE, ORANGE, GREEN), strict=False)):
        counts = np.array([report["classes"][part][name] for name in classes])
        grid[0].bar(np.arange(len(classes)) + 0.27 * (number - 1), counts, 0.27, color=color, label=part)
        bins = np.linspace(min(map(np.min, lengths)) - 0.5, max(map(np.max, lengths)) + 0.5, 41)
        grid[1].hist(lengths[number], bins, color=color, histtype="step", linewidth=1.5, density=True)
    upright = 90 if len(classes) > MOST_COUNTED or max(map(len, classes)) > 8 else 0
    name_ticks(grid[0].xaxis, classes, rotation=upright, fontsize=8)
    grid[0].set(xlabel="class", ylabel="examples")
    grid[0].legend(frameon=False, fontsize=9)
    grid[1].set(xlabel="steps", ylabel="density")
    for row, channel in enumerate(channels):
        grid[2].plot([channel["least"], channel["most"]], [row, row], color=GREY, linewidth=1)
        grid[2].errorbar(channel["mean"], row, xerr=channel["deviation"], color=BLUE, marker="o", markersize=3, linewidth=2.5)
    if channels:
        notes = [channel["name"] + f" ({channel['missing']} missing)" * bool(channel["missing"]) for channel in channels]
        name_ticks(grid[2].yaxis, notes, fontsize=7)
        grid[2].invert_yaxis()
        grid[2].set_xscale("symlog")
        grid[2].set_xlabel("minimum to maximum, mean and standard deviation, in the training split")
    for axes in grid:
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
