"""Pictures are whole PNG files of a predictable size, small, and the same bytes for the same arguments."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import UserError
from pipeline.report.plots.data import image_grid
from pipeline.report.plots.evaluation import confusion
from pipeline.report.plots.training import POINTS, Line, _running_mean, curves
from tests.report.plots.drawing import PICTURES, Drawn, cells, draw_confusion, texts

DPI = 105


def written(path: Path) -> tuple[int, int]:
    """The size of a PNG that decodes to more than one colour."""
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert len(set(image.convert("L").getextrema())) == 2
        return image.size


NAMES = [f"class {n}" for n in range(4)]
SIZES = {  # inches
    "samples": (11.5, 5.84),
    "report": (7.5, 6.5),
    "series": (11.4, 5.2),
    "rates": (7.5, 4.2),
    "reliability": (4.8, 5.6),
    "curves": (7.5, 5.7),
    "confusion of 3": (5.86, 4.26),
    "parameters": (10.0, 3.4),
    "history": (7.5, 4.0),
}
CONFUSIONS = {2: (5.86, 4.26), 20: (11.84, 10.24), 62: (12.24, 8.24)}


@pytest.mark.parametrize("name", [*PICTURES, *CONFUSIONS])
def test_picture_decodes_with_its_size_and_repeats_byte_for_byte(name: str | int, tmp_path: Path) -> None:
    inches = SIZES[name] if isinstance(name, str) else CONFUSIONS[name]
    for file in ("one.png", "two.png"):
        if isinstance(name, str):
            PICTURES[name].draw(tmp_path / file, NAMES)
        else:
            draw_confusion(tmp_path / file, [f"class {n}" for n in range(name)])
    assert written(tmp_path / "one.png") == pytest.approx([DPI * side for side in inches], abs=1)
    assert (tmp_path / "one.png").stat().st_size < 200_000
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_long_titles_get_the_room_they_need(tmp_path: Path) -> None:
    images = np.zeros((10, 8, 8))
    images[:, 2:4] = 1
    image_grid(tmp_path / "short.png", images, ["4 → 9  98 %"] * 10)
    image_grid(tmp_path / "long.png", images, ["Ankle boot → T-shirt/top  98 %"] * 10)
    short, long = written(tmp_path / "short.png"), written(tmp_path / "long.png")
    assert short[0] > short[1] and long[0] <= 12 * DPI and long[1] > short[1]


@pytest.mark.parametrize(
    "few",
    [
        [],
        [{"step": 1, "train/loss": 2.3}],
        [{"step": 1, "train/loss": None}, {"step": 2, "train/loss": float("nan"), "valid/accuracy": 0.5}],
    ],
)
def test_curves_draw_a_run_that_has_hardly_begun_or_diverged(few: list[dict[str, Any]], tmp_path: Path) -> None:
    curves(tmp_path / "curves.png", few)
    written(tmp_path / "curves.png")


def test_confusion_draws_a_class_without_examples(tmp_path: Path) -> None:
    confusion(tmp_path / "confusion.png", np.array([[0, 0, 3]]), ["seen", "unseen"])
    written(tmp_path / "confusion.png")


def test_many_classes_without_a_mistake_are_drawn_and_said(tmp_path: Path, drawn: Drawn) -> None:
    right = np.array([[n, n, 3] for n in range(300)])
    confusion(tmp_path / "confusion.png", right, [str(n) for n in range(300)])
    assert "no mistake" in texts(drawn[0])


def test_running_mean_neither_lags_nor_reaches_over_the_ends() -> None:
    line = np.arange(20.0)
    assert _running_mean(line, 3)[:17] == pytest.approx(line[:17])
    assert _running_mean(np.ones(5), 3) == pytest.approx(np.ones(5))
    assert len(_running_mean(np.array([]), 1)) == 0


def test_picture_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    confusion(tmp_path / "confusion.png", cells(2), ["no", "yes"])
    before = (tmp_path / "confusion.png").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match=r"confusion\.png: cannot write a picture: the disk is full"):
        confusion(tmp_path / "confusion.png", cells(3), ["a", "b", "c"])
    assert [path.name for path in tmp_path.iterdir()] == ["confusion.png"]
    assert (tmp_path / "confusion.png").read_bytes() == before


@pytest.mark.parametrize("count", [1, 1999, 2000, 2001, 4000, 4001, 123_457])
def test_a_line_of_any_length_has_its_extremes_its_mean_and_at_most_2000_points(count: int) -> None:
    random = np.random.default_rng(count)
    steps, values = np.arange(count) * 5.0, random.normal(size=count)
    values[random.integers(count)] = values.min() - 1  # one peak that a sample would miss, and the first of two equals
    best = sorted(random.choice(count, min(2, count), replace=False))
    values[best] = 10.0
    line = Line()
    for step, value in zip(steps.tolist(), values.tolist(), strict=True):
        line.add(step, value)
    line.add(count * 5.0, None)
    line.add(count * 5.0, float("nan"))
    shown_steps, shown = line.points
    known = dict(zip(steps.tolist(), values.tolist(), strict=True))
    assert [known[step] for step in shown_steps.tolist()] == shown.tolist(), "each is one of the points"
    assert np.all(np.diff(shown_steps) > 0) and min(count, POINTS // 4) <= len(shown) <= POINTS
    assert shown.min() == values.min() and shown_steps[shown.argmax()] == steps[best[0]]
    if count <= POINTS:
        assert shown.tolist() == values.tolist() == line.means[1].tolist()
    middles, means = line.means
    whole = len(means) - 1  # the last span may be shorter
    each = count if not whole else round((middles[1] - middles[0]) / 5)
    assert means[0] == pytest.approx(values[:each].mean()) and middles[0] == pytest.approx(steps[:each].mean())


def test_curves_of_a_long_run_take_little_memory(tmp_path: Path) -> None:
    peaks = []
    for count in (3_000, 30_000):
        tracemalloc.start()
        curves(tmp_path / "curves.png", ({"step": step, "train/loss": 1 / (1 + step % 77)} for step in range(count)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
