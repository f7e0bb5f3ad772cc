"""The four stages on the embedded digits, as a user runs them, and what they leave behind."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import classification_report

from pipeline.config import Data
from pipeline.errors import RunError
from pipeline.stages import evaluate
from pipeline.stages.assembly import test_metrics as evaluation_of
from tests.support.launching import ROOT, environment, records, run, succeed
from tests.support.raw_files import examples, put

SMOKE = ("--config", str(ROOT / "configs/smoke.yaml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder after prepare, train, evaluate and export, with wandb and no account."""
    folder = tmp_path_factory.mktemp("work")
    arguments = (*SMOKE, "run.dir=runs/smoke", "train.epochs=6", "track.backends=[wandb]")
    home = {"HOME": str(folder)}
    assert "1293 examples of 8 steps x 8 values" in succeed("prepare", *arguments, cwd=folder, **home)
    succeed("train", *arguments, cwd=folder, processes=1, **home)
    shown = succeed("evaluate", "--run", "runs/smoke", cwd=folder, **home)
    lines = [line.split() for line in shown.splitlines() if line.startswith(("prediction", "label"))]
    assert [len(line) for line in lines] == [11, 11], "ten predictions above ten labels"
    succeed("export", "--run", "runs/smoke", cwd=folder, **home)
    return folder


def test_run_folder_holds_what_the_readme_says(folder: Path) -> None:
    found = {str(path.relative_to(folder / "runs/smoke")) for path in (folder / "runs/smoke").rglob("*")}
    wanted = ["config.yaml", "environment.json", "metrics.jsonl", "results.csv", "checkpoints/best.json"]
    wanted += [f"eval/{name}" for name in ("metrics.json", "predictions.csv", "confusion.png", "curves.png", "mistakes.png")]
    wanted += [f"export/{name}" for name in ("model.safetensors", "config.json", "model.onnx", "model.pt2", "README.md")]
    assert set(wanted) <= found
    assert (next((folder / "prepared").glob("digits-rows-*")) / "samples.png").stat().st_size > 1000


def test_evaluation_agrees_with_its_own_predictions_and_scikit_learn(folder: Path) -> None:
    measured = json.loads((folder / "runs/smoke/eval/metrics.json").read_text())
    with (folder / "runs/smoke/eval/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "label", "prediction", "probability"]
    assert len(rows) == measured["count"] == 360
    assert len({row["index"] for row in rows}) == 360
    labels, predictions = [row["label"] for row in rows], [row["prediction"] for row in rows]
    report = classification_report(labels, predictions, output_dict=True, zero_division=0)
    assert measured["accuracy"] == pytest.approx(report["accuracy"])
    assert measured["accuracy"] > 0.5
    for name, scores in measured["per_class"].items():
        assert scores == pytest.approx({key.replace("-score", ""): value for key, value in report[name].items()})


def test_onnx_classifies_as_the_evaluation_did_without_torch_or_this_package(folder: Path, tmp_path: Path) -> None:
    program = """
import csv, json, sys
import numpy as np, onnxruntime
from safetensors.numpy import load_file
rows = list(csv.DictReader(open(sys.argv[1] + "/eval/predictions.csv")))
test = load_file(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1] + "/export/model.onnx", providers=["CPUExecutionProvider"])
names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
lengths = np.full(len(rows), test["values"].shape[1], np.int64)
(logits,) = session.run(["logits"], {"values": test["values"].astype(np.float32), "lengths": lengths})
assert [names[index] for index in test["labels"]] == [row["label"] for row in rows]
assert "torch" not in sys.modules and "pipeline" not in sys.modules
print(sum(names[guess] != row["prediction"] for guess, row in zip(logits.argmax(1), rows)), len(rows))
"""
    prepared = next((folder / "prepared").glob("digits-rows-*")) / "test.safetensors"
    arguments = [sys.executable, "-c", program, str(folder / "runs/smoke"), str(prepared)]
    clean = {key: value for key, value in environment().items() if key != "PYTHONPATH"}
    done = subprocess.run(arguments, cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "360"]


def test_offline_wandb_run_shows_the_final_metrics(folder: Path) -> None:
    *_, evaluated, _ = sorted((folder / "runs/smoke/wandb").glob("offline-run-*"))  # train, evaluate, export
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(evaluated)]
    done = subprocess.run(command, cwd=folder, env=environment(HOME=str(folder)), capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)["summary"]
    measured = json.loads((folder / "runs/smoke/eval/metrics.json").read_text())
    assert summary["test/accuracy"] == pytest.approx(measured["accuracy"])
    assert summary["test/loss"] == pytest.approx(measured["loss"])
    assert "confusion" in summary
    (path,) = (folder / "runs/smoke/wandb").rglob("confusion_matrix*.table.json")
    table = json.loads(path.read_text())
    cells = {(label, guess): count for label, guess, count in table["data"]}
    with (folder / "runs/smoke/eval/predictions.csv").open() as file:
        said = Counter((row["label"], row["prediction"]) for row in csv.DictReader(file))
    assert table["columns"] == ["Actual", "Predicted", "nPredictions"]
    assert {place: count for place, count in cells.items() if count} == said
    matrix = np.array(measured["confusion_matrix"])
    assert (matrix != matrix.T).any(), "or it would not show which are its rows"
    assert matrix.ravel().tolist() == list(cells.values())


