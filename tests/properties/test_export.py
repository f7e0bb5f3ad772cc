"""Every model computes in ONNX and out of its weights what it computes in torch, and every reader takes what was written."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline import files
from pipeline.config import Columns
from pipeline.deploy import bundle
from pipeline.deploy.facts import CONFIG, Arguments, Facts, SeriesFacts, contents_of
from pipeline.deploy.onnx_file import writer
from tests.properties.inputs import architectures, batch, model_of, tried


def facts_of(arguments: Arguments) -> Facts:
    """Of a model of series."""
    names = tuple(map(str, range(arguments.features)))
    zeros = (0.0,) * arguments.features
    series = SeriesFacts(channels=names, fill=zeros, masked=(), low=zeros, high=zeros, columns=Columns())
    classes = tuple(map(str, range(arguments.classes)))
    return Facts(class_names=classes, length=9, source="npz", value_range=(0.0, 1.0), series=series)


@given(data=st.data(), arguments=architectures(), seed=st.integers(0, 99))
@tried(50)
def test_an_export_computes_what_the_model_computes_for_any_batch_and_any_length(
    data: st.DataObject, arguments: Arguments, seed: int
) -> None:
    model, contents = model_of(arguments, seed), contents_of(arguments, facts_of(arguments))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        metadata = {"facts": json.dumps(contents.facts.model_dump(mode="json"))}
        writer.write(model, arguments, folder / bundle.ONNX, metadata)
        files.save_tensors(folder / bundle.WEIGHTS, {key: value.clone() for key, value in model.state_dict().items()})
        files.write_json(folder / CONFIG, contents.model_dump(mode="json"))
        onnx = bundle.load(folder)
        (folder / bundle.ONNX).rename(folder / "other.onnx")
        alone, weights = bundle.load(folder / "other.onnx"), bundle.load(folder)
    for _ in range(3):
        values, lengths = data.draw(batch(arguments.features))
        past = torch.arange(values.shape[1])[:, None] >= lengths[:, None, None]
        values = values.masked_fill(past, data.draw(st.sampled_from([0.0, 1e30, torch.nan])))
        with torch.no_grad():
            wanted = model(values, lengths)
        assert wanted.isfinite().all() and wanted.shape == (len(lengths), arguments.classes)
        given_ = values.numpy(), lengths.numpy()
        assert np.array_equal(weights.run(*given_), wanted)
        for exported in (onnx, alone):
            np.testing.assert_allclose(exported.run(*given_), wanted, rtol=1e-4, atol=2e-5)
        assert np.array_equal(onnx.run(*given_), alone.run(*given_))
