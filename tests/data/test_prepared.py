"""What prepared.py promises: each mode of normalisation by its definition, and no folder of former rules for a new run."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pipeline.config import Data
from pipeline.data.preparation.folder import prepare
from pipeline.data.prepared import folder_of, open_prepared
from pipeline.errors import DataError
from tests.support.series_files import npz

MODES = ("auto", "none", "unit", "global", "feature")


def series_of(missing: int, count: int = 60) -> list[np.ndarray]:
    """Series of two channels, the first from -3 to 5; ``missing`` of them lack one value of it."""
    random = np.random.default_rng(0)
    made = [np.stack([random.uniform(-3, 5, 9), random.normal(2, 0.1, 9)], 1) for _ in range(count)]
    for one in made:
        one[:2, 0] = -3, 5
    for one in made[:missing]:
        one[4, 0] = np.nan
    return made


def prepared_of(folder, series, **keys):
    words = ["a", "b"] * (len(series) // 2)
    lengths, times = list(map(len, series)), np.arange(len(series))
    npz(folder / "data.npz", values=np.concatenate(series), lengths=lengths, labels=words, times=times)
    return prepare(Data(source="npz", path=str(folder / "data.npz"), id="", prepared=str(folder / "prepared"), **keys))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("resample", [0, 7])
@pytest.mark.parametrize("missing", [60, 20, 1])
def test_an_indicator_of_missing_values_is_given_to_the_model_as_it_is_however_rare(tmp_path, mode, resample, missing):
    prepared = prepared_of(tmp_path, series_of(missing), missing="mask", resample=resample, validation=0, test=2)
    assert prepared.manifest.features == 3 and prepared.manifest.series.masked == (0,)
    mean, scale = prepared.manifest.normalization(mode)
    assert (mean[2], scale[2]) == (0, 1)


def test_the_channels_are_normalised_as_if_no_indicator_stood_beside_them(tmp_path):
    masked = prepared_of(tmp_path, series_of(20), missing="mask")
    filled = prepared_of(tmp_path, series_of(20), missing="mean")
    for mode in MODES:
        for with_indicator, without in zip(
            masked.manifest.normalization(mode), filled.manifest.normalization(mode), strict=True
        ):
            np.testing.assert_allclose(with_indicator[:2], without, rtol=1e-6)


def test_unit_takes_series_from_their_least_to_their_greatest_value_to_0_and_1(tmp_path):
    prepared = prepared_of(tmp_path, series_of(0))
    mean, scale = prepared.manifest.normalization("unit")
    assert mean.tolist() == [-3, -3] and scale.tolist() == [1 / 8, 1 / 8]
    values = (prepared.part("train").values.numpy() - mean) * scale
    assert (values[..., 0].min(), values[..., 0].max()) == (0, 1)


def test_a_split_of_former_rules_is_kept_for_the_runs_that_were_trained_on_it_and_for_no_other(tmp_path):
    prepared = prepared_of(tmp_path, series_of(0), split="time", time="times")
    keys = {"path": str(tmp_path / "data.npz"), "prepared": str(tmp_path / "prepared"), "split": "time", "time": "times"}
    data = Data(source="npz", id="", **keys)
    settings = dict(prepared.manifest.settings)
    del settings["split_rules"]
    former = folder_of(data, settings)
    prepared.folder.rename(former)
    manifest = json.loads((former / "manifest.json").read_text()) | {"settings": settings}
    (former / "manifest.json").write_text(json.dumps(manifest))
    for digest in ("", "another"):
        with pytest.raises(DataError, match="not prepared yet; type: python -m pipeline prepare"):
            open_prepared(data, trained_on=digest)
    found = open_prepared(data, trained_on=prepared.digest)
    assert (found.folder, found.digest) == (former, prepared.digest)
    again = prepare(data)
    assert again.folder == prepared.folder and again.made


@pytest.mark.parametrize("made", [os.mkfifo, lambda path: os.truncate(path, 20 * 2**30)], ids=["pipe", "endless"])
def test_a_manifest_without_an_end_is_refused_and_not_read_to_its_end(tmp_path, made, monkeypatch):
    monkeypatch.setattr("pipeline.data.prepared.LARGEST", 2**20)
    prepared = prepared_of(tmp_path, series_of(0))
    path = prepared.folder / "manifest.json"
    if made is os.mkfifo:
        path.unlink()
    made(path)
    data = Data(source="npz", path=str(tmp_path / "data.npz"), id="", prepared=str(tmp_path / "prepared"))
    with pytest.raises(DataError, match=r"manifest\.json: (not a file|is larger than).*; delete .* and type: "):
        open_prepared(data)


@pytest.mark.parametrize("lacks", ["values", "labels", "offsets"])
def test_a_file_without_one_of_its_tensors_is_refused_by_name(tmp_path, lacks):
    prepared = prepared_of(tmp_path, [np.ones((3 + number % 4, 2)) * number for number in range(20)], validation=0, test=4)
    path = prepared.folder / prepared.manifest.parts["train"].file
    save_file({key: value for key, value in load_file(path).items() if key != lacks}, path)
    readings = {
        "values": lambda: list(prepared.examples("train", [0])),
        "labels": lambda: prepared.column("train", "labels"),
        "offsets": lambda: prepared.column("train", "lengths"),
    }
    with pytest.raises(DataError, match=f"{path}: cannot be read .*{lacks}.*; delete"):
        readings[lacks]()