def test_evaluation_of_10007_rows_is_the_same_on_1_and_3_processes(tmp_path: Path) -> None:
    put(tmp_path / "raw", examples(train=300, test=10_007))
    settings = (*SMOKE, "data.source=mnist", "data.root=raw", "run.dir=run", "train.epochs=1")
    succeed("prepare", *settings, cwd=tmp_path)
    succeed("train", *settings, cwd=tmp_path)
    results = []
    for processes in (1, 3):
        succeed("evaluate", "--run", "run", cwd=tmp_path, processes=processes)
        results.append([(tmp_path / "run/eval" / name).read_bytes() for name in ("metrics.json", "predictions.csv")])
    assert json.loads(results[0][0])["count"] == 10_007
    assert np.sum(json.loads(results[0][0])["confusion_matrix"]) == 10_007
    assert results[0] == results[1]
    with (tmp_path / "run/results.csv").open() as file:
        assert [row["count"] for row in csv.DictReader(file)] == ["10007", "10007"]


def test_summary_names_the_accuracy_the_folder_and_the_next_command(folder: Path) -> None:
    shown = succeed("summary", "--run", "runs/smoke", cwd=folder)
    measured = json.loads((folder / "runs/smoke/eval/metrics.json").read_text())
    assert f"{measured['accuracy']:.4f}" in shown
    assert "runs/smoke" in shown
    assert "next           read runs/smoke/export/README.md to use the model" in shown.splitlines()[-1]
    warned = [line for line in shown.splitlines() if line.startswith("warning")]
    assert warned == [f"warning: {line}" for line in measured["warnings"]]
    (folder / "runs/smoke/export").rename(folder / "elsewhere")
    without = succeed("summary", "--run", "runs/smoke", cwd=folder)
    (folder / "elsewhere").rename(folder / "runs/smoke/export")
    assert "model          not exported yet" in without and "README.md" not in without
    assert "export --run runs/smoke" in without.splitlines()[-1]
    for name in ("Makefile", "configs/mnist.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    shown = succeed("summary", "--run", "runs/smoke", cwd=folder)
    assert "next           make all CONFIG=configs/mnist.yaml, or read runs/smoke/export/README.md" in shown
    for name in ("Makefile", "configs/mnist.yaml"):
        (folder / name).unlink()


def test_check_writes_nothing(folder: Path, tmp_path: Path) -> None:
    assert "not prepared yet" in succeed("check", *SMOKE, cwd=tmp_path)
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".output")] == []
    shown = succeed("check", *SMOKE, cwd=folder)
    assert "steps: 14 an epoch, 28 in all, 96 examples each" in shown


def test_early_stopping_ends_the_run_for_good(folder: Path) -> None:
    stop = ("run.dir=early", "train.epochs=200", "train.early_stopping=2", "train.monitor=valid/loss", "optim.lr=0.1")
    first = succeed("train", *SMOKE, *stop, cwd=folder)
    assert "stopped early" in first
    losses = [(record["step"], record["valid/loss"]) for record in records(folder / "early") if "valid/loss" in record]
    best = min(range(len(losses)), key=lambda number: losses[number][1])
    assert best == len(losses) - 3, "two evaluations in a row without a better one, and no third"
    assert f"finished at step {losses[-1][0]};" in first
    assert "nothing to do" in succeed("train", *SMOKE, *stop, cwd=folder)


