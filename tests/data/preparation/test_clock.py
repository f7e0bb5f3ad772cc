"""What is promised of the times of steps: resampling goes by them, uneven ones are said, the time between is a channel."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline import config
from pipeline.data import clean, prepared
from pipeline.data.manifest import Manifest
from pipeline.data.preparation.folder import prepare
from pipeline.data.prepared import folder_of, open_prepared, settings_of
from pipeline.errors import ConfigError, DataError
from tests.support.launching import succeed
from tests.support.predicting import export_untrained, rows_of
from tests.support.series_files import only

TIMES = (0, 1, 10)


def irregular(path: Path, dates: bool = False, count: int = 12, shuffled: bool = False) -> Path:
    begin = datetime(2026, 1, 1)
    rows = [
        {"id": f"s{n}", "time": begin + timedelta(seconds=t) if dates else t, "label": "ab"[n % 2], "x": float(t)}
        for n in range(count)
        for t in TIMES
    ]
    frame = pl.DataFrame(rows)
    frame = frame.sample(fraction=1, shuffle=True, seed=0) if shuffled else frame
    frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S")
    return path


def data(path: Path, *more: str) -> config.Data:
    own = path.parent / "own.yaml"
    own.write_text("model: {hidden: 4}\n")
    named = ("data.source=csv", f"data.path={path}", f"data.prepared={path.parent}/prepared", "data.validation=0")
    return config.load(own, (*named, *more)).data


@pytest.mark.parametrize("dates", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
def test_resampling_interpolates_at_equal_times(tmp_path, dates, shuffled):
    found = prepare(data(irregular(tmp_path / "a.csv", dates, shuffled=shuffled), "data.resample=3"))
    for name in found.manifest.parts:
        np.testing.assert_array_equal(found.part(name).values[..., 0], [[0, 5, 10]] * len(found.part(name).labels))
    assert found.manifest.series.timed and not found.manifest.doubts
    assert not list(found.folder.glob(".spool*"))


def test_without_a_column_of_times_steps_count_as_even(tmp_path):
    path = irregular(tmp_path / "a.csv")
    pl.read_csv(path).drop("time").write_csv(path)
    found = prepare(data(path, "data.resample=3", "data.time=''"))
    np.testing.assert_array_equal(found.part("train").values[0, :, 0], [0, 1, 10])
    assert not found.manifest.series.timed


def test_points_in_time_are_those_of_numpy(tmp_path):
    random = np.random.default_rng(0)
    lengths = np.array([7, 1, 2, 30])
    times = np.concatenate([np.cumsum(random.exponential(size=n)) for n in lengths])
    values = random.normal(size=(lengths.sum(), 2)).astype(np.float32)
    policies = clean.Cleaning(**config.Policies(resample=9).model_dump(), channels=("x", "y"), fill=(0.0, 0.0), timed=True)
    got, steps = policies.apply(values, lengths, str, times)
    assert steps.tolist() == [9] * 4
    begin = 0
    for number, length in enumerate(lengths.tolist()):
        own = slice(begin, begin + length)
        wanted = np.linspace(times[own][0], times[own][-1], 9)
        for channel in range(2):
            expected = np.interp(wanted, times[own], values[own, channel])
            np.testing.assert_allclose(got[number * 9 : number * 9 + 9, channel], expected, atol=1e-6)
        begin += length


def test_what_was_prepared_before_times_counted_is_opened_for_what_was_trained_on_it_only(tmp_path):
    new = data(irregular(tmp_path / "a.csv"), "data.resample=3")
    found = prepare(new)
    settings = {key: value for key, value in settings_of(new).items() if key != "resample_rules"}
    former = folder_of(new, settings)
    assert former != found.folder, "a folder of steps taken as even is not taken for one of times"
    found.folder.rename(former)
    content = json.loads((former / "manifest.json").read_text())
    content["settings"] = settings
    del content["series"]["timed"]
    (former / "manifest.json").write_text(json.dumps(content))
    digest = prepared.digest_of(Manifest.model_validate_json((former / "manifest.json").read_bytes()))
    assert open_prepared(new, trained_on=digest).folder == former
    with pytest.raises(DataError, match="not prepared yet"):
        open_prepared(new, trained_on="another")


def test_only_what_times_decide_is_prepared_anew(tmp_path):
    path = irregular(tmp_path / "a.csv")
    for other in (data(path), data(path, "data.resample=3", "data.time=''")):
        assert "resample_rules" not in settings_of(other)


@pytest.mark.parametrize("apart", [1.0, 0.1, 60.0, 1 / 60])
def test_even_times_change_no_bit(apart):
    random = np.random.default_rng(0)
    lengths = random.integers(2, 30, 200)
    times = np.concatenate([np.arange(steps) * apart for steps in lengths])
    values = random.normal(size=(int(lengths.sum()), 2)).astype(np.float32)
    cleaning = clean.cleaning(config.Data(source="csv", path="a.csv", resample=7), ("x", "y"))
    plain, _ = cleaning.apply(values, lengths, str)
    timed, _ = cleaning.apply(values, lengths, str, times)
    np.testing.assert_array_equal(plain, timed)


def test_uneven_steps_are_said_with_what_to_do(tmp_path):
    (line,) = prepare(data(irregular(tmp_path / "a.csv"))).manifest.doubts
    assert "series 's0' (line 2) are 1 to 9 apart" in line and "as unevenly as those of 11 other series" in line
    assert "data.resample=STEPS" in line and "data.elapsed=true" in line
    pl.DataFrame(
        [
            {"id": f"s{n}", "time": t + 0.2 * (t % 3 == 1), "label": "ab"[n % 2], "x": float(t * t)}
            for n in range(12)
            for t in range(9)
        ]
    ).write_csv(tmp_path / "b.csv")
    assert not prepare(data(tmp_path / "b.csv")).manifest.doubts, "a clock that trembles is even"


def test_one_time_twice_is_refused_with_the_series(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,time,label,x\ns0,0,a,1\ns0,0,a,2\ns1,0,b,1\n")
    with pytest.raises(DataError, match=r"line 3.*series 's0' has this time already on line 2"):
        only("csv", path)


@pytest.mark.parametrize("dates", [False, True])
def test_the_time_since_the_step_before_is_a_channel_that_begins_with_zero(tmp_path, dates):
    got = only("csv", irregular(tmp_path / "a.csv", dates, 3, shuffled=True), elapsed=True)
    assert got.channels == ("x", "elapsed")
    np.testing.assert_array_equal(got.values.reshape(3, 3, 2)[..., 1], [[0, 1, 9]] * 3)
    got = only("csv", tmp_path / "a.csv", elapsed=True, window=2, stride=1)
    np.testing.assert_array_equal(got.values.reshape(-1, 2, 2)[..., 1], [[0, 1], [0, 9]] * 3)


def test_elapsed_time_is_refused_where_there_is_none(tmp_path):
    path = irregular(tmp_path / "a.csv")
    with pytest.raises(ConfigError, match=r"resampled steps are evenly apart"):
        data(path, "data.elapsed=true", "data.resample=3")
    pl.read_csv(path).rename({"x": "elapsed"}).write_csv(tmp_path / "b.csv")
    with pytest.raises(DataError, match="has a channel 'elapsed' already"):
        only("csv", tmp_path / "b.csv", elapsed=True)


@pytest.mark.parametrize("setting", ["data.resample=5", "data.elapsed=true"])
def test_predict_goes_by_times_as_prepare_did(tmp_path, setting):
    path = irregular(tmp_path / "a.csv")
    random = np.random.default_rng(1)
    frame = pl.read_csv(path)
    frame.with_columns(x=random.normal(size=len(frame)), z=random.normal(size=len(frame))).write_csv(path)
    evaluated = export_untrained(tmp_path, "data.source=csv", "data.path=a.csv", "data.test=6", setting)
    succeed("predict", "--model", "export", "a.csv", "--output", "out.csv", cwd=tmp_path)
    predicted = rows_of(tmp_path / "out.csv")
    assert len(predicted) == 12 and len(evaluated) == 6
    for row in evaluated:
        assert float(predicted[int(row["index"])]["probability"]) == pytest.approx(float(row["probability"]), abs=1e-5)
