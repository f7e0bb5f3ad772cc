"""Pictures are whole PNG files of a predictable size, small, and the same bytes for the same arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import UserError
from pipeline.plots.data import data_report, sample_grid
from pipeline.plots.evaluation import confusion, reliability
from pipeline.plots.training import _running_mean, curves, rate_range

DPI = 105


def written(path: Path) -> tuple[int, int]:
    """The size of a PNG that decodes to more than one colour."""
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert len(set(image.convert("L").getextrema())) == 2
        return image.size


def matrix(classes: int) -> Any:
    random = np.random.default_rng(0)
    return random.integers(0, 9, (classes, classes)) * (random.random((classes, classes)) < 0.3) + 900 * np.eye(
        classes, dtype=np.int64
    )


def records(steps: int) -> list[dict[str, Any]]:
    return [
        {"step": step, "train/loss": 2.3 / step, "train/lr": 0.01}
        | ({"valid/loss": 2.0 / step, "valid/accuracy": 1 - 1 / step} if step % 10 == 0 else {})
        for step in range(1, steps + 1)
    ]


def draw_samples(path: Path) -> None:
    sample_grid(path, np.random.default_rng(0).integers(0, 255, (40, 28, 28)), [str(n) for n in range(40)])


def draw_lines(path: Path) -> None:
    sequences = [np.random.default_rng(n).normal(size=(10 + n, 3)) for n in range(12)]
    sample_grid(path, sequences, ["walk"] * 12, lines=True)


def draw_reliability(path: Path) -> None:
    counts = np.array([0, 2, 3, 50])
    reliability(path, np.array([np.nan, 0.3, 0.6, 0.9]), np.array([np.nan, 0.5, 0.5, 0.88]), counts)


def draw_report(path: Path) -> None:
    random = np.random.default_rng(0)
    numbers = {"least": -3.0, "mean": 0.5, "most": 1e5, "deviation": 20.0, "constant": False}
    channels = [numbers | {"name": f"channel {n}", "missing": 5 * (n == 1)} for n in range(4)]
    counts = {"yes": 20, "no": 3}
    report = {"parts": {"train": 23, "test": 23}, "classes": {"train": counts, "test": counts}, "channels": channels}
    data_report(path, report, [random.integers(1, 90, 23) for _ in range(2)])


def draw_rates(path: Path) -> None:
    rates = np.geomspace(1e-5, 10, 200)
    losses = 2 - np.exp(-((np.log10(rates) + 1) ** 2)) + np.random.default_rng(0).normal(0, 0.1, 200)
    rate_range(path, rates.tolist(), losses.tolist(), losses.tolist(), 0.025)


PICTURES: dict[str, tuple[Callable[[Path], None], tuple[float, float]]] = {
    "samples": (draw_samples, (11.5, 5.54)),
    "report": (draw_report, (7.5, 7.78)),
    "lines": (draw_lines, (11.4, 2.82)),
    "rates": (draw_rates, (7.5, 4.2)),
    "reliability": (draw_reliability, (4.6, 5.4)),
    "curves": (lambda path: curves(path, records(300)), (7.5, 5.7)),
    "confusion of 2": (lambda path: confusion(path, matrix(2), ["no", "yes"]), (4.7, 3.9)),
    "confusion of 20": (lambda path: confusion(path, matrix(20), [f"class {n}" for n in range(20)]), (10.2, 9.4)),
    "confusion of 62": (lambda path: confusion(path, matrix(62), [str(n) for n in range(62)]), (10.2, 9.4)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture_decodes_with_its_size_and_repeats_byte_for_byte(name: str, tmp_path: Path) -> None:
    draw, inches = PICTURES[name]
    draw(tmp_path / "one.png")
    draw(tmp_path / "two.png")
    assert written(tmp_path / "one.png") == pytest.approx([DPI * side for side in inches], abs=1)
    assert (tmp_path / "one.png").stat().st_size < 200_000
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_long_titles_get_the_room_they_need(tmp_path: Path) -> None:
    images = np.zeros((10, 8, 8))
    images[:, 2:4] = 1
    sample_grid(tmp_path / "short.png", images, ["4 → 9  98 %"] * 10)
    sample_grid(tmp_path / "long.png", images, ["Ankle boot → T-shirt/top  98 %"] * 10)
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
    confusion(tmp_path / "confusion.png", np.array([[3, 0], [0, 0]]), ["seen", "unseen"])
    written(tmp_path / "confusion.png")


def test_running_mean_neither_lags_nor_reaches_over_the_ends() -> None:
    line = np.arange(20.0)
    assert _running_mean(line, 3)[:17] == pytest.approx(line[:17])
    assert _running_mean(np.ones(5), 3) == pytest.approx(np.ones(5))
    assert len(_running_mean(np.array([]), 1)) == 0


def test_picture_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    confusion(tmp_path / "confusion.png", matrix(2), ["no", "yes"])
    before = (tmp_path / "confusion.png").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match=r"confusion\.png: cannot write a picture: the disk is full"):
        confusion(tmp_path / "confusion.png", matrix(3), ["a", "b", "c"])
    assert [path.name for path in tmp_path.iterdir()] == ["confusion.png"]
    assert (tmp_path / "confusion.png").read_bytes() == before
