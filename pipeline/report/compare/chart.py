"""Curves -> where each line, tick and label of a drawing stands; the page writes it down as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.compare.evaluated import Point

WIDTH, HEIGHT = 640, 260  # of the drawing, in its own units
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 34  # around the axes
SAME = 1e-9  # of two values, relative: they are drawn as one
MOST = 400  # points of a line: more than a screen shows


@dataclass(frozen=True)
class Tick:
    """A number beside an axis."""

    place: float
    text: str


@dataclass(frozen=True)
class Line:
    """A curve: the number of its group, what it is called, and its points as SVG takes them."""

    group: int
    name: str
    points: str
    last: Point  # as it was recorded


@dataclass(frozen=True)
class Chart:
    """All curves of one metric, on common axes."""

    name: str
    lines: tuple[Line, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]


def chart(name: str, curves: Sequence[tuple[int, str, Sequence[Point]]]) -> Chart:
    """``curves``: number of the group, name, and points (epoch, value), of each at least one."""
    xs, ys = ([point[axis] for _, _, points in curves for point in points] for axis in (0, 1))
    across, up = _scale(min(0.0, *xs), max(xs), LEFT, WIDTH - RIGHT), _scale(min(ys), max(ys), HEIGHT - BOTTOM, TOP)
    lines = tuple(Line(group, name, _points(points, across, up), points[-1]) for group, name, points in curves)
    return Chart(
        name,
        lines,
        tuple(Tick(_at(across, value), f"{value:g}") for value in ticks(across[0], across[1])),
        tuple(Tick(_at(up, value), f"{value:g}") for value in ticks(up[0], up[1])),
    )


Scale = tuple[float, float, float, float]  # from, to; there, there


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    """From values to places, with some room on the axis that goes up; values that are as good as one get room around them."""
    largest = max(abs(low), abs(high))
    if high - low <= SAME * max(largest, SAME):
        half = 0.1 * largest if largest > SAME else 0.5
        return (low, high + half, start, end) if start < end else (low - half, high + half, start, end)
    room = 0.04 * (high - low) if start > end else 0.0
    return low - room, high + room, start, end


def _at(scale: Scale, value: float) -> float:
    low, high, start, end = scale
    return round(start + (value - low) / (high - low) * (end - start), 1)


def _points(points: Sequence[Point], across: Scale, up: Scale) -> str:
    every = math.ceil(len(points) / MOST)
    kept = [*points[:-1][::every], points[-1]]
    return " ".join(f"{_at(across, x)},{_at(up, y)}" for x, y in kept)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most ``most`` round numbers from ``low`` to ``high``, at equal distances of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    count = int((high - first * step) / step + 1e-9) + 1
    return [round((first + number) * step, 12) for number in range(min(count, most + 1))]
