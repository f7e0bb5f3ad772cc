"""A long table is the same data in whatever order its rows are, above the limit of what is held in memory too."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.config import Data
from pipeline.data.preparation.folder import prepare
from pipeline.data.readers import formats, limits
from pipeline.data.readers.tables import csv_lines, parquet_table, row_order
from pipeline.data.series import Columns
from pipeline.errors import UserError
from tests.support.series_files import read


def table(series: int = 60, seed: int = 0) -> pl.DataFrame:
    """Series of 1 to 9 steps, whose rows stand in the order of their ids and times, with values missing here and there."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 10, series)
    who = np.repeat(np.arange(series), lengths)
    values = random.normal(size=(len(who), 2)).round(4)
    values[::17, 1] = np.nan
    return pl.DataFrame(
        {
            "id": [f"s {number}" for number in who],
            "time": np.concatenate([np.arange(steps) for steps in lengths]),
            "x": values[:, 0],
            "y": values[:, 1],
            "group": [f"p{number // 4}" for number in who],
            "label": np.array(["yes", "no", "10"])[who % 3],
        }
    ).with_columns(pl.col("y").fill_nan(None))


ORDERS = {
    "together": lambda frame: frame,
    "in order of time": lambda frame: frame.sort("time", maintain_order=True),
    "two files one after the other": lambda frame: pl.concat(
        [frame.filter(pl.col("time") < 3), frame.filter(pl.col("time") >= 3)]
    ),
    "shuffled": lambda frame: frame.sample(fraction=1.0, shuffle=True, seed=1),
}


def written(path: Path, frame: pl.DataFrame) -> Path:
    frame.write_parquet(path, row_group_size=50) if path.suffix == ".parquet" else frame.write_csv(path)
    return path


def parts(folder: Path, path: Path) -> dict[str, bytes]:
    keys = {"group": "group", "split": "group", "missing": "mask", "validation": 10, "test": 12}
    made = prepare(Data(source=path.suffix[1:], path=str(path), prepared=str(folder), **keys)).folder
    assert {file.name for file in folder.iterdir()} == {made.name, ".lock"}
    return {file.name: file.read_bytes() for file in made.iterdir() if file.suffix == ".safetensors"}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_table_above_the_limit_is_prepared_to_the_bytes_of_one_below_it(tmp_path, monkeypatch, kind, order):
    path = written(tmp_path / f"a.{kind}", ORDERS[order](table()))
    whole = parts(tmp_path / "whole", path)
    assert set(whole) == {"train.safetensors", "valid.safetensors", "test.safetensors"}
    monkeypatch.setattr(csv_lines, "BLOCK", 500)
    monkeypatch.setattr(parquet_table, "BLOCK", 800)
    for limit in (0, 2000, 100_000):  # the last one: of a table that is held, rows are handed on before it was read
        monkeypatch.setattr(row_order, "IN_MEMORY", limit)
        assert parts(tmp_path / str(limit), path) == whole


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_in_any_order_are_prepared_to_the_bytes_of_the_sorted_table(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(row_order, "IN_MEMORY", 1000)
    monkeypatch.setattr(csv_lines, "BLOCK", 500)
    by_time = table().sort("time", maintain_order=True)  # each series has a step 0: they come in the order of the sorted table
    found = [
        parts(tmp_path / name, written(tmp_path / f"{name}.{kind}", frame)) for name, frame in (("a", table()), ("b", by_time))
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("dates", [False, True])
def test_what_is_said_of_series_is_the_same_whether_they_went_through_files_or_not(tmp_path, monkeypatch, dates):
    frame = ORDERS["shuffled"](table())
    if dates:
        frame = frame.with_columns(time=pl.lit("2024-01-01").str.to_datetime() + pl.duration(hours=pl.col("time")))
    path = written(tmp_path / "a.parquet", frame)
    (whole,) = read("parquet", path, group="group")
    monkeypatch.setattr(row_order, "IN_MEMORY", 1000)
    monkeypatch.setattr(row_order, "MOST", 4)
    blocks = read("parquet", path, group="group")
    assert 2 < len(blocks) <= 5
    for name in ("ids", "labels", "groups"):
        assert tuple(word for block in blocks for word in getattr(block, name)) == getattr(whole, name)
    for name in ("values", "lengths", "rows", "times", "ends"):
        np.testing.assert_array_equal(np.concatenate([getattr(block, name) for block in blocks]), getattr(whole, name))
        assert {getattr(block, name).dtype for block in blocks} == {getattr(whole, name).dtype}


def test_columns_that_nobody_reads_do_not_count(tmp_path, monkeypatch):
    frame = ORDERS["shuffled"](table()).with_columns(**{f"other{number}": pl.lit(float(number)) for number in range(50)})
    path = written(tmp_path / "a.parquet", frame)
    monkeypatch.setattr(row_order, "IN_MEMORY", frame.select("id", "time", "x", "label").estimated_size() * 2)
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    assert len(read("parquet", path, channels=("x",))) == 1


def test_a_series_too_large_to_be_held_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("id,time,x,label\n" + "".join(f"{name},{t},1,u\n" for t in range(200) for name in "ab"[: 1 + (t < 9)]))
    monkeypatch.setattr(row_order, "IN_MEMORY", 10)
    assert [block.lengths.tolist() for block in read("csv", path)] == [[200], [9]]
    monkeypatch.setattr(limits, "ONE", 4000)
    with pytest.raises(UserError, match=r"a\.csv: line 2, column 'id': series 'a' takes more than 4,000 bytes"):
        read("csv", path)


def test_a_full_disk_is_one_message_and_nothing_is_left(tmp_path, monkeypatch):
    path = written(tmp_path / "a.csv", ORDERS["shuffled"](table()))
    monkeypatch.setattr(row_order, "IN_MEMORY", 1000)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **how: io.FileIO("/dev/full", "r+"))
    with pytest.raises(UserError, match=r"cannot write the rows of a\.csv .*: the disk is full; free some space") as caught:
        prepare(Data(source="csv", path=str(path), prepared=str(tmp_path / "prepared"), group="group"))
    assert str(caught.value).startswith(f"{tmp_path}/prepared/.csv-a-") and len(str(caught.value).splitlines()) == 1
    with pytest.raises(UserError, match=r"TMPDIR.*the disk is full"):
        read("csv", path, group="group")
    assert [file.name for file in (tmp_path / "prepared").iterdir()] == [".lock"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, None])
