"""What the report on a prepared folder shows: each class, each length and each channel on a scale of its own."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.report.plots.data import BINS, data_report
from tests.report.plots.drawing import Drawn, texts


def report(path: Path, counts: dict[str, int], lengths: list[Any], channels: list[dict[str, Any]] | None = None) -> None:
    """Draw a report of three parts, whose classes have the same counts."""
    names = ("train", "valid", "test")
    found = {
        "parts": {name: len(part) for name, part in zip(names, lengths, strict=True)},
        "classes": dict.fromkeys(names, counts),
        "channels": channels or [],
    }
    data_report(path, found, [np.array(part) for part in lengths])


def channel(name: str, least: float, most: float, mean: float, std: float) -> dict[str, Any]:
    return {"name": name, "least": least, "most": most, "mean": mean, "deviation": std, "missing": 0, "constant": std == 0}


def of_classes(tmp_path: Path, drawn: Drawn, count: int) -> Figure:
    report(tmp_path / "x.png", {f"class {n}": 5 + n % 7 for n in range(count)}, [[8]] * 3)
    return drawn[-1]


def test_many_classes_cost_no_more_than_some(tmp_path: Path, drawn: Drawn) -> None:
    some, many = (len(of_classes(tmp_path, drawn, count).findobj()) for count in (70, 2_000))
    assert many <= some * 1.1


def test_of_many_classes_the_line_falls_from_the_most_to_the_fewest_examples(tmp_path: Path, drawn: Drawn) -> None:
    figure = of_classes(tmp_path, drawn, 700)
    stairs = [patch.get_data().values for patch in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert len(stairs) == 3 and all((np.diff(values) <= 0).all() and values.sum() == 700 * 8 for values in stairs)
    assert "700 classes, those with the most examples first" in texts(figure)


def test_some_classes_are_all_named(tmp_path: Path, drawn: Drawn) -> None:
    assert {f"class {n}" for n in range(60)} <= set(texts(of_classes(tmp_path, drawn, 60)))


@pytest.mark.parametrize(("least", "most"), [(15, 40), (1, 2), (100, 90_000)])
def test_every_bin_of_lengths_holds_as_many_of_them_and_no_bar_hides_another(
    tmp_path: Path, drawn: Drawn, least: int, most: int
) -> None:
    every = np.arange(least, most + 1)
    report(tmp_path / "x.png", {"a": 1, "b": 1}, [every, every, every])
    lengths = drawn[-1].axes[1]
    bars = sorted((patch.get_x(), patch.get_width(), patch.get_height()) for patch in lengths.patches)  # type: ignore[attr-defined]
    assert len(bars) <= 3 * BINS
    assert all(x + width <= following + 1e-6 * most for (x, width, _), (following, *_) in pairwise(bars))
    heights = np.array([height for *_, height in bars])
    assert heights[:-3] == pytest.approx(heights[0]), "all lengths are there once, so all bins but the last are as high"
    assert heights.sum() == pytest.approx(300) and "% of the split" in texts(drawn[-1])


def test_equal_lengths_are_a_number_and_no_histogram(tmp_path: Path, drawn: Drawn) -> None:
    report(tmp_path / "x.png", {"a": 1, "b": 1}, [[8, 8], [8], [8]])
    assert len(drawn[0].axes) == 1 and {"examples of 8 steps", "train: 2", "valid: 1", "test: 1"} <= set(texts(drawn[0]))


def test_channels_of_any_units_fill_the_picture_and_say_their_own_values(tmp_path: Path, drawn: Drawn) -> None:
    channels = [channel("temperature", 38, 51, 44, 2), channel("pressure", 98_000, 104_000, 101_000, 1_200)]
    report(tmp_path / "x.png", {"a": 1, "b": 1}, [[8]] * 3, [*channels, channel("stuck", 7, 7, 7, 0)])
    assert {"38", "51", "98000", "1.04e+05", "always 7", "temperature", "stuck"} <= set(texts(drawn[0]))
    axes = drawn[0].axes[1]
    width = axes.get_xlim()[1] - axes.get_xlim()[0]
    ranges = [segment[:, 0] for segment in axes.collections[0].get_segments()][:2]  # type: ignore[attr-defined]
    assert all(end - start > width / 3 for start, end in ranges)
    assert axes.get_xscale() == "linear"


def test_a_far_value_does_not_squeeze_the_other_channels(tmp_path: Path, drawn: Drawn) -> None:
    report(tmp_path / "x.png", {"a": 1, "b": 1}, [[8]] * 3, [channel("x", -3, 3, 0, 1), channel("spike", 0, 1e6, 1, 30)])
    assert drawn[0].axes[1].get_xscale() == "symlog"


def test_the_legend_lies_on_no_bar(tmp_path: Path, drawn: Drawn) -> None:
    report(tmp_path / "x.png", {f"class {n}": 20 for n in range(10)}, [[8]] * 3)
    box = drawn[0].legends[0].get_window_extent()
    assert not any(box.overlaps(axes.get_window_extent()) for axes in drawn[0].axes)
