"""The pictures of an evaluation are of what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config import Data
from pipeline.data.preparation.folder import prepare
from pipeline.stages import evaluate
from pipeline.training import metrics
from pipeline.training.evaluation import Rows


def test_the_pictures_are_of_the_most_confident_mistakes_and_of_hits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(Data(prepared=str(tmp_path / "prepared")))
    part = prepared.part("test")
    random, labels = np.random.default_rng(0), part.labels.numpy()
    wrong = random.random(len(labels)) < 0.2
    predictions = np.where(wrong, (labels + 1) % 10, labels)
    confidence = np.where(wrong, random.uniform(0.2, 0.6, len(labels)), random.uniform(0.9, 1, len(labels)))
    rows = Rows(labels, predictions, confidence, -np.log(confidence))
    names = list(prepared.manifest.class_names)
    summary = {"split": "test"} | metrics.measures(labels, predictions, confidence, rows.losses, names)
    cells = metrics.confusion_cells(labels, predictions, len(names))
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(evaluate, "draw_examples", lambda path, prepared, name, *what: drawn.update(mistakes=what))
    monkeypatch.setattr(evaluate, "reliability", lambda path, **bins: drawn.update(reliability=bins))
    (tmp_path / "eval").mkdir()
    evaluate.draw(tmp_path, summary, rows, cells, part, prepared)
    shown, titles, *_ = drawn["mistakes"]
    most = evaluate.MISTAKES
    expected = sorted(np.flatnonzero(wrong), key=lambda row: -confidence[row])[:most]
    assert shown == expected and len(shown) == len(titles) == most
    bins = drawn["reliability"]
    assert bins["accuracy"][-1] == 1 and not bins["accuracy"][:9].any() and bins["counts"].sum() == len(labels)
