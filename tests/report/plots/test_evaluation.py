"""What pictures of an evaluation show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import AxesImage

from pipeline.report.plots.evaluation import FREQUENT, MOST_CELLS, confusion, reliability
from tests.report.plots.drawing import Drawn, cells, texts

CELLS = np.array([[0, 0, 8], [0, 2, 4], [1, 1, 5], [2, 1, 3]])


def test_labels_go_down_and_predictions_across(tmp_path: Path, drawn: Drawn) -> None:
    confusion(tmp_path / "x.png", CELLS, ["a", "b", "c"], "test split")
    axes = drawn[0].axes[0]
    (mesh,) = axes.collections
    assert mesh.get_array().tolist() == [[8 / 12, 0, 4 / 12], [0, 1, 0], [0, 1, 0]]  # type: ignore[union-attr]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "label") and axes.yaxis_inverted()
    placed = {text.get_text(): text.get_position() for text in axes.texts}
    recalls = [placed.pop(text)[1] for text in ("67%", "100%", "0%")]
    assert recalls == [0.5, 1.5, 2.5] and placed.pop("recall")
    assert placed == {"8": (0.5, 0.5), "4": (2.5, 0.5), "5": (1.5, 1.5), "3": (1.5, 2.5)}


def test_a_matrix_says_its_split_its_recalls_and_its_scale(tmp_path: Path, drawn: Drawn) -> None:
    confusion(tmp_path / "x.png", CELLS, ["a", "b", "c", "unseen"], "test split: accuracy 65.00%, 20 examples")
    said = texts(drawn[0])
    assert {"test split: accuracy 65.00%, 20 examples", "67%", "100%", "0%", "-", "recall"} <= set(said)
    assert "share of the label's examples (square-root scale)" in said


def test_many_classes_cost_no_more_than_some(tmp_path: Path, drawn: Drawn) -> None:
    for count in (70, 2_000):
        confusion(tmp_path / "x.png", cells(count), [f"class {n}" for n in range(count)])
    some, many = (len(figure.findobj()) for figure in drawn)
    assert many <= some * 1.1
    (image,) = drawn[1].axes[0].findobj(AxesImage)
    assert image.get_array().size <= MOST_CELLS**2  # type: ignore[attr-defined]


def test_a_cell_of_several_classes_holds_all_their_examples(tmp_path: Path, drawn: Drawn) -> None:
    confusion(tmp_path / "x.png", np.array([[0, 0, 6], [1, 999, 2], [999, 2, 4]]), [str(n) for n in range(1000)])
    (image,) = drawn[0].axes[0].findobj(AxesImage)
    shares = image.get_array()  # type: ignore[attr-defined]
    assert shares.shape == (334, 334) and (shares[0, 0], shares[0, 333], shares[333, 0]) == (0.75, 0.25, 1)
    assert "label, 3 classes in a cell" in texts(drawn[0])


@pytest.mark.parametrize("count", [21, 61, 1000])
def test_where_cells_have_no_numbers_the_most_frequent_mistakes_are_named(tmp_path: Path, drawn: Drawn, count: int) -> None:
    found = np.array([[n, n, 50] for n in range(count)] + [[n, (n + 1) % count, 100 + n] for n in range(count)])
    confusion(tmp_path / "x.png", found, [f"c{n}" for n in range(count)])
    named = [text for text in texts(drawn[0]) if "→" in text and "label" not in text]
    assert named[:2] == [f"c{count - 1} → c0", f"c{count - 2} → c{count - 1}"] and len(named) == min(FREQUENT, count)
    beside = drawn[0].axes[1]
    assert [bar.get_width() for bar in beside.patches][:2] == [99 + count, 98 + count]  # type: ignore[attr-defined]


def test_a_bin_of_few_examples_has_a_wide_interval_and_every_bin_its_count(tmp_path: Path, drawn: Drawn) -> None:
    counts = np.array([0, 2, 3, 300])
    reliability(tmp_path / "x.png", np.array([0, 0.3, 0.6, 0.9]), np.array([0, 0.5, 2 / 3, 0.9]), counts, "test split, n = 305")
    top, bottom = drawn[0].axes
    (intervals,) = top.collections
    low, high = np.array([segment[:, 1] for segment in intervals.get_segments()]).T  # type: ignore[attr-defined]
    assert (high - low)[0] > 0.7 > 0.1 > (high - low)[2] > 0.05
    assert ((low < [0.5, 2 / 3, 0.9]) & (high > [0.5, 2 / 3, 0.9])).all()
    assert [text.get_text() for text in bottom.texts] == ["2", "3", "300"]
    assert "test split, n = 305\nexpected calibration error 0.20 %" in texts(drawn[0])


def test_intervals_are_those_of_statsmodels(tmp_path: Path, drawn: Drawn) -> None:
    """proportion_confint(8, 10, method="wilson") of statsmodels gives 0.4901625 and 0.9433178."""
    reliability(tmp_path / "x.png", np.array([0.2, 0.8]), np.array([0.0, 0.8]), np.array([0, 10]))
    ((low, high),) = [segment[:, 1] for segment in drawn[0].axes[0].collections[0].get_segments()]  # type: ignore[attr-defined]
    assert (low, high) == pytest.approx((0.4901625, 0.9433178), abs=1e-5)
