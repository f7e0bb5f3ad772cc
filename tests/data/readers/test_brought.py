"""Files as they are brought from other programs: read, or refused with what to type."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline import config
from pipeline.data.inspection import roles
from pipeline.errors import DataError, UserError
from pipeline.stages.advice import init
from tests.support.series_files import npz, only

TIMES = {
    "days": [f"{day:02}.03.2024" for day in (9, 10, 11)],
    "minutes": [f"{day:02}.03.2024 08:30" for day in (9, 10, 11)],
    "seconds": [f"{day}.3.2024 08:30:15" for day in (9, 10, 11)],
    "parts of a second": [f"01.03.2024 08:30:15.{part}" for part in (25, 50, 75)],
    "over the end of a month": ["30.01.2024", "31.01.2024", "01.02.2024"],
}


@pytest.mark.parametrize("case", TIMES)
def test_a_date_with_dots_has_its_day_first(tmp_path: Path, case: str) -> None:
    rows = [f"s{i};{TIMES[case][t]};{'ab'[i % 2]};{i},{t}\n" for i in range(20) for t in (2, 0, 1)]
    (tmp_path / "a.csv").write_text("Messung;Datum;Zustand;Wert\n" + "".join(rows))
    found = roles.find("csv", tmp_path / "a.csv").columns
    assert (found.id, found.time, found.label, found.decimal) == ("Messung", "Datum", "Zustand", ",")
    got = only("csv", tmp_path / "a.csv", **found.model_dump())
    assert got.values[:3, 0].tolist() == [0.0, 0.1, 0.2]


@pytest.mark.parametrize("time", ["01.03.24", "3/1/2024", "31.02.2024", "2024/03/01"])
def test_a_date_that_is_none_or_may_be_two_is_refused_and_init_does_not_order_by_it(tmp_path: Path, time: str) -> None:
    rows = [f"s{i},{time},{'ab'[i % 2]},{i}\n" for i in range(20)]
    (tmp_path / "a.csv").write_text("id,time,label,x\n" + "".join(rows))
    with pytest.raises(DataError, match="is no time"):
        only("csv", tmp_path / "a.csv")
    rows = [f"s{i},{time},{'ab'[i % 2]},{(i * 7 + t) % 5}\n" for i in range(20) for t in range(9)]
    (tmp_path / "a.csv").write_text("id,time,label,x\n" + "".join(rows))
    assert roles.find("csv", tmp_path / "a.csv").columns.time == ""


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.bool_])
def test_labels_as_rows_of_zeros_with_a_one_are_its_places(tmp_path: Path, kind: type) -> None:
    numbers = [0, 2, 1, 2]
    path = npz(tmp_path / "a.npz", X=np.ones((4, 3, 2)), y=np.eye(3)[numbers].astype(kind))
    assert only("npz", path).labels == ("0", "2", "1", "2")


@pytest.mark.parametrize("rows", [[[0.2, 0.8], [1, 0]], [[1, 1], [1, 0]], [[0, 0], [0, 1]]])
def test_rows_that_are_no_such_labels_are_refused(tmp_path: Path, rows: list[list[float]]) -> None:
    with pytest.raises(
        DataError, match=r"array 'y': is of shape \(2, 2\); give it one label a series, or rows of zeros with a"
    ):
        only("npz", npz(tmp_path / "a.npz", X=np.ones((2, 3, 2)), y=rows))


@pytest.mark.parametrize(("values", "label"), [("X", "y"), ("x", "y")])
def test_two_splits_in_one_file_are_put_into_two_by_what_the_message_says(tmp_path: Path, values: str, label: str) -> None:
    path = npz(
        tmp_path / "mnist.npz",
        **{f"{values}_train": np.ones((4, 3, 2)), f"{label}_train": [0, 1, 0, 1]},
        **{f"{values}_test": np.zeros((2, 3, 2)), f"{label}_test": [0, 1]},
    )
    with pytest.raises(DataError, match="holds the arrays of two splits") as caught:
        only("npz", path)
    typed = str(caught.value).split("type: python -c ")[1].split("; then use")[0]
    subprocess.run([sys.executable, "-c", typed.strip('"')], check=True)
    assert len(only("npz", tmp_path / "mnist_TRAIN.npz")) == 4 and len(only("npz", tmp_path / "mnist_TEST.npz")) == 2


def test_lines_of_json_become_what_is_read_by_what_the_message_says(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(f'{{"id": {i}, "x": [{i}, 1.5, 2], "label": "{"ab"[i % 2]}"}}\n' for i in range(40)))
    with pytest.raises(DataError, match=r"\.jsonl is not read; type: python -c") as caught:
        init.init(path, None, tmp_path / "o.yaml")
    typed = str(caught.value).split("type: python -c ")[1].split("; then use")[0]
    subprocess.run([sys.executable, "-c", typed.strip('"')], check=True)
    columns = roles.find("parquet", tmp_path / "events.parquet").columns
    assert only("parquet", tmp_path / "events.parquet", **columns.model_dump()).lengths.tolist() == [3] * 40


@pytest.mark.parametrize(
    ("name", "says"), [("a.xlsx", "save the sheet as CSV"), ("a.mat", "X .series, steps, channels."), ("a.pkl", "to_parquet")]
)
def test_other_kinds_of_files_are_refused_with_what_to_do(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=says):
        init.init(tmp_path / name, None, None)


def test_a_file_of_labels_beside_recordings_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"rec{i}.csv").write_text("time,x\n0,1\n1,2\n")
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"rec{i}.csv,{'ab'[i % 2]}\n" for i in range(4)))
    with pytest.raises(UserError, match="move each recording into a folder of its class, and that file away"):
        init.init(tmp_path, None, None)


def test_levels_of_an_index_that_have_no_name_tell_series_apart_and_order_them(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "x": random.normal(size=600),
            "diagnosis": np.repeat(["a", "b"] * 15, 20),
            "__index_level_0__": np.repeat([f"p{i}" for i in range(30)], 20),
            "__index_level_1__": np.tile(np.arange(20), 30),
        }
    )
    frame.sort("__index_level_1__").write_parquet(tmp_path / "a.parquet")
    found = roles.find("parquet", tmp_path / "a.parquet").columns
    assert (found.id, found.time, found.channels) == ("__index_level_0__", "__index_level_1__", ("x",))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda text: zipped(text),
    "Zstandard": lambda text: b"\x28\xb5\x2f\xfd" + text,  # its first bytes tell
}
ENDINGS = {"bzip2": ".bz2", "xz": ".xz", "zip": ".zip", "Zstandard": ".zst"}


def zipped(text: bytes) -> bytes:
    """A .zip of one file."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a.csv", text)
    return made.getvalue()


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("named", [True, False])
def test_a_file_that_is_packed_otherwise_is_refused_whatever_its_name_says(tmp_path: Path, kind: str, named: bool) -> None:
    path = tmp_path / f"a.csv{ENDINGS[kind] * named}"
    path.write_bytes(PACKERS[kind](b"id,time,label,x\n0,0,a,1\n"))
    with pytest.raises(DataError, match="unpack it"):
        init.init(path, None, tmp_path / "o.yaml")
    said = f"is packed as {kind}, which is not read; unpack it, or pack it as gzip"
    with pytest.raises(DataError, match=said):
        only("csv", path)
    for other, text in (("ts", "@data"), ("arff", "@data")):
        path.write_bytes(PACKERS[kind](text.encode()))
        with pytest.raises(DataError, match=said):
            only(other, path)