def test_watched_test_accuracy_is_shown_and_never_decides(folder: Path) -> None:
    watched = (*SMOKE, "run.dir=watched", "train.watch_test=10", "data.validation=0")
    succeed("prepare", *watched, cwd=folder)
    shown = succeed("train", *watched, cwd=folder, processes=2)
    assert shown.count("accuracy on the first 360 test examples") == 3
    assert not (folder / "watched/checkpoints/best.json").exists()


def test_evaluation_of_another_part_leaves_that_of_the_test_part(folder: Path) -> None:
    test = (folder / "runs/smoke/eval/metrics.json").read_bytes()
    succeed("evaluate", "--run", "runs/smoke", "--split", "valid", cwd=folder, HOME=str(folder))
    assert (folder / "runs/smoke/eval/metrics.json").read_bytes() == test
    assert json.loads((folder / "runs/smoke/eval/valid/metrics.json").read_text())["count"] == 144


@pytest.mark.parametrize(
    "change",
    [{"step": "1"}, {"step": -1}, {"count": 1.5}, {"accuracy": 7.0}, {"accuracy": None}, {"loss": "x"}, {"split": None}, None],
)
def test_an_evaluation_that_is_another_is_refused_with_what_to_type(tmp_path: Path, change: dict[str, Any] | None) -> None:
    path = tmp_path / "eval/metrics.json"
    path.parent.mkdir()
    good = {"split": "test", "step": 3, "count": 10, "accuracy": 0.5, "loss": float("nan"), "per_class": {}}
    path.write_text(json.dumps(good))
    found = evaluation_of(tmp_path)
    assert found is not None and (found["step"], found["accuracy"]) == (3, 0.5)
    path.write_text('{"split": ' * 100_000 if change is None else json.dumps(good | change))
    with pytest.raises(RunError, match=r"metrics\.json: cannot be read \(.+\); type: .* evaluate --run") as caught:
        evaluation_of(tmp_path)
    assert "\n" not in str(caught.value)


def test_wrong_run_folder_is_refused(folder: Path) -> None:
    for command in ("evaluate", "export", "summary"):
        status, shown = run(command, "--run", "prepared", cwd=folder)
        assert (status, shown.count("is not a run folder")) == (2, 1), shown


