"""A .ts file whose steps are (time,value)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import config
from pipeline.data.preparation.folder import prepare
from pipeline.errors import DataError
from tests.support.launching import succeed
from tests.support.predicting import export_untrained, rows_of
from tests.support.series_files import only

HEAD = "@timeStamps True\n@missing true\n@classLabel true 1 2\n@data\n"


def written(path: Path, *lines: str, head: str = HEAD) -> Path:
    (path / "a.ts").write_text(head + "\n".join(lines) + "\n")
    return path / "a.ts"


def test_numbers_of_time_and_their_values(tmp_path: Path) -> None:
    got = only("ts", written(tmp_path, "(0,1.616),(1,-0.608),(2,1.0):1", "(3,2.354),(4,?):2"))
    np.testing.assert_array_equal(got.values[:, 0], [1.616, -0.608, 1.0, 2.354, np.nan])
    assert got.labels == ("1", "2") and got.times is not None and got.ends is not None and not got.doubts
    assert got.times.tolist() == [0, 3] and got.ends.tolist() == [2, 4]


def test_dates_have_colons_of_their_own(tmp_path: Path) -> None:
    line = "(2007-01-01 00:00:00,241.97),(2007-01-01 00:01:00,241.75):(2007-01-01 00:00:00,1),(2007-01-01 00:01:00, 2):1"
    got = only("ts", written(tmp_path, line))
    np.testing.assert_array_equal(got.values, [[241.97, 1], [241.75, 2]])
    assert got.times is not None and got.times[0] == np.datetime64("2007-01-01T00:00:00")


def test_steps_stand_in_the_order_of_their_times(tmp_path: Path) -> None:
    got = only("ts", written(tmp_path, "(2,30),(0,10),(1,20):1"))
    assert got.values[:, 0].tolist() == [10, 20, 30]


def test_unequal_intervals_are_a_warning_with_the_first_line_and_their_number(tmp_path: Path) -> None:
    got = only("ts", written(tmp_path, "(0,1),(1,2),(2,3):1", "(0,1),(1,2),(6,3):2", "(0,1),(9,2),(10,3):1"))
    (line,) = got.doubts
    assert "series '1' (line 6) are 1 to 5 apart in time" in line and "of 1 other series" in line
    dates = [f"(2007-01-{day:02} 00:00:00,1)" for day in (1, 2, 9)]
    assert "86400 to 604800 s apart" in only("ts", written(tmp_path, f"{','.join(dates)}:1")).doubts[0]


@pytest.mark.parametrize("dates", [False, True])
def test_time_stamps_are_a_channel_as_a_column_of_times_is(tmp_path: Path, dates: bool) -> None:
    stamps = [f"2007-01-01 00:00:{time:02}" if dates else str(time) for time in (0, 1, 10)]
    lines = [",".join(f"({stamp},{value})" for stamp, value in zip(stamps, (5, 6, 7), strict=True)) + ":1"] * 3
    got = only("ts", written(tmp_path, *lines), elapsed=True)
    assert got.channels[-1] == "elapsed" and not got.doubts
    np.testing.assert_array_equal(got.values[:, -1].reshape(3, 3), [[0, 1, 9]] * 3)
    got = only("ts", written(tmp_path, *lines), elapsed=True, window=2, stride=1)
    np.testing.assert_array_equal(got.values[:, -1].reshape(-1, 2), [[0, 1], [0, 9]] * 3)


def test_resampling_goes_by_time_stamps_in_training_and_in_prediction(tmp_path: Path) -> None:
    lines = [f"(0,{n}),(1,{n + 1}),(10,{n + 10}):{1 + n % 2}" for n in range(12)]
    written(tmp_path, *lines)
    (tmp_path / "own.yaml").write_text("model: {hidden: 4}\n")
    named = ("data.source=ts", f"data.path={tmp_path}/a.ts", f"data.prepared={tmp_path}/prepared", "data.validation=0")
    found = prepare(config.load(tmp_path / "own.yaml", (*named, "data.resample=3")).data)
    part = found.part("train")
    np.testing.assert_array_equal(part.values[..., 0] - part.values[:, :1, 0], [[0, 5, 10]] * len(part.labels))
    assert found.manifest.series.timed and not found.manifest.doubts
    evaluated = export_untrained(tmp_path, "data.source=ts", "data.path=a.ts", "data.test=6", "data.resample=3")
    succeed("predict", "--model", "export", "a.ts", "--output", "out.csv", cwd=tmp_path)
    predicted = rows_of(tmp_path / "out.csv")
    assert len(predicted) == 12 and len(evaluated) == 6
    for row in evaluated:
        assert float(predicted[int(row["index"])]["probability"]) == pytest.approx(float(row["probability"]), abs=1e-5)


@pytest.mark.parametrize(
    ("setting", "says"),
    [({"elapsed": True}, "the time stamps of a .ts file"), ({"elapsed": True, "window": 2}, "the time stamps of a .ts file")],
)
def test_a_file_without_time_stamps_has_no_elapsed_time(tmp_path: Path, setting: dict[str, object], says: str) -> None:
    plain = written(tmp_path, "1,2,3:1", head="@classLabel true 1 2\n@data\n")
    with pytest.raises(DataError, match=says):
        only("ts", plain, **setting)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1,2,3:1", r"line 5, channel 0 .*'1,2,3' is not made of \(time,value\)"),
        ("(0,1)(1,2):1", "is not made of"),
        ("(0,1),(1,2:1", "is not made of"),
        ("(0;1):1", r"\(0;1\) is no \(time,value\)"),
        ("(0,1),(0,2):1", r"the time 0\.0 twice"),
        ("(0,1),(2007-01-01,2):1", "'2007-01-01' is no time"),
        ("(0,1),(1,2):(0,1),(2,2):1", r"channel 1 .*has other times than channel 0"),
        ("(0,1),(1,x):1", "'x' is not a number"),
        (":1", "is not made of"),
    ],
)
def test_what_is_no_step_is_refused_with_its_line(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        only("ts", written(tmp_path, line))
