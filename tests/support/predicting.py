"""Tables and exports for the tests of ``predict``."""

from __future__ import annotations

import contextlib
import csv
from pathlib import Path

import numpy as np
import torch

from pipeline import config
from pipeline.data.preparation.folder import prepare
from pipeline.data.store import Store
from pipeline.deploy import exporter
from pipeline.deploy.facts import Arguments
from pipeline.stages.assembly import make_model, model_arguments
from pipeline.stages.export import facts_of

CONFIG = """\
model: {hidden: 6, bidirectional: true, pooling: mean}
train: {epochs: 2, batch: 16}
export: {formats: [safetensors, onnx]}
track: {backends: []}
"""
SERIES = ("data.source=csv", "data.path=series.csv")


def write_series(path: Path, missing: bool = True, label: bool = True, count: int = 60, seed: int = 0) -> None:
    """A long table of series of 1 to 15 steps and three channels, one in six cells of two of them empty."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        word = ("slow, steady", "fast", "Ärger")[number % 3]
        for step in range(random.integers(1, 16)):
            cells = [f"{random.normal(number % 3):.4f}" if random.random() > missing / 6 else "" for _ in range(2)]
            rows.append([f"s{number}", str(step), cells[0], f"{random.normal():.4f}", cells[1], *[word] * label])
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "time", "pulse", "load", "noise", *["label"] * label], *rows])


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def export_untrained(folder: Path, *settings: str) -> list[dict[str, str]]:
    """Export a model with random weights into ``folder``/export; what it says of the test split, as rows.

    ``settings`` name the data by paths below ``folder``.
    """
    (folder / "own.yaml").write_text(CONFIG)
    with contextlib.chdir(folder):
        loaded = config.load(Path("own.yaml"), settings)
        prepared = prepare(loaded.data)
        model, part = make_model(loaded, prepared), prepared.part("test")
        store = Store(part, torch.device("cpu"), 0)
        values, labels, lengths = store.take(torch.arange(store.count))
        with torch.no_grad():
            confidence, classes = model.eval()(values.float(), lengths).double().softmax(1).max(1)
        facts, arguments = facts_of(loaded, prepared.manifest), Arguments(**model_arguments(loaded, prepared))
        compared = exporter.Examples(values, lengths)
        exporter.export(model, arguments, facts, compared, loaded.export.formats, 1e-4, Path("export"))
    names = facts.class_names
    said = zip(part.index.tolist(), labels, classes, confidence.tolist(), strict=True)
    return [
        {"index": str(index), "label": names[label], "prediction": names[guess], "probability": str(sure)}
        for index, label, guess, sure in said
    ]