def test_results_never_wait_behind_a_picture_and_a_picture_that_fails_is_a_warning(folder: Path, tmp_path: Path) -> None:
    succeed("prepare", *SMOKE, cwd=tmp_path)
    succeed("train", *SMOKE, "train.epochs=1", "run.dir=run", cwd=tmp_path)
    (tmp_path / "run/eval/confusion.png").mkdir(parents=True)
    (tmp_path / "run/metrics.jsonl").unlink()
    shown = succeed("evaluate", "--run", "run", cwd=tmp_path)
    assert shown.index("accuracy ") < shown.index("confusion.png was not drawn") < shown.index("written: ")
    assert shown.count("was not drawn") == 1 and "Traceback" not in shown
    with (tmp_path / "run/results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1
    pictures = {path.name for path in (tmp_path / "run/eval").glob("*.png") if path.is_file()}
    assert pictures == {"reliability.png", "mistakes.png"}, "without records there are no curves"


def test_classes_with_dollars_are_prepared_trained_and_evaluated(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.array(["$#1", "$#2"])[np.arange(60) % 2]
    np.savez(tmp_path / "two.npz", values=random.normal(size=(60, 4, 2)).astype("f4"), labels=labels)
    (tmp_path / "own.yaml").write_text(
        "data: {source: npz, path: two.npz}\nmodel: {hidden: 4}\ntrain: {epochs: 1, batch: 16}\n"
        "track: {backends: []}\nrun: {dir: run}\n"
    )
    for command in (("prepare", "--config", "own.yaml"), ("train", "--config", "own.yaml"), ("evaluate", "--run", "run")):
        assert "was not drawn" not in succeed(*command, cwd=tmp_path)
    assert (tmp_path / "run/eval/mistakes.png").exists() and len(list(tmp_path.glob("prepared/*/*.png"))) == 2


@pytest.mark.parametrize("backend", ["wandb", "tensorboard"])
def test_pictures_that_somebody_put_beside_those_of_an_evaluation_are_not_opened(
    folder: Path, tmp_path: Path, backend: str
) -> None:
    shutil.copytree(folder / "runs/smoke", tmp_path / "run", symlinks=True)
    (tmp_path / "run/eval/other.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/canary\n")
    (tmp_path / "gs").chmod(0o755)
    config = tmp_path / "run/config.yaml"
    config.write_text(config.read_text().replace("- wandb", f"- {backend}"))
    shutil.copytree(folder / "prepared", tmp_path / "prepared")
    path = f"{tmp_path}:{os.environ['PATH']}"
    succeed("evaluate", "--run", "run", cwd=tmp_path, HOME=str(tmp_path), PATH=path, WANDB_MODE="offline")
    assert not (tmp_path / "canary").exists()


def test_evaluate_holds_the_accuracy_against_the_largest_class_and_the_nearest_example(folder: Path) -> None:
    said = succeed("evaluate", "--run", "runs/smoke", cwd=folder)
    measured = json.loads((folder / "runs/smoke/eval/metrics.json").read_text())
    assert measured["accuracy_low"] < measured["accuracy"] < measured["accuracy_high"]
    assert measured["largest_class_accuracy"] == pytest.approx(0.1, abs=0.01)
    assert measured["nearest_neighbour_accuracy"] == pytest.approx(0.98, abs=0.01)
    assert "always '1', the largest class: 0.1000; the nearest training example's label: 0.98" in said
    assert all(f"  {name:5}  {found['precision']:9.4f}" in said for name, found in measured["per_class"].items())


def test_a_useless_model_is_called_useless(folder: Path) -> None:
    succeed("train", *SMOKE, "run.dir=useless", "train.epochs=1", "optim.lr=1e-9", "track.backends=[]", cwd=folder)
    said = succeed("evaluate", "--run", "useless", cwd=folder)
    assert "warning: the accuracy is not clearly above 0.1000, that of always answering '1'" in said
    assert "next: a better model: more epochs" in said.splitlines()[-1]
    assert json.loads((folder / "useless/eval/metrics.json").read_text())["remedy"].startswith("more epochs")
    warned = [line for line in said.splitlines() if line.startswith("warning: ")]
    summed = succeed("summary", "--run", "useless", cwd=folder).splitlines()
    assert warned and [line for line in summed if line.startswith("warning: ")] == warned
    assert summed[1].split(None, 1)[0] == "beside" and "the largest class 0.1000, the nearest example 0.98" in summed[1]
    records = "".join(f'{{"step": {step}, "train/loss": {loss}}}\n' for step, loss in ((20, 1.0), (40, 0.1), (60, 9.0)))
    (folder / "useless/metrics.jsonl").write_text(records)
    series = Data(source="csv", path="a.csv")
    for data in (series, series.model_copy(update={"z_norm": True}), Data(source="digits")):
        known = evaluate.remedy(folder / "useless", {"step": 40, "loss": 2.0}, data)
        assert known.startswith("it knows its training examples (loss 0.1) and not these (2): more of them, d")
        assert ("data.z_norm=true" in known) == (data is series) and known.endswith("or dropout (docs/training.md)")
    assert evaluate.remedy(folder / "useless", {"step": 20, "loss": 1.5}, series).startswith("more epochs")
    one = {"accuracy_low": 0.4, "accuracy_high": 0.6, "largest_class": "a", "largest_class_accuracy": 0.5}
    one |= {"nearest_neighbour_accuracy": None, "split": "test"}
    both, alone = ({"a": {"support": 3}, "b": {"support": count}} for count in (3, 0))
    assert evaluate.warnings_of(one | {"per_class": both}, ["a"])[0] == "the model predicts one class only: 'a'"
    (said,) = evaluate.warnings_of(one | {"per_class": alone}, ["a"])
    assert said.startswith("the test split holds one class only")
