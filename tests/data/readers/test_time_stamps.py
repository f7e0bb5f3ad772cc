"""A .ts file whose steps are (time,value)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
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


def test_unequal_intervals_are_a_warning_with_the_first_line(tmp_path: Path) -> None:
    got = only("ts", written(tmp_path, "(0,1),(1,2),(2,3):1", "(0,1),(1,2),(6,3):2", "(0,1),(9,2),(10,3):1"))
    assert len(got.doubts) == 1 and "line 6" in got.doubts[0] and "from 1 to 5" in got.doubts[0]
    dates = [f"(2007-01-{day:02} 00:00:00,1)" for day in (1, 2, 5)]
    assert "from 86400 s to 259200 s" in only("ts", written(tmp_path, f"{','.join(dates)}:1")).doubts[0]


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
