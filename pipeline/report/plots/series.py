"""Pictures of series: examples as lines over their steps. What they cost follows from neither steps nor channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import short
from pipeline.report.plots.canvas import BLUE, GREEN, ORANGE, Array, few_ticks, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes


CHANNELS = 12  # that a reader can tell apart, by the colours and two kinds of line
POINTS = 500  # of a line: two in each pixel of the width
COLORS = BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000"
ACROSS = 4  # series in a row


def series_grid(
    path: Path, series: Iterable[Array], titles: Sequence[str], channels: Sequence[str], caption: str, values: str
) -> None:
    """Labelled series side by side, each as one line per channel over its steps.

    ``series``: N arrays (T, C), taken one by one, NaN where a value is missing; ``channels``: C names, at most CHANNELS.
    The steps have one scale in all of them, so that a short series looks short; the values have one scale per series.
    ``caption`` stands above all of them, ``values`` beside their axes.
    """
    assert len(channels) <= CHANNELS
    count = len(titles)
    columns = min(ACROSS, max(1, count))
    rows = max(1, -(-count // columns))
    lines = 1 + max((title.count("\n") for title in titles), default=0)
    across = max(1, min(len(channels), 100 // (5 + max(map(len, (short(name, 24) for name in channels)), default=1))))
    height = rows * (1.25 + 0.15 * lines) + 0.8 + 0.2 * -(-len(channels) // across)
    figure = new_figure(0.6 + 2.7 * columns, height)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    longest = 1
    for axes, one, title in zip(grid, series, titles, strict=False):
        _draw(axes, one)
        axes.set_title(title, fontsize=8.5, pad=3)
        longest = max(longest, len(one))
    for number, axes in enumerate(grid):
        axes.set_xlim(-0.02 * (longest - 1) - 0.01, 1.02 * (longest - 1) + 0.01)
        few_ticks(axes.xaxis, 4, whole=True)
        lowest = number + columns >= count
        axes.tick_params(labelsize=7, length=2, labelbottom=lowest)
        axes.set_xlabel("step" if lowest and number < count else "", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_visible(number < count)
    if channels and count:
        names = [short(name, 24) for name in channels]
        figure.legend(grid[0].lines, names, loc="outside lower center", ncols=across, fontsize=8, frameon=False)
    figure.supylabel(values, fontsize=9)
    figure.suptitle(caption, fontsize=10)
    save(figure, path)


def _draw(axes: Axes, one: Array) -> None:
    steps, values = thinned(one)
    for channel in range(values.shape[1]):
        style = "-" if channel < len(COLORS) else "--"
        color, dot = COLORS[channel % len(COLORS)], "o" if len(one) == 1 else ""
        axes.plot(steps[:, channel], values[:, channel], style, color=color, linewidth=0.9, marker=dot, markersize=2.5)
    axes.margins(y=0.06)
    few_ticks(axes.yaxis, 3)


def thinned(values: Array, points: int = POINTS) -> tuple[Array, Array]:
    """Steps and values, each (P, C) with at most ``points`` P, of ``values`` (T, C).

    Of more steps, each of as many stretches as there is room for gives its least and its greatest value, in their order.
    A stretch of NaN alone gives NaN.
    """
    count, channels = values.shape
    if count <= points:
        return np.repeat(np.arange(count)[:, None], channels, 1), values
    size = -(-count // (points // 2))
    stretches = -(-count // size)
    padded = np.concatenate([values, np.repeat(values[-1:], stretches * size - count, 0)]).reshape(stretches, size, channels)
    absent = np.isnan(padded)
    least = np.where(absent, np.inf, padded).argmin(1)  # (stretches, C)
    most = np.where(absent, -np.inf, padded).argmax(1)
    inside = np.sort(np.stack([least, most], 1), axis=1)  # (stretches, 2, C)
    found = np.take_along_axis(padded, inside, 1).reshape(-1, channels)
    steps = (inside + size * np.arange(stretches)[:, None, None]).reshape(-1, channels)
    return np.minimum(steps, count - 1), found
