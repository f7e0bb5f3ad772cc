"""``report`` shows what is there, and says what is not."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from pipeline.report.page import measured
from tests.report.page.test_writing import Elements, embedded
from tests.support.launching import run, succeed


@pytest.fixture
def copied(digits: Path, tmp_path: Path) -> Path:
    """A copy of a run that a test may damage."""
    return Path(shutil.copytree(digits, tmp_path / "run"))


def of(folder: Path) -> tuple[str, dict]:
    """The report of a run and the data in it, written anew."""
    shown = succeed("report", "--run", str(folder), cwd=folder)
    text = (folder / "report.html").read_text()
    return shown, embedded(text) | {"text": text}


def result(text: str) -> str:
    """The first section of a page."""
    return text[text.index('<section id="result"') : text.index("</section>")]


def test_the_report_shows_the_accuracy_and_examples_of_every_cell_of_mistakes(digits: Path) -> None:
    text, measured = (digits / "report.html").read_text(), json.loads((digits / "eval/metrics.json").read_text())
    assert f"{100 * measured['accuracy']:.2f} %" in text
    found = embedded(text)
    there = {(item["label"], item["guess"]) for item in found["examples"].values() if "guess" in item}
    matrix = measured["confusion_matrix"]
    assert there == {(label, guess) for label in range(10) for guess in range(10) if matrix[label][guess]}
    assert found["model"]["checks"]["source"] == "model.onnx"
    assert len((digits / "report.html").read_bytes()) < 1_000_000


def test_the_first_section_says_in_words_what_the_accuracy_is_worth(copied: Path) -> None:
    path = copied / "eval/metrics.json"
    stored = json.loads(path.read_text()) | {"largest_class": "<b>one</b>"}
    path.write_text(json.dumps(stored))
    first = result(of(copied)[1]["text"])
    assert "Warnings" not in first and "better model" not in first
    said = f"always '<b>one</b>', the largest class: {stored['largest_class_accuracy']:.4f}; the nearest training example's "
    assert f"{said}label: {stored['nearest_neighbour_accuracy']:.4f}" in " ".join(Elements(first).texts)
    told = "the model predicts one class only: '</ul><script>alert(1)</script>'"
    path.write_text(json.dumps(stored | {"warnings": [told], "remedy": "more <epochs>", "nearest_neighbour_accuracy": None}))
    first = result(of(copied)[1]["text"])
    page = Elements(first)
    assert told in page.texts and not {"script", "b"} & {*page.tags}
    assert "For a better model: more <epochs>" in page.texts and "the nearest training example" not in first


def test_the_first_section_has_the_warnings_of_prepare_too() -> None:
    data = {"warnings": [f"channel <{number}>" for number in range(9)]}
    found = measured.Evaluation(step=1, count=1, accuracy=0, loss=1, per_class={}, warnings=["useless"])
    assert measured.warnings(found, data) == (["useless", *(f"channel <{number}>" for number in range(5))], 4)
    assert measured.warnings(None, data | {"warnings": ["one"]}) == (["one"], 0)
    assert measured.warnings(None, None) == ([], 0)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("eval", "was not evaluated yet"),
        ("export", "is comparing its own logits"),
        ("checkpoints", "The model is not in this page"),
        ("metrics.jsonl", "Confusion"),
        ("environment.json", "Confusion"),
    ],
)
def test_a_run_that_lacks_something_is_shown_without_it(copied: Path, lost: str, said: str) -> None:
    shutil.rmtree(copied / lost) if (copied / lost).is_dir() else (copied / lost).unlink()
    _, found = of(copied)
    assert said in found["text"]


def test_predictions_of_another_evaluation_are_not_drawn_beside_its_accuracy(copied: Path) -> None:
    path = copied / "eval/metrics.json"
    measured = json.loads(path.read_text())
    path.write_text(json.dumps(measured | {"accuracy": measured["accuracy"] / 2}))
    shown, found = of(copied)
    assert "predictions.csv: is of another evaluation than metrics.json; type: " in shown
    assert not any("guess" in item for item in found["examples"].values())


def test_a_run_without_its_data_says_once_how_to_make_it_again(copied: Path) -> None:
    path = copied / "config.yaml"
    path.write_text(re.sub("  prepared: .*", f"  prepared: {copied}/none", path.read_text()))
    shown, _ = of(copied)
    assert shown.count("not prepared yet") == 1 and f"prepare --config {copied}/config.yaml" in shown
    status, refused = run("evaluate", "--run", str(copied), cwd=copied)
    assert status == 2 and f"prepare --config {copied}/config.yaml" in refused


def test_an_evaluation_of_another_checkpoint_is_said_to_be_one(copied: Path) -> None:
    path = copied / "eval/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"step": 1}))
    shown, found = of(copied)
    assert "evaluated at step 1, and step" in shown and "evaluated at step 1, and step" in found["text"]
    assert "evaluated at step 1, and step" in succeed("summary", str(copied), cwd=copied)


@pytest.mark.parametrize("damaged", ["eval/metrics.json", "eval/predictions.csv", "metrics.jsonl", "environment.json"])
def test_a_damaged_file_is_named_in_the_report_and_on_the_screen(copied: Path, damaged: str) -> None:
    (copied / damaged).write_text('{"damaged\n')
    shown, found = of(copied)
    assert damaged in shown and damaged in found["text"] and "Configuration" in found["text"]
    assert ("evaluate --run" in shown) == damaged.startswith("eval/")
