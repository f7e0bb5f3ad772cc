"""Folders of series: a folder per class with a file per recording, and the part files of one table."""

from __future__ import annotations

import contextlib
import gzip
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline import config
from pipeline.data.inspection import profile, roles
from pipeline.data.preparation.folder import prepare
from pipeline.data.readers import folders
from pipeline.data.readers.tables import csv_lines, parquet_table, row_order
from pipeline.data.series import Columns
from pipeline.deploy import bundle, inputs
from pipeline.errors import DataError
from tests.support.predicting import export_untrained
from tests.support.series_files import long_frame, npz, only, read, ts

RANDOM = np.random.default_rng(0)
SERIES = {f"r{n}": RANDOM.normal(size=(4 + n % 3, 3)) for n in range(12)}


def recordings(path: Path, ending: str = ".csv", time: bool = False) -> Path:
    """walk/r1, sit/r0 ...: a file a recording, with some that are no data beside them."""
    for number, (name, values) in enumerate(SERIES.items()):
        place = path / ("sit", "walk")[number % 2] / f"{name}{ending}"
        place.parent.mkdir(parents=True, exist_ok=True)
        frame = pl.DataFrame(values, ["x", "y", "z"])
        frame = frame.with_columns(time=pl.Series(range(len(values)))).reverse() if time else frame
        if ending == ".parquet":
            frame.write_parquet(place)
        else:
            text = frame.write_csv(separator="\t" if ending == ".tsv" else ",")
            place.write_bytes(gzip.compress(text.encode()) if ending.endswith(".gz") else text.encode())
    for name in (".DS_Store", "_SUCCESS", ".part-0.csv.crc", "sit/.hidden.csv", "walk/._r1.csv"):
        (path / name).write_text("x\nno data\n")
    return path


def parts(path: Path, ending: str = "csv", files: int = 3, frame: pl.DataFrame | None = None) -> pl.DataFrame:
    """A long table in part files that cut a series in two."""
    path.mkdir(exist_ok=True)
    frame = long_frame(list(SERIES.values()), ["ab"[n % 2] for n in range(12)]) if frame is None else frame
    size = -(-len(frame) // files)
    for number in range(files):
        part = frame[number * size : (number + 1) * size]
        place = path / f"part-{number:05}.{ending}"
        _ = part.write_parquet(place) if ending == "parquet" else part.write_csv(place)
    (path / "_SUCCESS").write_text("")
    return frame


@pytest.mark.parametrize("ending", [".csv", ".txt", ".tsv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("time", [False, True])
def test_a_folder_per_class_gives_a_series_per_file(tmp_path: Path, ending: str, time: bool) -> None:
    source = "parquet" if ending == ".parquet" else "csv"
    got = only(source, recordings(tmp_path / "all", ending, time))
    names = sorted(f"{name}{ending}" for n, name in enumerate(SERIES) if not n % 2)
    assert len(got) == 12 and list(got.ids[:6]) == names and got.channels == ("x", "y", "z")
    assert got.labels == ("sit",) * 6 + ("walk",) * 6
    for number, name in enumerate(got.ids):
        np.testing.assert_array_equal(got.one(number), SERIES[name.removesuffix(ending)])
    assert got.place(7).startswith(f"{tmp_path / 'all' / 'walk'}/r11")


def test_files_of_the_same_name_have_ids_of_their_own(tmp_path: Path) -> None:
    for word in "ab":
        (tmp_path / word).mkdir()
        (tmp_path / word / "1.csv").write_text("x\n1\n")
    assert only("csv", tmp_path).ids == ("a/1.csv", "b/1.csv")


def test_series_within_a_recording_stay_apart_and_its_label_is_no_channel(tmp_path: Path) -> None:
    for word in "ab":
        (tmp_path / word).mkdir()
        (tmp_path / word / f"{word}.csv").write_text("id,x,label\n1,5,9\n1,6,9\n2,7,9\n")
    got = only("csv", tmp_path)
    assert got.ids == ("a.csv/1", "a.csv/2", "b.csv/1", "b.csv/2") and got.channels == ("x",)
    assert got.labels == ("a", "a", "b", "b") and got.lengths.tolist() == [2, 1, 2, 1]


@pytest.mark.parametrize("kind", ["ts", "npz"])
def test_recordings_of_other_formats(tmp_path: Path, kind: str) -> None:
    for number, one in enumerate(SERIES.values()):
        place = tmp_path / "ab"[number % 2] / f"{number:02}.{kind}"
        place.parent.mkdir(exist_ok=True)
        _ = ts(place, [one], None) if kind == "ts" else npz(place, s=one)
    blocks = read(kind, tmp_path)
    assert [word for block in blocks for word in block.labels or ()] == ["a"] * 6 + ["b"] * 6
    assert blocks[0].ids == (f"00.{kind}",) and blocks[-1].place(0).startswith(str(tmp_path / "b" / f"11.{kind}"))
    np.testing.assert_array_equal(blocks[0].values, SERIES["r0"])


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("limit", [2**28, 60])
def test_part_files_are_one_table(tmp_path: Path, ending: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_order, "IN_MEMORY", limit)
    monkeypatch.setattr(csv_lines, "BLOCK", 90)
    monkeypatch.setattr(parquet_table, "BLOCK", 90)
    whole = parts(tmp_path / "parts", ending)
    blocks = read(ending, tmp_path / "parts")
    whole.write_parquet(tmp_path / "whole.parquet")
    expected = read("parquet", tmp_path / "whole.parquet")
    np.testing.assert_array_equal(*(np.concatenate([block.values for block in some]) for some in (blocks, expected)))
    for name in ("ids", "labels"):
        assert [word for block in blocks for word in getattr(block, name)] == [
            word for block in expected for word in getattr(block, name)
        ]


def test_part_files_may_have_their_columns_in_another_order(tmp_path: Path) -> None:
    frame = parts(tmp_path / "parts")
    second = pl.read_csv(tmp_path / "parts/part-00001.csv")
    second.select(reversed(second.columns)).write_csv(tmp_path / "parts/part-00001.csv")
    frame.write_csv(tmp_path / "whole.csv")
    np.testing.assert_array_equal(only("csv", tmp_path / "parts").values, only("csv", tmp_path / "whole.csv").values)


def test_wide_parts_and_parts_of_lists(tmp_path: Path) -> None:
    wide = pl.DataFrame({"label": ["a", "b"] * 3, **{f"x_{n}": RANDOM.normal(size=6) for n in range(4)}})
    parts(tmp_path / "wide", "csv", 3, wide)
    assert [word for block in read("csv", tmp_path / "wide", layout="wide", id="") for word in block.ids] == list("012345")
    lists = pl.DataFrame({"label": ["a", "b"] * 3, "x": [[1.0, 2.0]] * 6})
    parts(tmp_path / "lists", "parquet", 3, lists)
    assert sum(map(len, read("parquet", tmp_path / "lists"))) == 6


def test_an_error_names_the_part_and_its_own_line(tmp_path: Path) -> None:
    parts(tmp_path / "parts")
    path = tmp_path / "parts/part-00001.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3].rsplit(",", 1)[0] + ",c", *lines[4:]]) + "\n")
    with pytest.raises(DataError, match=r"part-00001\.csv: line 4, column 'label': .*has the label"):
        read("csv", tmp_path / "parts")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: (p / "parts/part-00001.csv").write_text("id,time,label,other\n"), r"part-00001\.csv: lacks sensor a"),
        (lambda p: (p / "parts/part-00002.csv").write_text(""), r"part-00002\.csv: line 1: the file is empty"),
        (lambda p: recordings(p / "parts"), r"parts: holds files \(part-00000.csv.*and folders of files \(sit, walk\)"),
    ],
)
def test_parts_that_do_not_go_together_are_refused_by_name(tmp_path: Path, change: object, says: str) -> None:
    parts(tmp_path / "parts")
    change(tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError, match=says):
        read("csv", tmp_path / "parts")


