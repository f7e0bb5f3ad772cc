"""What pictures of series show: steps and names to read them by, and no more lines and points than can be told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline import config
from pipeline.report.plots.series import CHANNELS, POINTS, thinned
from pipeline.stages import prepare
from tests.report.plots.drawing import Drawn, draw_series, texts

Own = Callable[..., Figure]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: Drawn) -> Own:
    """``own(series, data)``: samples.png of series (T, C) of two classes, prepared with some keys of the section ``data``."""

    def make(series: list[np.ndarray], data: str = "") -> Figure:
        monkeypatch.chdir(tmp_path)
        values, lengths = np.concatenate(series), np.array([len(one) for one in series])
        np.savez("own.npz", values=values, lengths=lengths, labels=np.array(["calm", "wild"])[np.arange(len(series)) % 2])
        (tmp_path / "own.yaml").write_text(f"data: {{source: npz, path: own.npz, validation: 0{data}}}\n")
        prepare.prepare(config.load("own.yaml"), "own.yaml")
        return drawn[-1]

    return make


def lines(figure: Figure, panel: int = 0) -> list[Line2D]:
    return list(figure.axes[panel].lines)


def test_of_many_channels_those_that_vary_most_are_drawn_in_their_order_and_the_title_says_so(own: Own) -> None:
    spread = np.random.default_rng(1).permutation(np.geomspace(1, 1000, 300))
    figure = own([np.random.default_rng(n).permutation([-1.0, 1, -1, 1])[:, None] * spread for n in range(40)])
    kept = sorted(np.argsort(-spread)[:CHANNELS])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"channel_{n}" for n in kept]
    assert "12 of 300 channels, those of the largest standard deviation in the train split" in "\n".join(texts(figure))
    assert len(lines(figure)) == CHANNELS
    assert len({(line.get_color(), line.get_linestyle()) for line in lines(figure)}) == CHANNELS, "told apart"


@pytest.mark.parametrize(("steps", "channels"), [(20, 12), (20, 300), (900, 2)])
def test_a_picture_holds_as_much_whatever_the_steps_and_channels(own: Own, steps: int, channels: int) -> None:
    figure = own([np.random.default_rng(n).normal(size=(steps, channels)).astype("f4") for n in range(25)])
    assert len(figure.axes) == prepare.SERIES == 12
    for panel in range(prepare.SERIES):
        drawn = lines(figure, panel)
        assert len(drawn) == min(channels, CHANNELS)
        assert max(len(line.get_xdata()) for line in drawn) <= POINTS


def test_steps_have_one_scale_so_that_a_short_series_looks_short(own: Own) -> None:
    figure = own([np.random.default_rng(n).normal(size=(5 + n, 2)) for n in range(40)])
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len({axes.get_xlim() for axes in panels}) == 1
    ends = [max(axes.lines[0].get_xdata()) for axes in panels]
    assert len(set(ends)) > 10 and panels[0].get_xlim()[1] >= max(ends), "and no series is cut"
    assert {"step", "standard deviations from the mean"} <= set(texts(figure))


def test_one_channel_is_drawn_in_the_units_of_the_file(own: Own) -> None:
    base = 1.7e12
    figure = own([base + np.arange(9.0)[:, None] * n for n in range(1, 41)])
    values = np.concatenate([line.get_ydata() for line in lines(figure)])
    assert values.min() == base and values.max() <= base + 320 and "value" in texts(figure)


def test_values_that_were_missing_are_gaps_and_their_indicators_are_no_lines(own: Own) -> None:
    series = [np.random.default_rng(n).normal(size=(9, 2)) for n in range(40)]
    for one in series:
        one[3:5, 1] = np.nan
    figure = own(series, ", missing: mask")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["channel_0", "channel_1"]
    first, second = (np.isnan(line.get_ydata()) for line in lines(figure))
    assert not first.any() and np.flatnonzero(second).tolist() == [3, 4]


def test_every_panel_without_another_below_has_its_steps(tmp_path: Path, drawn: Drawn) -> None:
    draw_series(tmp_path / "x.png", ["a", "b"])
    shown = [axes.xaxis.get_tick_params()["labelbottom"] for axes in drawn[0].axes]
    assert shown == [False] * 7 + [True] * 5, "eleven in rows of four"


@pytest.mark.parametrize("steps", [1, 2, 499, 500, 501, 999, 10_007])
def test_thinning_keeps_the_least_and_the_greatest_value_where_they_are(steps: int) -> None:
    values = np.random.default_rng(steps).normal(size=(steps, 3)).cumsum(0)
    places, found = thinned(values)
    assert len(found) <= POINTS and (np.diff(places, axis=0) >= 0).all()
    assert np.array_equal(np.take_along_axis(values, places, 0), found)
    assert np.array_equal(found.min(0), values.min(0)) and np.array_equal(found.max(0), values.max(0))


def test_thinning_keeps_gaps() -> None:
    values = np.arange(10_000.0)[:, None].copy()
    values[3_000:5_000] = np.nan
    places, found = thinned(values)
    gap = (places > 3_040) & (places < 4_960)
    assert gap.sum() > 80 and np.isnan(found[gap]).all() and np.isnan(found).sum() < gap.sum() + 8
