"""No example at all: an empty answer, or one message."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import load
from pipeline.errors import UserError
from tests.support.launching import run
from tests.support.predicting import export_untrained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nothing")
    rows = [f"u{n},{t},{n * t % 7 + n % 2},{'ab'[n % 2]}" for n in range(20) for t in range(5)]
    (folder / "a.csv").write_text("\n".join(["id,time,x,label", *rows]) + "\n")
    export_untrained(folder, "data.source=csv", "data.path=a.csv", "data.test=6")
    return folder


def test_predictions_of_no_examples_are_none(folder: Path) -> None:
    model = load(folder / "export")
    for nothing in ([], np.zeros((0, 5, 1))):
        found = model.predict(nothing)
        assert found.names.shape == (0,) and found.probabilities.shape == (0, 2) and found.ids == ()
    with pytest.raises(UserError, match=r"\(0, 5, 1\), but the model reads \(batch, time, 1\)"):
        model(np.zeros((0, 5, 1)))


@pytest.mark.parametrize("model", ["export", "export/model.onnx"])
def test_a_file_without_a_series_is_one_message(folder: Path, model: str) -> None:
    (folder / "head.csv").write_text("id,time,x\n")
    status, said = run("predict", "--model", model, "head.csv", cwd=folder)
    assert (status, said) == (2, "error: head.csv: no rows; it needs at least one series\n")