def test_no_temporary_file_has_a_name_that_could_be_left(tmp_path, monkeypatch, error):
    path = written(tmp_path / "a.csv", ORDERS["shuffled"](table()))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(row_order, "IN_MEMORY", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with suppress(KeyboardInterrupt, ValueError):
        for _ in formats.read("csv", path, Columns(group="group")):
            assert not list(scratch.iterdir())
            if error:
                raise error
    assert not list(scratch.iterdir())


MEASURE = """
import json, sys, threading, time
from pathlib import Path
from pipeline.data.readers import formats
from pipeline.data.readers.tables import csv_lines, parquet_table, row_order
from pipeline.data.series import Columns

def anonymous():
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) * 1024

def watch():
    while not done:
        peaks.append(anonymous())
        time.sleep(0.002)

csv_lines.BLOCK, parquet_table.BLOCK, row_order.IN_MEMORY = 2**20, 2**20, 4 * 2**20
path, done, steps = Path(sys.argv[1]), [], 0
for _ in formats.read(path.suffix[1:], path.with_stem("small"), Columns()):
    pass
peaks = [anonymous()]
start = peaks[0]
thread = threading.Thread(target=watch)
thread.start()
for block in formats.read(path.suffix[1:], path, Columns()):
    steps += int(block.lengths.sum())
done.append(1)
thread.join()
print(json.dumps([steps, (max(peaks) - start) / 2**20]))
"""


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_many_times_the_limit_is_read_in_bounded_memory(tmp_path, kind):
    count = 1_000_000  # rows of 40 bytes and more, ten times the limit
    frame = pl.DataFrame({"id": np.arange(count) % 1000, "time": np.arange(count), "x": np.arange(count) / 7, "label": "u"})
    for name, some in (("large", frame), ("small", frame[:50_000])):
        path = tmp_path / f"{name}.{kind}"
        some.write_csv(path) if kind == "csv" else some.write_parquet(path, row_group_size=50_000)
    child = subprocess.run([sys.executable, "-c", MEASURE, str(path.with_stem("large"))], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr[-2000:]
    steps, peak = json.loads(child.stdout)
    assert steps == count
    assert peak < 40, f"{peak:.0f} MB, and the rows take 40"


def test_a_line_too_long_beside_one_too_short_is_named_whatever_is_read_of_them(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    for head, lines in (("id,time,x,label", "a,0,1,u\na,1,2,u,9\nb,0,3\n"), ("x,time,label,id", "1,0,u,a\n1,1,u,a,9\n1,0,u\n")):
        path.write_text(f"{head}\n{lines}" + lines.splitlines()[0].replace("0", "7") + "\n")
        for limit in (0, 2**20):
            monkeypatch.setattr(row_order, "IN_MEMORY", limit)
            with pytest.raises(UserError, match=r"a\.csv: line 3: 5 cells, but the header names 4 columns"):
                read("csv", path)


@pytest.mark.parametrize("order", ["together", "two files one after the other"])
def test_a_table_above_the_limit_is_read_once_if_the_rows_of_each_series_stand_together(tmp_path, monkeypatch, order):
    passes = []
    real = csv_lines.lines
    monkeypatch.setattr(csv_lines, "lines", lambda *given: passes.append(given) or real(*given))
    monkeypatch.setattr(row_order, "IN_MEMORY", 1000)
    monkeypatch.setattr(csv_lines, "BLOCK", 500)
    parts(tmp_path / "prepared", written(tmp_path / "a.csv", ORDERS[order](table())))
    assert (len(passes) == 1) == (order == "together")
