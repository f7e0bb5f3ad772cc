"""What ``data.window`` promises: recordings become windows, in every format, and ``predict`` cuts as training did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline import config, load
from pipeline.data.inspection import roles
from pipeline.data.preparation.folder import prepare
from pipeline.data.readers.shapes import windows
from pipeline.errors import ConfigError, DataError
from tests.support import series_files
from tests.support.launching import succeed
from tests.support.predicting import export_untrained, rows_of
from tests.support.series_files import only, read

PEOPLE, STEPS = 6, 60


def recordings(people: int = PEOPLE, steps: int = STEPS, run: int = 30) -> pl.DataFrame:
    """A recording a person, whose label changes every ``run`` steps."""
    random = np.random.default_rng(0)
    return pl.DataFrame(
        [
            {"id": f"u{u}", "time": t, "label": ("sit", "walk")[t // run % 2], "x": random.normal(t // run % 2), "y": float(t)}
            for u in range(people)
            for t in range(steps)
        ]
    )


def table(path: Path, frame: pl.DataFrame) -> Path:
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return path


def settings(path: Path, *more: str) -> config.Data:
    own = path.parent / "own.yaml"
    own.write_text("model: {hidden: 4}\n")
    kind = path.suffix[1:]
    prepared = f"data.prepared={path.parent}/prepared"
    return config.load(own, (f"data.source={kind}", f"data.path={path}", prepared, "data.window=10", *more)).data


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_each_recording_is_cut_into_windows_with_predictable_ids_and_the_person_as_group(tmp_path, kind):
    frame = recordings()
    got = only(kind, table(tmp_path / f"a.{kind}", frame), window=10)
    assert len(got) == 36 and set(got.lengths) == {10}
    assert got.ids[:7] == ("u0:0", "u0:10", "u0:20", "u0:30", "u0:40", "u0:50", "u1:0")
    assert got.groups == tuple(id_.split(":")[0] for id_ in got.ids)
    assert got.labels[:6] == ("sit",) * 3 + ("walk",) * 3
    np.testing.assert_array_equal(got.values, frame.select("x", "y").to_numpy())
    assert got.times.tolist()[:3] == [0, 10, 20] and got.ends.tolist()[:3] == [9, 19, 29]
    assert (got.rows[1] - got.rows[0]) == 10, "a message names the line that a window begins with"


@pytest.mark.parametrize("stride", [1, 3, 7, 15])
def test_windows_hold_the_steps_of_the_file_whatever_the_stride_and_the_order_of_rows(tmp_path, stride, monkeypatch):
    frame = recordings(3, 47)
    monkeypatch.setattr(windows, "BLOCK", 1000)  # several pieces
    blocks = read("csv", table(tmp_path / "a.csv", frame.sample(fraction=1, shuffle=True, seed=1)), window=10, stride=stride)
    ids = [id_ for block in blocks for id_ in block.ids]
    assert len(ids) == 3 * ((47 - 10) // stride + 1) == len(set(ids))
    for block in blocks:
        for number, id_ in enumerate(block.ids):
            name, start = id_.split(":")
            own = frame.filter(pl.col("id") == name)[int(start) : int(start) + 10]
            np.testing.assert_array_equal(block.one(number), own.select("x", "y").to_numpy())
            counts = own["label"].value_counts()
            most = counts.filter(pl.col("count") == counts["count"].max())["label"].to_list()
            wanted = own["label"][0] if len(most) > 1 else most[0]
            assert block.labels[number] == wanted, "of two equally frequent labels the first one"


def test_windows_of_several_labels_are_left_out_and_said_where_they_are_not_wanted(tmp_path):
    path = table(tmp_path / "a.csv", recordings())
    got = only("csv", path, window=20, window_label="single")
    assert got.ids[:3] == ("u0:0", "u0:40", "u1:0") and any("'u0:20'" in line for line in got.doubts)
    assert len(only("csv", path, window=20, window_label="single", labelled=False)) == 18, "all are predicted"
    with pytest.raises(DataError, match=r"no window of 60 steps has one label.*data\.window"):
        only("csv", path, window=60, window_label="single")


def test_a_recording_shorter_than_a_window_is_one_window_and_said(tmp_path):
    frame = recordings().filter((pl.col("id") != "u2") | (pl.col("time") < 7))
    got = only("csv", table(tmp_path / "a.csv", frame), window=10)
    assert got.lengths[got.ids.index("u2:0")] == 7 and len(got) == 31
    assert any("'u2' has 7 steps" in line for line in got.doubts)


@pytest.mark.parametrize("form", ["ts", "npz end to end", "npz by key", "wide csv", "wide parquet", "long csv"])
def test_windows_of_every_format_have_the_label_of_their_series(tmp_path, form):
    kind, layout, write = series_files.WRITERS[form]
    made = series_files.examples(lengths=(25, 14, 10, 6), missing=False)
    got = only(kind, write(tmp_path / f"a.{kind}", made), layout=layout, window=10, stride=5)
    assert got.lengths.tolist() == [10, 10, 10, 10, 10, 10, 6]
    assert got.labels == ("yes",) * 4 + ("no",) + ("yes", "perhaps")
    assert len({*got.groups[:4]}) == 1 and len({*got.groups}) == 4
    np.testing.assert_array_equal(got.one(3), made[0][15:25].astype(got.values.dtype))


def test_no_person_is_on_two_sides_of_a_split_unless_it_is_asked_for(tmp_path):
    path = table(tmp_path / "a.csv", recordings(12))
    data = settings(path, "data.stride=5")
    assert data.split == "group"
    found = prepare(data)
    persons = {name: {int(row) // 11 for row in found.part(name).index} for name in found.manifest.parts}
    assert not persons["train"] & persons["test"] and not persons["train"] & persons["valid"]
    assert not any("data.split" in line for line in found.manifest.doubts)
    other = prepare(settings(path, "data.stride=5", "data.split=stratified"))
    assert any("data.split" in line and "windows" in line for line in other.manifest.doubts)


def test_windows_that_reach_into_the_held_out_time_are_in_no_split(tmp_path):
    path = table(tmp_path / "a.csv", recordings(3, 200, 5))
    manifest = prepare(settings(path, "data.stride=2", "data.split=time", "data.validation=0")).manifest
    assert manifest.left_out > 0


def test_keys_of_windows_without_windows_are_refused(tmp_path):
    for key in ("data.stride=5", "data.window_label=single"):
        with pytest.raises(ConfigError, match=r"is of windows; set data\.window"):
            settings(table(tmp_path / "a.csv", recordings()), "data.window=0", key)


@pytest.mark.parametrize("more", [(), ("data.stride=4",), ("data.elapsed=true",)], ids=str)
def test_predict_cuts_recordings_as_training_did(tmp_path, more):
    path = table(tmp_path / "a.csv", recordings())
    evaluated = export_untrained(tmp_path, "data.source=csv", "data.path=a.csv", "data.window=10", *more)
    succeed("predict", "--model", "export", "a.csv", "--output", "out.csv", cwd=tmp_path)
    predicted = rows_of(tmp_path / "out.csv")
    assert predicted[1]["id"] == ("u0:4" if "data.stride=4" in more else "u0:10")
    for row in evaluated:
        said = predicted[int(row["index"])]
        assert said["label"] == row["label"]
        assert float(said["probability"]) == pytest.approx(float(row["probability"]), abs=1e-5)
    model = load(tmp_path / "export")
    assert model.predict(pl.read_csv(path)).ids == tuple(row["id"] for row in predicted)


@pytest.mark.parametrize("window", [0, 4])
def test_one_recording_without_an_id_is_one_series_or_its_windows(tmp_path, window):
    table(tmp_path / "a.csv", recordings().drop("label").with_columns(label=pl.col("id").str.slice(1).cast(pl.Int64) % 2))
    export_untrained(tmp_path, "data.source=csv", "data.path=a.csv", "data.validation=0", f"data.window={window}")
    one = recordings().filter(pl.col("id") == "u0").drop("id", "label")[:20]
    table(tmp_path / "one.csv", one.sample(fraction=1, shuffle=True, seed=1))
    succeed("predict", "--model", "export", "one.csv", "--id", "", "--output", "out.csv", cwd=tmp_path)
    assert [row["id"] for row in rows_of(tmp_path / "out.csv")] == ([f"0:{n}" for n in range(0, 20, 4)] if window else ["0"])
    table(tmp_path / "named.csv", one.with_columns(id=pl.lit("0")))
    succeed("predict", "--model", "export", "named.csv", "--output", "same.csv", cwd=tmp_path)
    assert rows_of(tmp_path / "out.csv") == rows_of(tmp_path / "same.csv")


def test_one_recording_to_train_on_needs_no_id_where_it_is_cut(tmp_path):
    path = table(tmp_path / "a.csv", recordings(1, 400, 7).drop("id"))
    assert len(only("csv", path, id="", window=10)) == 40
    with pytest.raises(DataError, match=r"data\.id names no column"):
        only("csv", path, id="")


def test_init_proposes_windows_where_the_label_changes_within_an_id(tmp_path):
    found = roles.find("csv", table(tmp_path / "a.csv", recordings()))
    assert (found.columns.id, found.columns.window, found.columns.label) == ("id", 30, "label")
    assert any("changes within" in line for line in found.reasons)
    assert len(only("csv", tmp_path / "a.csv", **found.columns.model_dump())) == 12


@pytest.mark.parametrize(("run", "window"), [(10, 10), (7, 7), (45, 45)])
def test_init_proposes_the_longest_windows_of_which_few_have_several_labels(tmp_path, run, window):
    assert roles.find("csv", table(tmp_path / "a.csv", recordings(6, 90, run))).columns.window == window


def test_init_proposes_short_windows_where_labels_change_at_any_step(tmp_path):
    frame = recordings(6, 400).with_columns(label=pl.lit("a"))
    begins = np.cumsum(np.random.default_rng(0).integers(20, 60, 200))
    frame = frame.with_columns(label=pl.Series(["ab"[int(n) % 2] for n in np.searchsorted(begins, np.arange(2400), "right")]))
    assert 10 <= roles.find("csv", table(tmp_path / "a.csv", frame)).columns.window <= 20


def test_a_recording_whose_lines_end_with_a_mark_is_read_and_two_rows_on_a_line_are_called_so(tmp_path):
    rows = [f"{u},{'Walk' if t < 20 else 'Jog'},{t * 50},{t % 7}.5,{-t % 5}.25" for u in (1, 2) for t in range(40)]
    asked = {"header": False, "id": "0", "label": "1", "time": "2", "window": 10}
    path = tmp_path / "a.txt"
    path.write_text("".join(f"{row}{',' if n == 5 else ''};\n" for n, row in enumerate(rows)))  # a cell more, of nothing
    got = only("csv", path, **asked)
    assert len(got) == 8 and got.labels == ("Walk", "Walk", "Jog", "Jog") * 2
    np.testing.assert_array_equal(got.one(0), [[t % 7 + 0.5, -t % 5 + 0.25] for t in range(10)])
    found = roles.find("csv", path).columns
    assert (found.header, found.layout, found.id, found.label, found.time) == (False, "long", "0", "1", "2")
    assert (found.window, found.channels) == (20, ("3", "4"))
    path.write_text(";\n".join(rows[:9]) + ";" + ";\n".join(rows[9:]) + ";\n")
    with pytest.raises(DataError, match=r"line 9: 9 cells, but line 1 has 5, and ';' stands within: two rows are on one line"):
        only("csv", path, **asked)


def unlabelled(path: Path, lacking: int) -> Path:
    """Recordings whose first ``lacking`` steps of each 20 have no label."""
    frame = recordings(steps=40, run=20).with_columns(
        label=pl.when(pl.col("time") % 20 < lacking).then(pl.lit("")).otherwise(pl.col("label"))
    )
    return table(path, frame)


@pytest.mark.parametrize(("lacking", "labels"), [(5, ("sit", "walk")), (9, ("sit", "walk")), (11, ())])
def test_a_window_has_the_label_of_most_of_its_steps_also_where_some_have_none(tmp_path, lacking, labels):
    path = unlabelled(tmp_path / "a.csv", lacking)
    if not labels:
        with pytest.raises(DataError, match="no window of 20 steps has one label"):
            only("csv", path, window=20)
        return
    got = only("csv", path, window=20)
    assert got.labels == labels * PEOPLE and not got.doubts
    with pytest.raises(DataError, match="no window of 20 steps has one label"):
        only("csv", path, window=20, window_label="single")
    with pytest.raises(DataError, match="is empty; each row needs its label"):
        only("csv", path)


def test_windows_without_a_label_are_left_out_and_the_first_is_named(tmp_path):
    got = only("csv", unlabelled(tmp_path / "a.csv", 10), window=10)
    assert got.labels == ("sit", "walk") * PEOPLE and got.ids[:2] == ("u0:10", "u0:30")
    assert got.doubts == ("windows of which most steps have no label are left out, the first of them 'u0:0'",)
    assert len(only("csv", tmp_path / "a.csv", window=10, labelled=False)) == 4 * PEOPLE
    assert roles.find("csv", tmp_path / "a.csv").columns.window == 10


@pytest.mark.parametrize("dates", [False, True])
def test_init_takes_a_table_whose_time_rises_throughout_for_one_recording(tmp_path, dates):
    frame = recordings(1, 600, 40).drop("id")
    if dates:
        frame = frame.with_columns(time=pl.lit("2026-01-01 00:00:00").str.to_datetime() + pl.duration(seconds=pl.col("time")))
    found = roles.find("csv", table(tmp_path / "a.csv", frame))
    assert (found.columns.id, found.columns.time, found.columns.window) == ("", "time", 40)
    assert found.reasons[0].startswith("one recording: 'time' rises")
    said = succeed("init", "a.csv", "--output", "own.yaml", cwd=tmp_path)
    assert "15 series of 40 steps" in said and config.load(tmp_path / "own.yaml").data.split == "time"
    made = prepare(config.load(tmp_path / "own.yaml", (f"data.path={tmp_path}/a.csv", f"data.prepared={tmp_path}/p")).data)
    assert made.manifest.parts["test"].count == 3


@pytest.mark.parametrize("label", [lambda n: "ab"[n % 2], lambda n: "abc"[n * 7 % 3]])
def test_rows_whose_label_changes_at_once_are_no_recording(tmp_path, label):
    rows = [{"time": n, "a": float(n * n % 7), "b": float(n * n % 5), "label": label(n)} for n in range(200)]
    assert roles.find("csv", table(tmp_path / "a.csv", pl.DataFrame(rows))).columns.layout == "wide"
