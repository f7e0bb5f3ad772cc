"""``explain`` as it is typed: on images, and on series with missing values; what it prints, draws and refuses."""

from __future__ import annotations

import csv
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.__main__ import app
from pipeline.stages.terminal.answers import Explained
from pipeline.stages.terminal.endings import ended
from tests.support.launching import ROOT, succeed


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: digits, and series in which class ``y`` is a bump at step 7 of channel ``b``."""
    folder = tmp_path_factory.mktemp("work")
    smoke = ("--config", str(ROOT / "configs/smoke.yaml"), "train.epochs=5", "run.dir=digits")
    succeed("train", *smoke, cwd=folder)
    random = np.random.default_rng(0)
    with (folder / "own.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "time", "a", "$b$ <x>", "label"])
        for number in range(200):
            for step in range(10 + number % 3):
                bump = 4.0 * (step == 7) * (number % 2)
                a = "" if (number + step) % 9 == 0 else f"{random.normal():.4f}"
                rows.writerow([number, step, a, f"{1000 + random.normal(0, 0.3) + bump:.4f}", "xy"[number % 2]])
    (folder / "own.yaml").write_text(
        "data: {source: csv, path: own.csv, missing: mask}\nmodel: {hidden: 16, bidirectional: true, pooling: max}\n"
        "train: {epochs: 12, batch: 16}\ntrack: {backends: []}\nrun: {dir: own}\n"
    )
    succeed("train", "own.yaml", cwd=folder)
    succeed("evaluate", "own", cwd=folder)
    return folder


@pytest.fixture
def said(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """``said(words)``: what ``explain`` prints."""
    monkeypatch.chdir(work)

    def call(*words: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["pipeline", "explain", *words])
        with pytest.raises(SystemExit) as caught:
            ended(partial(app, standalone_mode=False))
        out, err = capsys.readouterr()
        assert (caught.value.code or 0) == status, err
        assert "was not drawn" not in err
        return out if status == 0 else err

    return call


def test_an_image_is_explained_and_drawn(said: Any, work: Path) -> None:
    lines = said("--run", "digits", "--index", "7").splitlines()
    assert lines[0].startswith("test #7: label 1, prediction ") and lines[-1] == "written: digits/eval/explain-7.png"
    assert lines[1].startswith("attributions add up to ") and "do not trust" not in lines[1]
    assert (work / "digits/eval/explain-7.png").read_bytes().startswith(b"\x89PNG")


def test_the_step_and_the_channel_that_make_a_class_are_found(said: Any, work: Path) -> None:
    with (work / "own/eval/predictions.csv").open() as file:
        right = [row for row in csv.DictReader(file) if row["label"] == row["prediction"] == "y"]
    assert len(right) > 5, "the model has learned it"
    found = json.loads(said("own", "--index", right[0]["index"], "--json"))
    assert list(found) == list(Explained.model_fields)
    assert found["features"] == ["a", "$b$ <x>", "a missing"] and found["complete"] and found["true"]
    attribution = np.array(found["attribution"])
    assert np.unravel_index(attribution.argmax(), attribution.shape) == (7, 1) and int(np.argmax(found["relevance"])) == 7
    assert abs(attribution.sum() - found["difference"]) <= 0.01 * max(1, abs(found["difference"]))


def test_another_class_and_another_split_can_be_asked_for(said: Any, work: Path) -> None:
    lines = said("own", "--index", "0", "--split", "train", "--class", "y", "--output", "pictures/one.png").splitlines()
    assert "explained: y" in lines[0] and (work / "pictures/one.png").is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("digits", "--index", "100000"), "not in the test split, whose indices go from 0 to 359"),
        (("digits", "--index", "0", "--split", "tset"), "expected one of train"),
        (("digits", "--index", "0", "--class", "zebra"), "no class of the model; it has 0, 1"),
        (("digits", "--index", "0", "--output", "one.jpg"), "must end in .png"),
        (("none", "--index", "0"), "no such run folder"),
        (("digits",), "Missing option '--index'"),
    ],
)
def test_wrong_input_is_one_message(said: Any, words: tuple[str, ...], says: str) -> None:
    assert says in said(*words, status=2)