def test_folders_that_are_neither_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder without a file of the format csv"):
        read("csv", tmp_path)
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match="recordings need a folder for each class"):
        read("csv", tmp_path)
    for name in ("train", "test"):
        recordings(tmp_path / "both" / name)
    with pytest.raises(DataError, match=r"data\.path=.*train data\.test_path="):
        read("csv", tmp_path / "both")
    for name in ("label=a", "label=b"):
        (tmp_path / "hive" / name).mkdir(parents=True)
        (tmp_path / "hive" / name / "part-0.csv").write_text("x\n1\n")
    with pytest.raises(DataError, match="partitioned by 'label'"):
        read("csv", tmp_path / "hive")


def test_files_of_other_kinds_are_left_out_and_said(tmp_path: Path) -> None:
    path = recordings(tmp_path / "all")
    (path / "README.md").write_text("how it was recorded")
    assert "README.md" in only("csv", path).doubts[0]


def test_a_layout_that_recordings_have_not_is_said(tmp_path: Path) -> None:
    path = recordings(tmp_path / "all")
    (said,) = only("csv", path, layout="wide").doubts
    assert said == "data.layout = wide has no effect: each file is a recording, and a row is a step of it"
    assert not only("csv", path).doubts


def settings(path: Path, folder: Path, *more: str) -> config.Data:
    (path / "own.yaml").write_text("{}")
    given = ["data.source=csv", f"data.path={folder}", f"data.prepared={path / 'prepared'}", "data.validation=0", *more]
    return config.load(path / "own.yaml", given).data


def test_a_folder_is_prepared_and_a_changed_recording_is_refused(tmp_path: Path) -> None:
    folder = recordings(tmp_path / "all")
    made = prepare(settings(tmp_path, folder))
    assert made.manifest.class_names == ("sit", "walk") and sum(info.count for info in made.manifest.parts.values()) == 12
    assert not prepare(settings(tmp_path, folder)).made
    (folder / "sit/r0.csv").write_text("x,y,z\n1,2,3\n")
    with pytest.raises(DataError, match="is not the folder"):
        prepare(settings(tmp_path, folder))


