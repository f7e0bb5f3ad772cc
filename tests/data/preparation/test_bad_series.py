"""A file of series or a folder of images that is wrong: ``python -m pipeline prepare`` names the file and the row, exits
with status 2 and leaves no folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from pipeline.__main__ import main
from tests.support.series_files import csv, examples, npz, parquet, ts


def rows(count: int = 24, **columns: Callable[[int], object]) -> list[dict[str, object]]:
    """A long table of series of two steps, ids from s0, two classes; ``columns`` change or add columns, by number of series."""
    table = []
    for number in range(count):
        for time in range(2):
            row: dict[str, object] = {
                "id": f"s{number}",
                "time": 10 * number + time,
                "x": number + time / 2,
                "label": "ab"[number % 2],
            }
            table.append(row | {name: made(number) for name, made in columns.items()})
    return table


def table(name: str, **columns: Callable[[int], object]) -> Callable[[], object]:
    return lambda: csv(Path(name), pl.DataFrame(rows(**columns), strict=False))


def broken_image() -> None:
    images({"a": (4, 4), "b": (4, 4)})
    Path("images/b/1.png").write_bytes(Path("images/b/1.png").read_bytes()[:30])


def images(sizes: dict[str, tuple[int, int]], folder: str = "images", mode: str = "L") -> None:
    for word, size in sizes.items():
        (Path(folder) / word).mkdir(parents=True)
        for number in range(8):
            Image.new(mode, size, number).save(Path(folder) / word / f"{number}.png")


def two_tables(first: dict[str, Callable[[int], object]], second: dict[str, Callable[[int], object]]) -> Callable[[], object]:
    return lambda: (table("data.csv", **first)(), table("test.csv", **second)())


def hole(number: int) -> object:
    return None if number == 5 else 1.0


CSV, TEST = ("data.source=csv", "data.path=data.csv"), "data.test_path=test.csv"
IMAGES = ("data.source=images", "data.path=images")
# what is written, what is asked for, and the words that the message must have, the file and the row among them
CASES: dict[str, tuple[Callable[[], object], tuple[str, ...], tuple[str, ...]]] = {
    "a missing value under error": (table("data.csv", x=hole), CSV, ("data.csv", "line 12", "'x'", "data.missing")),
    "a channel without any value": (
        table("data.csv", y=lambda _: None),
        (*CSV, "data.missing=mean", "data.channels=[x,y]"),
        ("data.csv", "'y' has no value", "data.channels=[x]"),
    ),
    "one class only": (
        table("data.csv", label=lambda _: "a"),
        CSV,
        ("data.csv", "all 24 series, from line 2 to line 48", "'a'", "two classes"),
    ),
    "one sample in a class": (
        table("data.csv", label=lambda number: "c" if number == 3 else "ab"[number % 2]),
        CSV,
        ("data.csv", "line 8", "'c' has 1 series", "needs 2"),
    ),
    "an unknown label in test": (
        two_tables({}, {"label": lambda number: "z" if number == 4 else "a"}),
        (*CSV, TEST),
        ("test.csv", "line 10", "'z' is not one of", "(a, b)"),
    ),
    "other channels in test": (two_tables({}, {"y": lambda _: 1.0}), (*CSV, TEST), ("test.csv", "x, y", "data.channels")),
    "no such group column": (table("data.csv"), (*CSV, "data.split=group", "data.group=patient"), ("data.csv", "patient")),
    "too few groups": (
        table("data.csv", patient=lambda _: "p"),
        (*CSV, "data.split=group", "data.group=patient"),
        ("data.csv", "too few groups", "there are 1 groups in 24"),
    ),
    "a group in both files": (
        two_tables({"p": lambda number: number // 4}, {"p": lambda number: number // 4 + 5}),
        (*CSV, TEST, "data.split=group", "data.group=p"),
        ("test.csv", "line 2", "p '5'", "none may stand on both sides"),
    ),
    "a class that only the latest have": (
        table("data.csv", label=lambda number: "a" if number < 20 else "b"),
        (*CSV, "data.split=time"),
        ("data.csv", "data.test = 0.2 leaves too few", "'b' (0)"),
    ),
    "no such time column": (table("data.csv"), (*CSV, "data.time=when"), ("data.csv", "when")),
    "a series that is too long": (table("data.csv"), (*CSV, "data.max_length=1"), ("data.csv", "line ", "2 steps, more than")),
    "too many held out": (table("data.csv"), (*CSV, "data.validation=1000"), ("data.csv", "data.validation = 1000")),
    "text in a channel": (
        table("data.csv", x=lambda number: "ten" if number == 2 else "1"),
        (*CSV, "data.channels=[x]"),
        ("data.csv", "line 6", "ten"),
    ),
    "a label that changes": (
        lambda: csv(Path("data.csv"), pl.DataFrame([*rows(), rows()[-1] | {"time": 999, "label": "a"}])),
        CSV,
        ("data.csv", "line 50"),
    ),
    "no such file": (lambda: None, CSV, ("data.csv", "no such file")),
    "a truncated Parquet": (
        lambda: Path("data.parquet").write_bytes(parquet(Path("x"), pl.DataFrame(rows())).read_bytes()[:-20]),
        ("data.source=parquet", "data.path=data.parquet"),
        ("data.parquet",),
    ),
    "an npz with a pickle": (
        lambda: np.savez("data.npz", values=np.zeros((4, 2, 1)), labels=np.array(["a", {}], object), allow_pickle=True),
        ("data.source=npz", "data.path=data.npz"),
        ("data.npz", "labels"),
    ),
    "a series without steps": (
        lambda: npz(Path("data.npz"), values=np.zeros((4, 1)), lengths=[2, 0, 2], labels=["a", "b", "a"]),
        ("data.source=npz", "data.path=data.npz"),
        ("data.npz", "1"),
    ),
    "a label that .ts does not declare": (
        lambda: ts(Path("data.ts"), examples(), header="@classLabel true yes no"),
        ("data.source=ts", "data.path=data.ts"),
        ("data.ts", "line 6", "perhaps"),
    ),
    "an image that is cut short": (broken_image, IMAGES, ("images/b/1.png", "not readable as an image")),
    "an image of another size": (lambda: images({"a": (4, 4), "b": (4, 5)}), IMAGES, ("images/b/0.png", "4 x 5 pixels")),
    "an image of 16 bits": (lambda: images({"a": (4, 4), "b": (4, 4)}, mode="I;16"), IMAGES, ("images/a/0.png", "I;16")),
    "images of one class": (lambda: images({"a": (4, 4)}), IMAGES, ("images", "one class, 'a'")),
    "a folder whose name nobody sees as it is": (
        lambda: images({"a": (4, 4), "b\x1b[2K": (4, 4)}),
        IMAGES,
        ("images: the name of folder 'b\\x1b[2K' holds the character U+001B",),
    ),
    "a class without images": (
        lambda: (images({"a": (4, 4), "b": (4, 4)}), Path("images/c").mkdir()),
        IMAGES,
        ("images/c", "holds no images"),
    ),
    "no folder of images": (lambda: None, IMAGES, ("images", "No such file")),
    "a class of images that only test has": (
        lambda: (images({"a": (4, 4), "b": (4, 4)}), images({"a": (4, 4), "z": (4, 4)}, "other")),
        (*IMAGES, "data.test_path=other"),
        ("other/z", "has no such class"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_named_and_nothing_is_left(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, overrides, words = CASES[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "any.yaml").write_text("")
    make()
    monkeypatch.setattr(sys, "argv", ["pipeline", "prepare", "--config", "any.yaml", *overrides])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2, said
    assert said.startswith("error: ") and "Traceback" not in said
    for word in words:
        assert word in said
    assert [path.name for path in Path("prepared").iterdir()] == [".lock"]


def test_series_that_reach_into_the_time_that_is_held_out_are_said_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "any.yaml").write_text("data: {validation: 0}")
    csv(Path("data.csv"), pl.DataFrame([row | {"time": number // 2 + number % 2} for number, row in enumerate(rows())]))
    monkeypatch.setattr(sys, "argv", ["pipeline", "prepare", "--config", "any.yaml", *CSV, "data.split=time"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert "warning: 1 series end when the time that is held out has begun; they are in no part" in said
    assert "train  18 examples" in said and "test   5 examples" in said


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["data.source=csv"], "data.path"),
        (["data.path=x.csv"], "data.path"),
        ([*CSV, "data.split=group"], "data.group"),
        ([*CSV, "data.split=time", "data.time="], "data.time"),
        ([*IMAGES, "data.split=group"], "data.split"),
        ([*CSV, "data.test=0"], "data.test"),
        ([*CSV, "data.shift=1"], "data.shift"),
    ],
)
def test_keys_that_do_not_go_together_are_named_before_anything_is_read(
    overrides: list[str], key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "any.yaml").write_text("")
    monkeypatch.setattr(sys, "argv", ["pipeline", "prepare", "--config", "any.yaml", *overrides])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert f"{key}: " in capsys.readouterr().err
    assert not (tmp_path / "prepared").exists()
