"""Channels of a large offset keep their digits: it is subtracted in float64, before anything is rounded to float32."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Data
from pipeline.data.clean import offset_of
from pipeline.data.preparation.folder import prepare
from pipeline.data.preparation.report import lines, report
from pipeline.data.prepared import Prepared, folder_of, open_prepared
from pipeline.errors import DataError
from tests.support.series_files import WRITERS, packed

EPOCH = 1_700_000_000_000  # milliseconds since 1970


def slopes(count: int = 40, channels: int = 1, offset: float = EPOCH) -> tuple[list[np.ndarray], list[str]]:
    """Series of 6 steps whose class is the slope of the first channel, which lies at a large offset, exactly."""
    random = np.random.default_rng(0)
    series = [random.normal(size=(6, channels)) for _ in range(count)]
    for number, one in enumerate(series):
        one[:, 0] = offset + random.integers(0, 5000) + np.arange(6) * (10 if number % 2 else 20)
    return series, [("slow", "fast")[number % 2] for number in range(count)]


def prepared_of(folder: Path, form: str, series: list[np.ndarray], words: list[str], **keys: object) -> Prepared:
    kind, layout, write = WRITERS[form]
    path = write(folder / f"data.{form.replace(' ', '_')}", series, words)
    return prepare(Data(source=kind, path=str(path), layout=layout, prepared=str(folder / "prepared"), **keys))


@pytest.mark.parametrize("form", WRITERS)
def test_each_value_is_exactly_that_of_the_file_less_one_offset_a_channel(tmp_path, form):
    channels = 1 if form == "arff" else 2
    series, words = slopes(channels=channels)
    prepared = prepared_of(tmp_path, form, series, words)
    facts = prepared.manifest.series
    train = np.concatenate([series[number] for number in prepared.part("train").index])
    assert facts.offset == (train[:, 0].min(), *[0.0] * (channels - 1))
    for name in prepared.manifest.parts:
        part = prepared.part(name)
        wanted = np.stack([series[number] for number in part.index])
        stored = part.values.numpy().astype(np.float64)
        np.testing.assert_array_equal(stored[:, :, 0] + facts.offset[0], wanted[:, :, 0])
        np.testing.assert_array_equal(stored[:, :, 1:], wanted[:, :, 1:].astype(np.float32))
    assert prepared.manifest.repeated == 0, "no two series of the file are the same"
    assert prepared.manifest.std[0] == pytest.approx(train[:, 0].std(), rel=1e-6)


def test_ordinary_channels_have_no_offset_and_the_manifest_does_not_speak_of_any(tmp_path):
    random = np.random.default_rng(0)
    series = [np.stack([random.normal(5, 2, 6), np.full(6, 1e9), 300 + random.random(6)], 1) for _ in range(40)]
    prepared = prepared_of(tmp_path, "long csv", series, ["a", "b"] * 20)
    assert prepared.manifest.series.offset == ()
    assert "offset" not in json.loads((prepared.folder / "manifest.json").read_text())["series"]
    stored = prepared.part("train").values.numpy()
    wanted = np.stack([series[number] for number in prepared.part("train").index]).astype(np.float32)
    np.testing.assert_array_equal(stored, wanted)


@pytest.mark.parametrize(
    ("low", "high", "offset"),
    [
        (EPOCH, EPOCH + 9000, EPOCH),
        (-EPOCH - 9000, -EPOCH, -EPOCH - 9000),
        (1e4, 1e4 + 1, 1e4),
        (1e4, 1e4 + 10, 0),
        (5.0, 5.0, 0),
        (0.0, 0.0, 0),
        (-1e-3, 1e-3, 0),
        (np.inf, -np.inf, 0),
    ],
)
def test_only_a_channel_whose_range_is_small_beside_its_magnitude_has_an_offset(low, high, offset):
    found = offset_of(np.array([0.0, low]), np.array([1.0, high]))
    assert found == ((0.0, offset) if offset else ())


def test_missing_values_of_such_a_channel_are_filled_with_its_own_mean(tmp_path):
    series, words = slopes(channels=2)
    for one in series:
        one[2, 0] = np.nan
    prepared = prepared_of(tmp_path, "long csv", series, words, missing="mask")
    facts = prepared.manifest.series
    train = np.concatenate([series[number] for number in prepared.part("train").index])
    assert facts.fill[0] + facts.offset[0] == pytest.approx(np.nanmean(train[:, 0]), abs=1e-3)
    stored = prepared.part("test").values.numpy()
    np.testing.assert_array_equal(stored[:, 2, 0], np.float32(facts.fill[0]))
    assert facts.features == ("sensor a", "sensor b", "sensor a missing") and facts.offsets == (facts.offset[0], 0.0, 0.0)


def test_the_report_gives_such_a_channel_in_the_units_of_the_file_and_says_what_is_subtracted(tmp_path):
    series, words = slopes()
    prepared = prepared_of(tmp_path, "long csv", series, words)
    train = np.concatenate([series[number] for number in prepared.part("train").index])
    (channel,) = report(prepared)["channels"]
    assert (channel["least"], channel["most"]) == (train.min(), train.max()) and not channel["constant"]
    said = "\n".join(lines(report(prepared)))
    assert f"{train.min():.0f} to {train.max():.0f}" in said and f"{train.min():.0f} is subtracted" in said
    assert "warning" not in said


def test_series_of_float32_and_of_float64_that_hold_the_same_numbers_are_the_same(tmp_path):
    series, words = slopes(channels=2, offset=0.0)
    series = [one.astype(np.float32) for one in series]
    for kind, name in (("f4", "data"), ("f8", "test")):
        packed(tmp_path / name, [one.astype(kind) for one in series], words)
    data = {"source": "npz", "prepared": str(tmp_path / "prepared"), "path": str(tmp_path / "data")}
    manifest = prepare(Data(**data, test_path=str(tmp_path / "test"))).manifest
    assert manifest.repeated == 40


@pytest.mark.parametrize(("low", "high"), [(EPOCH, EPOCH), (1e6, 1e6 + 1), (-1e6 - 1, -1e6)])
def test_a_folder_that_lost_digits_is_used_only_by_the_runs_that_were_trained_on_it(tmp_path, low, high):
    data = rewritten(tmp_path, low, high, rules=2)
    digest = open_prepared(data).digest
    rewritten(tmp_path, low, high)
    for opening in (open_prepared, prepare, lambda data: open_prepared(data, trained_on="another")):
        with pytest.raises(DataError, match=r"earlier version, which lost digits of channel 'sensor a'.*delete the folder"):
            opening(data)
    assert open_prepared(data, trained_on=digest).digest == digest


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (1.0, 1.0), (1e4, 1e4 + 10), (-3.0, 5.0)])
def test_a_folder_of_an_earlier_version_that_lost_nothing_stays_good(tmp_path, low, high):
    data = rewritten(tmp_path, low, high)
    assert prepare(data).folder == open_prepared(data).folder


def rewritten(folder: Path, low: float, high: float, **rules: int) -> Data:
    """A prepared folder whose manifest says that its only channel goes from ``low`` to ``high``, as one of an earlier version
    unless there are ``rules``."""
    prepared = prepared_of(folder, "long csv", *slopes(offset=0.0)) if not (folder / "prepared").exists() else None
    data = Data(source="csv", path=str(folder / "data.long_csv"), prepared=str(folder / "prepared"))
    path = (prepared.folder if prepared else folder_of(data)) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("rules", None)
    manifest["series"] |= {"low": [low], "high": [high]}
    path.write_text(json.dumps(manifest | rules))
    return data