def test_init_finds_recordings_and_parts(tmp_path: Path) -> None:
    found = roles.find("csv", recordings(tmp_path / "all", time=True))
    assert found.columns.channels == () and "a folder per class" in found.reasons[0]
    assert profile.of_series("csv", tmp_path / "all", found.columns).classes == {"sit": 6, "walk": 6}
    parts(tmp_path / "parts", "parquet")
    wanted = roles.find("parquet", tmp_path / "parts").columns
    assert (wanted.id, wanted.time, wanted.label) == ("id", "time", "label")


def test_predict_reads_folders_of_recordings_with_and_without_classes(tmp_path: Path) -> None:
    folder = recordings(tmp_path / "all")
    export_untrained(tmp_path, "data.source=csv", f"data.path={folder}", "data.validation=0", f"data.prepared={tmp_path}/p")
    model = bundle.load(tmp_path / "export")
    flat = tmp_path / "new"
    flat.mkdir()
    for file in folder.glob("*/r*.csv"):
        (flat / file.name).write_bytes(file.read_bytes())
    with contextlib.chdir(tmp_path):
        found = {
            path: list(inputs.read(path, str(inputs.source_of(path)), model.facts, model.features, {}))
            for path in (folder, flat)
        }
    assert [sorted(name for block in blocks for name in block.ids) for blocks in found.values()] == [
        sorted(f"{name}.csv" for name in SERIES)
    ] * 2
    assert found[flat][0].labels is None and set(found[folder][0].labels or ()) == {"sit", "walk"}


def test_links_to_folders_are_gone_through_and_those_to_themselves_refused(tmp_path: Path) -> None:
    for word in ("sit", "walk"):
        (tmp_path / "real" / word).mkdir(parents=True)
        (tmp_path / "real" / word / "1.csv").write_text("x\n1\n2\n")
    (tmp_path / "set" / "sit" / "more").mkdir(parents=True)
    (tmp_path / "set" / "walk").symlink_to(tmp_path / "real" / "walk")
    (tmp_path / "set" / "sit" / "more" / "inner").symlink_to(tmp_path / "real" / "sit")
    assert folders.data_files(tmp_path / "set") == ["sit/more/inner/1.csv", "walk/1.csv"]
    (tmp_path / "real" / "sit" / "back").symlink_to(tmp_path / "set")
    with pytest.raises(DataError, match=r"back: is a link to a folder that it lies in; remove it"):
        folders.data_files(tmp_path / "set")


@pytest.mark.parametrize("time", [True, False])
def test_ids_that_each_file_counts_anew_are_no_series_of_several_files_in_silence(tmp_path: Path, time: bool) -> None:
    frame = long_frame([SERIES[f"r{n}"] for n in range(4)])
    frame = frame if time else frame.drop("time")
    for day in (1, 2):
        (tmp_path / "days").mkdir(exist_ok=True)
        frame.write_csv(tmp_path / "days" / f"day{day}.csv")
    if time:
        with pytest.raises(DataError, match=r"day2.csv: line 2.*already on line 2 of .*day1.csv.*ids of their own: FILE-ID"):
            only("csv", tmp_path / "days")
    else:
        (said,) = only("csv", tmp_path / "days", time="").doubts
        assert "series 's1' and others have rows in" in said and "ids of their own: FILE-ID" in said
    (tmp_path / "parts").mkdir()
    for part, piece in enumerate((frame[:7], frame[7:15], frame[15:])):  # one table, cut within series
        piece.write_csv(tmp_path / "parts" / f"part-{part}.csv")
    assert not only("csv", tmp_path / "parts", **({} if time else {"time": ""})).doubts


@pytest.mark.parametrize("persons", [("p0", "p1"), ("p0",), ()])
def test_init_says_where_folders_below_the_classes_come_again_in_each(tmp_path: Path, persons: tuple[str, ...]) -> None:
    for word in ("sit", "walk"):
        for person in persons or ("",):
            (tmp_path / word / person).mkdir(parents=True, exist_ok=True)
            for name in ("1.csv", "2.csv"):
                (tmp_path / word / person / name).write_text("time,x\n0,1\n1,2\n")
    said = [line for line in roles.find("csv", tmp_path).doubts if "each class has the folders p0, p1" in line]
    assert len(said) == (len(persons) > 1)


def test_a_folder_of_many_files_takes_as_long_as_its_files_are_many(tmp_path: Path) -> None:
    for name in ("run", "walk"):
        (tmp_path / name).mkdir()
        for number in range(6000):
            (tmp_path / name / f"{number}.csv").touch()
    begin = time.process_time()
    listed = folders.data_files(tmp_path)
    between = time.process_time()
    found = folders.look("csv", tmp_path, Columns())
    assert time.process_time() - between < 25 * (between - begin), "it was 100 times as long, and 1,000 for 100,000 files"
    assert list(found.files) == listed and found.others == ()
