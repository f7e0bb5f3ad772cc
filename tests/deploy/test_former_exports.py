"""Exports of former versions, which lie in ``former/``, are read as those of today and compute what they computed.

Each was written by the version of its time, with the logits of the model that was exported in ``expected.json``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.deploy import bundle, inputs
from pipeline.errors import DataError, UserError
from pipeline.export import load

FORMER = Path(__file__).parent / "former"


@pytest.mark.parametrize("form", ["the folder", "the ONNX file", "the weights"])
@pytest.mark.parametrize("name", sorted(path.name for path in FORMER.iterdir()))
def test_an_export_of_a_former_version_computes_what_it_computed(name: str, form: str, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    shutil.copytree(FORMER / name, folder)
    if form == "the weights":
        (folder / "model.onnx").unlink()
    exported = bundle.load(folder / "model.onnx" if form == "the ONNX file" else folder)
    expected = json.loads((folder / "expected.json").read_text())
    logits = exported.run(np.array(expected["values"], np.float32), np.array(expected["lengths"]))
    np.testing.assert_allclose(logits, expected["logits"], rtol=0, atol=2e-6)
    assert exported.facts.class_names == ("zero", "one", "two") and exported.facts.series
    assert exported.facts.series.fill == (0.25, 0.5) and exported.facts.test


def test_the_import_of_former_model_cards_gives_the_model_and_what_is_said_of_it() -> None:
    model, facts = load(FORMER / "gru")
    assert model.cell == "gru" and facts["class_names"] == ["zero", "one", "two"]
    assert facts["series"]["columns"]["id"] == "id" and facts["series"]["features"] == ["a", "b"]


def test_the_class_of_a_former_export_is_met_by_the_label_of_its_file_however_that_is_written(tmp_path: Path) -> None:
    exported = bundle.load(FORMER / "gru")
    facts = exported.facts.model_copy(update={"class_names": ("1.0", "2", "True")})
    rows = "".join(f"{number},0,0.5,0.25,{label}\n" for number, label in enumerate(("1.0", "1", "2.0", "TRUE", "3.0")))
    (tmp_path / "new.csv").write_text("id,time,a,b,label\n" + rows)
    (block,) = inputs.read(tmp_path / "new.csv", "csv", facts, exported.features, {})
    assert block.labels == ("1.0", "1.0", "2", "True", "3")


def test_a_table_to_predict_may_be_written_otherwise_than_that_of_the_training(tmp_path: Path) -> None:
    exported = bundle.load(FORMER / "gru")
    (tmp_path / "new.csv").write_text("0;0;0,5;0,25\n0;1;1,5;2,25\n")
    given = {"header": "false", "decimal": ",", "id": "0", "time": "1", "label": "", "channels": "2,3"}
    (block,) = inputs.read(tmp_path / "new.csv", "csv", exported.facts, exported.features, given)
    assert block.values.tolist() == [[0.5, 0.25], [1.5, 2.25]] and block.ids == ("0",)
    for name in ("header", "decimal"):
        with pytest.raises(UserError, match=f"--{name} maybe: expected"):
            list(inputs.read(tmp_path / "new.csv", "csv", exported.facts, exported.features, given | {name: "maybe"}))


def test_a_table_without_header_and_labels_is_refused_where_values_would_be_taken_for_labels(tmp_path: Path) -> None:
    exported = bundle.load(FORMER / "gru")
    (tmp_path / "new.csv").write_text("1,0,0.5,0.25\n1,1,1.5,2.25\n")
    assert exported.facts.series
    columns = exported.facts.series.columns.model_copy(
        update={"header": False, "id": "0", "time": "1", "label": "0", "channels": ("2", "3")}
    )
    series = exported.facts.series.model_copy(update={"columns": columns})
    facts = exported.facts.model_copy(update={"series": series})
    with pytest.raises(DataError, match="the label '1' is no class of the model; if the file has no labels, type --label ''"):
        list(inputs.read(tmp_path / "new.csv", "csv", facts, exported.features, {"channels": "2,3"}))