@pytest.mark.parametrize("ending", [".csv.gz", ".CSV.GZ", ".tsv.gz", ".txt.gz", ".csv"])
def test_gzip_is_read_and_seen_by_init_by_any_name(tmp_path: Path, ending: str) -> None:
    rows = [f"s{i},{t},{'ab'[i % 2]},{i * 7 % 5 + t}\n" for i in range(20) for t in range(4)]
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(("id,time,label,x\n" + "".join(rows)).encode()))
    init.init(path, None, tmp_path / "o.yaml")
    data = config.load(tmp_path / "o.yaml").data
    assert (data.source, data.id, data.time, data.label) == ("csv", "id", "time", "label")
    assert only("csv", path).labels == ("a", "b") * 10


def test_a_record_is_called_rec_and_its_class_y(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [f"{i},{random.normal():.3f},{random.normal():.3f},{i % 3}\n" for i in range(30) for _ in range(8)]
    (tmp_path / "a.csv").write_text("rec,x1,x2,y\n" + "".join(rows))
    found = roles.find("csv", tmp_path / "a.csv").columns
    assert (found.layout, found.id, found.label, found.time) == ("long", "rec", "y", "")
    assert only("csv", tmp_path / "a.csv", **found.model_dump()).channels == ("x1", "x2")
    wide = [f"{i},{','.join(f'{value:.3f}' for value in random.normal(size=9))},{i % 3}\n" for i in range(30)]
    (tmp_path / "b.csv").write_text(f"rec,{','.join(f't{t}' for t in range(9))},y\n" + "".join(wide))
    found = roles.find("csv", tmp_path / "b.csv").columns
    assert (found.layout, found.id, found.label) == ("wide", "rec", "y")
    assert only("csv", tmp_path / "b.csv", **found.model_dump()).lengths.tolist() == [9] * 30


def test_x_y_and_z_are_three_channels_beside_a_class(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    cells = (",".join(str(number) for number in random.integers(0, 40, 3)) for _ in range(240))
    rows = [f"{i},{t},{next(cells)},{'ab'[i % 2]}\n" for i in range(30) for t in range(8)]
    (tmp_path / "a.csv").write_text("rec,t,x,y,z,activity\n" + "".join(rows))
    found = roles.find("csv", tmp_path / "a.csv").columns
    assert (found.id, found.time, found.label, found.channels) == ("rec", "t", "activity", ("x", "y", "z"))
