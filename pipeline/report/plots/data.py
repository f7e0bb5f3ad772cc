"""Pictures of data: examples of images, the report on a prepared folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import short
from pipeline.report.plots.canvas import (
    BLUE,
    GREEN,
    GREY,
    MOST_COUNTED,
    MOST_NAMED,
    ORANGE,
    Array,
    few_ticks,
    name_ticks,
    new_figure,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MOST_CHANNELS = 24  # drawn in a data report
BINS = 24  # of lengths, at most
FAR = 10.0  # standard deviations; what lies further out is drawn on a logarithmic scale
COLORS = BLUE, ORANGE, GREEN  # of the splits


def image_grid(path: Path, images: Sequence[Array] | Array, titles: Sequence[str], caption: str = "") -> None:
    """Labelled images side by side, at most ten in a row; a title may have several lines.

    ``images``: N arrays (h, w), drawn in grey from the least to the greatest value of all. ``caption`` stands above them.
    """
    texts = [line for title in titles for line in title.split("\n")]
    width = max(1.15, 0.075 * max(map(len, texts), default=0))
    height = 1.2 + 0.16 * max((title.count("\n") + 1 for title in titles), default=1)
    most = int(np.clip(12 // width, 1, max(1, min(10, len(images)))))
    columns = min(range((most + 1) // 2, most + 1), key=lambda columns: (-len(images) % columns, -columns))
    rows = max(1, -(-len(images) // columns))
    figure = new_figure(columns * width, rows * height + 0.1 + 0.3 * bool(caption))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    low = min((float(np.nanmin(image)) for image in images), default=0.0)
    high = max((float(np.nanmax(image)) for image in images), default=1.0)
    for axes, image, title in zip(grid, images, titles, strict=False):
        axes.set_title(title, fontsize=9, pad=3)
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    for axes in grid:
        axes.set_axis_off()
    if caption:
        figure.suptitle(caption, fontsize=10)
    save(figure, path)


def data_report(path: Path, report: Mapping[str, Any], lengths: Sequence[Array]) -> None:
    """A data report: examples of each class, lengths, and the range of each channel, by part.

    ``report`` is that of ``data.preparation.report``; ``lengths`` are the steps of each example, (N), of each part.
    """
    channels = report["channels"][:MOST_CHANNELS]
    steps = sorted({int(number) for part in lengths for number in (part.min(), part.max())})
    panels = {"classes": 2.1, "lengths": 1.7 * (len(steps) > 1), "channels": (0.9 + 0.2 * len(channels)) * bool(channels)}
    heights = {name: height for name, height in panels.items() if height}
    figure = new_figure(7.5, 1.0 + sum(heights.values()))
    grid = dict(
        zip(heights, figure.subplots(len(heights), 1, squeeze=False, height_ratios=list(heights.values())).ravel(), strict=True)
    )
    _classes(grid["classes"], report["classes"])
    if "lengths" in grid:
        _lengths(grid["lengths"], report["parts"], lengths)
    if channels:
        _channels(grid["channels"], channels, len(report["channels"]))
    for axes in grid.values():
        axes.spines[["top", "right"]].set_visible(False)
    handles, names = grid["classes"].get_legend_handles_labels()
    of_one = "" if len(steps) > 1 else f" of {steps[0]} step{'s' * (steps[0] > 1)}"
    figure.legend(
        handles,
        [f"{name}: {report['parts'][name]:,}" for name in names],
        title=f"examples{of_one}",
        loc="outside upper center",
        ncols=3,
        fontsize=9,
        frameon=False,
    )
    save(figure, path)


def _classes(axes: Axes, classes: Mapping[str, Mapping[str, int]]) -> None:
    """Bars per class and part; of many classes a line per part, over its classes in the order of their size."""
    names = list(next(iter(classes.values())))
    many = len(names) > MOST_NAMED
    counts = {part: np.array([numbers[name] for name in names]) for part, numbers in classes.items()}
    width = 0.8 / len(counts)
    for number, (part, count) in enumerate(counts.items()):
        if many:
            axes.stairs(np.sort(count)[::-1], np.arange(len(names) + 1) - 0.5, color=COLORS[number], label=part, linewidth=1.3)
        else:
            place = np.arange(len(names)) + width * (number - (len(counts) - 1) / 2)
            axes.bar(place, count, width, color=COLORS[number], label=part)
    if not many:
        upright = 90 if len(names) > MOST_COUNTED or max(map(len, names)) > 8 else 0
        name_ticks(axes.xaxis, names, rotation=upright, fontsize=8)
    axes.set(xlabel=f"{len(names):,} classes, those with the most examples first" if many else "class", ylabel="examples")
    axes.set_ylim(bottom=0)
    axes.set_xlim(-0.7, len(names) - 0.3)


def _lengths(axes: Axes, parts: Mapping[str, int], lengths: Sequence[Array]) -> None:
    """A histogram of whole numbers: every bin holds equally many of them, and the bars of the parts stand side by side."""
    low, high = min(map(np.min, lengths)), max(map(np.max, lengths))
    width = -(-(int(high) - int(low) + 1) // BINS)
    edges = np.arange(int(low), int(high) + width + 1, width) - 0.5
    shares = [np.full(len(part), 100 / len(part)) for part in lengths]
    colors = COLORS[: len(lengths)]
    axes.hist(lengths, edges.tolist(), weights=shares, color=colors, label=list(parts))
    few_ticks(axes.xaxis, 8, whole=True)
    axes.set(xlabel="steps" if width == 1 else f"steps, {width:,} in a bin", ylabel="% of the split")


def _channels(axes: Axes, channels: Sequence[Mapping[str, Any]], of: int) -> None:
    """The range of each channel on its own scale: in standard deviations from its mean, the ends with their values."""
    spread = np.array([channel["deviation"] or 1.0 for channel in channels])
    low, high = (np.array([channel[end] - channel["mean"] for channel in channels]) / spread for end in ("least", "most"))
    rows = np.arange(len(channels))
    axes.hlines(rows, low, high, color=GREY, linewidth=1)
    varied = np.array([not channel["constant"] for channel in channels])
    axes.hlines(rows[varied], -1, 1, color=BLUE, linewidth=2.5)
    axes.plot(np.zeros(len(rows)), rows, "o", color=BLUE, markersize=3.5)
    ends = np.array([max(-low.min(), 1.0), max(high.max(), 1.0)])
    if ends.max() > FAR:
        axes.set_xscale("symlog", linthresh=FAR)
    axes.set_xlim(*np.where(ends > FAR, ends * (ends.max() / FAR) ** 0.3, ends + 0.15 * min(ends.sum(), FAR)) * [-1, 1])
    for row, channel in enumerate(channels):
        if channel["constant"]:
            axes.annotate(
                f"always {channel['least']:.6g}", (0, row), (6, 0), textcoords="offset points", va="center", fontsize=7
            )
            continue
        for end, place, side in (("least", low, "right"), ("most", high, "left")):
            shift = (-4 if side == "right" else 4, 0)
            text = f"{channel[end]:.5g}"
            beside = min(place[row], -1) if side == "right" else max(place[row], 1)  # of the bar too
            axes.annotate(text, (beside, row), shift, textcoords="offset points", ha=side, va="center", fontsize=7)
    notes = [
        short(channel["name"], 24) + f" ({channel['missing']:,} missing)" * bool(channel["missing"]) for channel in channels
    ]
    name_ticks(axes.yaxis, notes, fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    some = f", {len(channels)} of {of:,} channels" if of > len(channels) else ""
    axes.set_xlabel(f"minimum to maximum in the train split, in standard deviations from the mean{some}", fontsize=9)
