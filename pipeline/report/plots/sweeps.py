"""Pictures of a sweep: its trials one after the other, and each parameter beside the metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import short
from pipeline.report.plots.canvas import BLUE, GREY, ORANGE, few_ticks, name_some, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DECADES = 20  # of the largest value to the smallest, from which a parameter is drawn on a logarithmic scale
MOST = 12  # parameters; those of least importance are left out
Value = bool | int | float | str


def history(path: Path, trials: Sequence[tuple[int, float, bool]], metric: str, maximized: bool) -> None:
    """The metric of each trial by its number, and the best of all so far. A trial: number, metric, whether it was finished."""
    figure = new_figure(7.5, 4.0)
    axes = figure.subplots()
    finished = [(number, value) for number, value, whole in trials if whole]
    _points(axes, [number for number, *_ in trials], [(value, whole) for _, value, whole in trials])
    if finished:
        numbers, values = zip(*finished, strict=True)
        best = list(accumulate(values, max if maximized else min))
        axes.step(numbers, best, where="post", color=ORANGE, linewidth=1.5, label="best so far")
        first = numbers[values.index(best[-1])]
        axes.plot(first, best[-1], "*", color=ORANGE, markersize=12)
        axes.set_title(
            f"best: trial {first}, {metric} {best[-1]:.4f}; {len(finished)} of {len(trials)} trials finished", fontsize=10
        )
    axes.set(xlabel="trial", ylabel=f"{metric}, {'higher' if maximized else 'lower'} is better")
    few_ticks(axes.xaxis, 10, whole=True)
    axes.legend(frameon=False, fontsize=9)
    _plain(axes)
    save(figure, path)


def parameters(
    path: Path,
    values: Mapping[str, Sequence[Value]],
    measured: Sequence[tuple[float, bool]],
    shares: Mapping[str, float],
    metric: str,
) -> None:
    """The metric over the values of each parameter, that of the largest share in its differences first.

    ``values``: by key, one per trial; ``measured``: the metric of each trial, and whether it was finished; ``shares``: the
    importance of parameters in [0, 1], empty if it is not known.
    """
    keys = sorted(values, key=lambda key: -shares.get(key, 0.0))[:MOST]
    columns = min(3, max(1, len(keys)))
    rows = -(-len(keys) // columns) or 1
    figure = new_figure(1.0 + 3.0 * columns, 0.6 + 2.8 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes, key in zip(grid, keys, strict=False):
        places = _axis(axes, values[key])
        _points(axes, places, measured)
        share = f"\nimportance {shares[key]:.0%}" if key in shares else ""
        axes.set_title(f"{short(key)}{share}", fontsize=10)
        _plain(axes)
    for axes in grid[len(keys) :]:
        axes.set_visible(False)
    for axes in grid[::columns]:
        axes.set_ylabel(metric)
    if keys and not all(whole for _, whole in measured):
        grid[0].legend(frameon=False, fontsize=8)
    save(figure, path)


def _axis(axes: Axes, found: Sequence[Value]) -> list[float]:
    """Where values stand on an axis, which gets a scale or names for them."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in found):
        numbers = [float(value) for value in found]
        if min(numbers) > 0 and max(numbers) > DECADES * min(numbers):
            axes.set_xscale("log")
        return numbers
    names = sorted({str(value) for value in found})
    name_some(axes.xaxis, names, rotation=45 if len(names) > 4 else 0)
    axes.set_xlim(-0.5, len(names) - 0.5)
    return [float(names.index(str(value))) for value in found]


def _points(axes: Axes, places: Sequence[float], measured: Sequence[tuple[float, bool]]) -> None:
    groups: dict[bool, dict[str, Any]] = {
        True: {"color": BLUE, "marker": "o", "label": "finished"},
        False: {"color": GREY, "marker": "x", "label": "stopped early: the best until then"},
    }
    for whole, style in groups.items():
        found = [(place, value) for place, (value, ended) in zip(places, measured, strict=True) if ended is whole]
        if found:
            xs, ys = zip(*found, strict=True)
            axes.scatter(xs, ys, s=28, alpha=0.8, zorder=3, **style)


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
