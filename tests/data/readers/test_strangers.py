"""Files of strangers: what init takes them for, what is read of them, and what a refusal says to type."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline import config
from pipeline.data.inspection import roles
from pipeline.data.preparation import doubts as doubting
from pipeline.data.preparation.folder import prepare
from pipeline.data.prepared import Prepared
from pipeline.errors import DataError
from pipeline.stages.advice import init
from tests.support.series_files import npz, only, read


def wave(series: int, steps: int) -> np.ndarray:
    """A measurement that neither counts nor repeats."""
    return np.round(np.sin(np.arange(steps) * (0.2 + 0.3 * (series % 2))) * 2 + series / 7, 3)


def begun(path: Path, *overrides: str) -> Prepared:
    """What init and then prepare make of a file."""
    init.init(path, None, path.parent / "o.yaml")
    return prepare(config.load(path.parent / "o.yaml", [f"data.prepared={path.parent / 'prepared'}", *overrides]).data)


def typed(error: pytest.ExceptionInfo[DataError]) -> None:
    """Type what a message says."""
    command = str(error.value).split("type: python -c ")[1].split("; then use")[0]
    subprocess.run([sys.executable, "-c", command.strip('"')], check=True)


def test_many_classes_of_few_series_are_tested_on_one_of_each(tmp_path: Path) -> None:
    rows = [f"{i},{t},{value + i},{'abcdefghijkl'[i % 12]}\n" for i in range(36) for t, value in enumerate(wave(i, 9))]
    (tmp_path / "a.csv").write_text("id,t,x,label\n" + "".join(rows))
    made = begun(tmp_path / "a.csv")
    assert {name: part.class_counts for name, part in made.manifest.parts.items()} == {"train": (2,) * 12, "test": (1,) * 12}


def test_what_is_the_id_or_the_label_of_a_recording_is_not_its_time(tmp_path: Path) -> None:
    for i in range(8):
        path = tmp_path / "all" / "ab"[i % 2] / f"{i}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        dates = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 20), eager=True)
        pl.DataFrame({"label": dates, "x": wave(i, 20)}).write_parquet(path)
    assert begun(tmp_path / "all").manifest.class_names == ("a", "b")
    with pytest.raises(
        DataError, match="the column 'label' cannot be the time of a recording, as it is its id or its label; ren"
    ):
        read("parquet", tmp_path / "all", time="label")


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_init_leaves_out_a_channel_without_values(tmp_path: Path, kind: str) -> None:
    if kind == "npz":
        values = np.stack([np.stack([wave(i, 20), np.full(20, np.nan)], 1) for i in range(20)])
        path = npz(tmp_path / "all.npz", X=values, y=np.arange(20) % 2)
    else:
        path = tmp_path / "all"
        for i in range(20):
            (path / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
            pl.DataFrame({"x": wave(i, 20), "y": [np.nan] * 20}).write_parquet(path / "ab"[i % 2] / f"{i}.parquet")
    made = begun(path)
    left, kept = ("'channel_1'", ("channel_0",)) if kind == "npz" else ("'y'", ("x",))
    assert made.manifest.series and made.manifest.series.channels == kept and made.manifest.features == 1
    assert f"LOOK AT THIS: {left}: left out, as no series has a value there" in (tmp_path / "o.yaml").read_text()


def test_a_channel_without_values_that_is_the_only_one_is_not_left_out_by_naming_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,x,label\n" + "".join(f"{i},,{'ab'[i % 2]}\n" for i in range(9) for _ in range(3)))
    data = config.Data(source="csv", path=str(tmp_path / "a.csv"), time="", missing="mean", prepared=str(tmp_path / "p"))
    with pytest.raises(DataError, match="channel 'x' has no value in any training series; and there is no other; add one"):
        prepare(data)


def test_a_label_of_one_number_and_gaps_is_none(tmp_path: Path) -> None:
    rows = [
        f"{i},{t},{(1, 4)[i % 2]},{'NaN' if t % 5 else 90},{value}\n" for i in range(20) for t, value in enumerate(wave(i, 20))
    ]
    (tmp_path / "a.csv").write_text("id,t,activity,heart,x\n" + "".join(rows))
    assert begun(tmp_path / "a.csv").manifest.class_names == ("1", "4")
    (tmp_path / "b.csv").write_text("".join(rows))
    assert roles.find("csv", tmp_path / "b.csv").columns.label == "2"


def test_rows_of_devices_in_any_order_are_series_by_their_clock(tmp_path: Path) -> None:
    rows = [
        (f"d{i}", 1_700_000_000_000 + t * 20, value, i % 2) for i in range(20) for t, value in enumerate(wave(i, 15).tolist())
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    pl.DataFrame([rows[n] for n in order], ["device", "ts", "x", "fault"], orient="row").write_csv(tmp_path / "a.csv")
    found = roles.find("csv", tmp_path / "a.csv").columns
    assert (found.layout, found.id, found.time, found.label) == ("long", "device", "ts", "fault")
    got = only("csv", tmp_path / "a.csv", **found.model_dump())
    for number, name in enumerate(got.ids):
        np.testing.assert_allclose(got.one(number)[:, 0], wave(int(name[1:]), 15), rtol=1e-6)


def test_what_counts_steps_beside_another_time_is_no_channel(tmp_path: Path) -> None:
    rows = [f"{3 * (20 * i + t)},{i},{t},{value},{'ab'[i % 2]}\n" for i in range(20) for t, value in enumerate(wave(i, 20))]
    (tmp_path / "a.csv").write_text("index,id,t,x,label\n" + "".join(rows))
    found = roles.find("csv", tmp_path / "a.csv")
    assert found.columns.channels == ("x",) and "'t' counts the steps of each series and is left out" in found.doubts
    for i in range(8):
        path = tmp_path / "rec" / "NV"[i % 2] / f"{100 + i}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("'sample #','MLII'\n" + "".join(f"{t},{value}\n" for t, value in enumerate(wave(i, 40))))
    found = roles.find("csv", tmp_path / "rec")
    assert found.columns.channels == ("'MLII'",) and any("sample #" in line for line in found.doubts)


@pytest.mark.parametrize("kind", [pl.Boolean, pl.UInt8, pl.UInt64, pl.Int32, pl.Float32])
def test_measurements_of_any_type_are_channels(tmp_path: Path, kind: type[pl.DataType]) -> None:
    rows = [(i, t, int(value > 1), "ab"[i % 2]) for i in range(20) for t, value in enumerate(wave(i, 20))]
    frame = pl.DataFrame(rows, ["id", "t", "x", "label"], orient="row").with_columns(pl.col("x").cast(kind))
    frame.write_parquet(tmp_path / "a.parquet")
    assert roles.find("parquet", tmp_path / "a.parquet").columns.channels == ("x",)
    frame.write_csv(tmp_path / "a.csv")
    assert roles.find("csv", tmp_path / "a.csv").columns.channels == ("x",)


def test_a_word_that_is_shown_of_a_column_of_words_is_no_number(tmp_path: Path) -> None:
    rows = [f'{i},{t},"{(990 + 9 * t):,.2f}",{value},{"ab"[i % 2]}\n' for i in range(20) for t, value in enumerate(wave(i, 9))]
    (tmp_path / "a.csv").write_text("id,t,price,x,label\n" + "".join(rows))
    (said,) = [line for line in roles.find("csv", tmp_path / "a.csv").doubts if "'price'" in line]
    assert "words such as '1,008.00'" in said


@pytest.mark.parametrize("word", ["#NV", "#N/D", "#N/B", "#\u041d/\u0414", "#n/a"])
def test_what_excel_writes_for_a_missing_value_in_other_languages_is_missing(tmp_path: Path, word: str) -> None:
    rows = [f"{i},{t},{word if t == 3 else value},{'ab'[i % 2]}\n" for i in range(20) for t, value in enumerate(wave(i, 9))]
    (tmp_path / "a.csv").write_text("id,t,x,label\n" + "".join(rows))
    got = only("csv", tmp_path / "a.csv", time="t")
    assert np.isnan(got.values[:, 0]).tolist() == [t == 3 for _ in range(20) for t in range(9)]
    assert begun(tmp_path / "a.csv").manifest.features == 2  # and the mask


def test_many_channels_that_are_no_measurements_are_one_line(tmp_path: Path) -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=(40, 1, 64)), 3, axis=1)
    doubts = begun(npz(tmp_path / "a.npz", X=values, y=np.arange(40) % 2)).manifest.doubts
    assert [line.split(":")[0] for line in doubts] == [
        "64 channels, 'channel_0', 'channel_1', 'channel_2', 'channel_3', 'channel_4', ..., are constant within every series, "
        "as the number of a person or a device is"
    ]


def test_a_duration_is_a_time_in_seconds(tmp_path: Path) -> None:
    rows = [(i, timedelta(minutes=t), float(value), "ab"[i % 2]) for i in range(20) for t, value in enumerate(wave(i, 9))]
    frame = pl.DataFrame(rows[::-1], ["id", "t", "x", "label"], orient="row").with_columns(pl.col("x").cast(pl.Decimal(9, 3)))
    frame.write_parquet(tmp_path / "a.parquet")
    found = roles.find("parquet", tmp_path / "a.parquet").columns
    assert (found.id, found.time, found.channels) == ("id", "t", ("x",))
    got = only("parquet", tmp_path / "a.parquet", **(found.model_dump() | {"elapsed": True}))
    assert got.channels == ("x", "elapsed") and got.one(0)[:, 1].tolist() == [0.0] + [60.0] * 8
    for number, name in enumerate(got.ids):
        np.testing.assert_allclose(got.one(number)[:, 0], wave(int(name), 9), rtol=1e-6)


def test_ids_that_each_file_counts_anew_are_kept_apart_by_what_the_message_says(tmp_path: Path) -> None:
    (tmp_path / "days").mkdir()
    for day in range(3):
        rows = [f"{i},{t},{value},{'ab'[i % 2]}\n" for i in range(5) for t, value in enumerate(wave(i + day, 9))]
        (tmp_path / "days" / f"day{day}.csv").write_text("id,t,x,label\n" + "".join(rows))
    with pytest.raises(DataError, match=r"already on line 2 of .*day0\.csv; .* type data\.recordings=ANY, or give them ids"):
        read("csv", tmp_path / "days", time="t")
    got = only("csv", tmp_path / "days", time="t", recordings="ANY")
    assert got.ids == tuple(f"day{day}.csv/{i}" for day in range(3) for i in range(5)) and got.labels == tuple("ababa") * 3
    for number in range(15):
        np.testing.assert_allclose(got.one(number)[:, 0], wave(number // 5 + number % 5, 9), rtol=1e-6)


def test_the_arrays_of_both_splits_are_put_into_two_files_by_what_the_message_says(tmp_path: Path) -> None:
    for name, shape in (("X_train", (12, 5, 2)), ("X_test", (6, 5, 2))):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).normal(size=shape))
        np.save(tmp_path / f"{name.replace('X', 'y')}.npy", np.arange(shape[0]) % 2)
    with pytest.raises(DataError, match=r"then use .*X_train\.npz, and .*X_test\.npz for the test") as caught:
        init.init(tmp_path, None, tmp_path / "o.yaml")
    typed(caught)
    init.init(tmp_path / "X_train.npz", None, tmp_path / "o.yaml")
    assert config.load(tmp_path / "o.yaml").data.test_path == str(tmp_path / "X_test.npz")


def test_a_list_of_rows_of_channels_becomes_a_row_per_step_by_what_the_message_says(tmp_path: Path) -> None:
    steps = [[{"x": float(value), "y": -float(value)} for value in wave(i, 9)] for i in range(20)]
    pl.DataFrame({"rec": range(20), "s": steps, "class": list("ab") * 10}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 's': holds a row of channels for each step; type") as caught:
        init.init(tmp_path / "a.parquet", None, tmp_path / "o.yaml")
    typed(caught)
    found = roles.find("parquet", tmp_path / "a_steps.parquet").columns
    assert (found.id, found.label, found.channels) == ("rec", "class", ("x", "y"))


@pytest.mark.parametrize("name", ["100.dat", "folder/100.dat"])
def test_a_file_of_wfdb_or_text_of_another_name_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"\0" * 99)
    with pytest.raises(DataError, match=r"100\.dat: \.dat is not read; if it is text, call it \.txt; of a record of WFDB"):
        init.init(tmp_path / name.split("/")[0], None, tmp_path / "o.yaml")


def test_a_pickle_in_an_archive_is_refused_with_what_to_save_instead(tmp_path: Path) -> None:
    series = [wave(i, 5 + i % 3) for i in range(12)]
    ragged = np.empty(12, object)
    ragged[:] = series
    np.savez(tmp_path / "a.npz", X=ragged, y=np.arange(12) % 2)
    with pytest.raises(DataError, match=r"which are never read, as they may run any program; .*of a LIST of series of unequal"):
        init.init(tmp_path / "a.npz", None, tmp_path / "o.yaml")
    np.savez(tmp_path / "b.npz", values=np.concatenate(series), lengths=[len(s) for s in series], labels=np.arange(12) % 2)
    assert only("npz", tmp_path / "b.npz").lengths.tolist() == [len(one) for one in series]


def files(folder: Path, names: dict[str, int], steps: int = 40, *, label: bool = False) -> Path:
    """Recordings of three seconds and more, by the kind of their wave; ``label``: with a class that changes."""
    for name, kind in names.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            f"{t / 10},{value},{value * 2}" + f",{'ab'[t * 4 // steps % 2]}" * label
            for t, value in enumerate(wave(kind, steps))
        ]
        path.write_text("time,x,y" + ",activity" * label + "\n" + "\n".join(rows) + "\n")
    return folder


CLASSES = ("walk", "run")
NAMED: dict[str, tuple[dict[str, int], str, str]] = {  # files, data.recordings, data.split
    "the class first": ({f"{CLASSES[i % 2]}_{i // 2:02}.csv": i for i in range(16)}, "LABEL_ANY", "stratified"),
    "the class last": ({f"{i // 2:02}-{CLASSES[i % 2]}.csv": i for i in range(16)}, "ANY-LABEL", "stratified"),
    "person, class and number": (
        {f"{person}_{CLASSES[i % 2]}_{i // 2}.csv": i for person in ("ann", "bob", "cid", "dan") for i in range(4)},
        "GROUP_LABEL_ANY",
        "group",
    ),
    "folders of numbered persons": (
        {f"subject{p}/{CLASSES[i % 2]}/{i // 2}.csv": i for p in range(5) for i in range(4)},
        "GROUP/LABEL/ANY",
        "group",
    ),
    "numbered persons in class folders": (
        {f"{CLASSES[i % 2]}/S{p:02}/{i // 2}.csv": i for p in range(5) for i in range(4)},
        "LABEL/GROUP/ANY",
        "group",
    ),
    "a folder per class": ({f"{CLASSES[i % 2]}/{i}.csv": i for i in range(16)}, "", "stratified"),
}


@pytest.mark.parametrize("case", NAMED)
def test_init_takes_the_class_and_numbered_persons_from_paths(tmp_path: Path, case: str) -> None:
    names, said, split = NAMED[case]
    made = begun(files(tmp_path / "all", names))
    data = config.load(tmp_path / "o.yaml").data
    assert (data.recordings, data.split) == (said, split)
    assert made.manifest.class_names == ("run", "walk")
    expected = {label: sum(label in name for name in names) for label in CLASSES}
    assert expected == {
        label: sum(part.class_counts[number] for part in made.manifest.parts.values())
        for number, label in ((1, "walk"), (0, "run"))
    }


@pytest.mark.parametrize("form", ["{}.csv", "{}/all.csv"])
def test_one_long_recording_per_class_is_cut_into_windows_and_its_end_held_out(tmp_path: Path, form: str) -> None:
    made = begun(files(tmp_path / "all", {form.format(name): number for number, name in enumerate(CLASSES)}, 2000))
    data = config.load(tmp_path / "o.yaml").data
    assert (data.window, data.split, data.recordings) == (100, "time", "LABEL" if form == "{}.csv" else "")
    assert {name: part.class_counts for name, part in made.manifest.parts.items()} == {"train": (16, 16), "test": (4, 4)}
    test = made.part("test")
    walks = sorted(row for row, label in zip(test.index.tolist(), test.labels.tolist(), strict=True) if label == 1)
    found = test.values[[test.index.tolist().index(row) for row in walks], :, 0].reshape(-1)
    np.testing.assert_allclose(found, wave(0, 2000)[1600:], rtol=1e-5, atol=1e-5)


def test_files_without_ids_are_recordings_where_time_begins_anew_in_each(tmp_path: Path) -> None:
    names = {f"p{number}.csv": number for number in range(6)}
    made = begun(files(tmp_path / "all", names, 400, label=True))
    data = config.load(tmp_path / "o.yaml").data
    assert (data.recordings, data.window, data.split, data.label) == ("ANY", 100, "group", "activity")
    assert sum(part.count for part in made.manifest.parts.values()) == 24
    index = {name: {row // 4 for row in made.part(name).index.tolist()} for name in made.manifest.parts}
    assert not index["train"] & index["test"], "a recording stays on one side"


def test_init_keeps_series_apart_that_each_file_counts_anew(tmp_path: Path) -> None:
    (tmp_path / "days").mkdir()
    for day in range(3):
        rows = [f"{i},{t},{value},{'ab'[i % 2]}\n" for i in range(6) for t, value in enumerate(wave(i + day, 9))]
        (tmp_path / "days" / f"day{day}.csv").write_text("id,t,x,label\n" + "".join(rows))
    assert sum(part.count for part in begun(tmp_path / "days").manifest.parts.values()) == 18


def test_rows_of_series_in_part_files_stay_what_they_were(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for part in range(3):
        rows = [",".join(map(str, [*wave(part * 9 + i, 3), "ab"[i % 2]])) + "\n" for i in range(10)]
        (tmp_path / "parts" / f"part-{part}.csv").write_text("a,b,c,label\n" + "".join(rows))
    found = roles.find("csv", tmp_path / "parts").columns
    assert (found.layout, found.recordings, found.label) == ("wide", "", "label")


def test_a_channel_with_gaps_is_not_constant_because_of_them(tmp_path: Path) -> None:
    rows = [
        f"{i},{t},{'' if t % 10 else 60 + t},{'' if t % 10 else i},{value},{'ab'[i % 2]}\n"
        for i in range(20)
        for t, value in enumerate(wave(i, 40))
    ]
    (tmp_path / "a.csv").write_text("id,t,heart,age,x,label\n" + "".join(rows))
    data = config.Data(source="csv", path=str(tmp_path / "a.csv"), time="t", missing="mean", prepared=str(tmp_path / "p"))
    assert [line.partition(" is")[0] for line in prepare(data).manifest.doubts if "constant" in line] == ["channel 'age'"]


def test_arrays_of_other_names_are_found_by_their_shapes(tmp_path: Path) -> None:
    values = np.stack([np.stack([wave(i, 30), wave(i + 1, 30)], 1) for i in range(40)])
    who, classes = np.repeat(np.arange(20), 2), np.array(["b ä", "c"])[np.arange(40) % 2]
    made = begun(npz(tmp_path / "a.npz", signals=values, kinds=classes, subject=who))
    data = config.load(tmp_path / "o.yaml").data
    assert (data.values, data.label, data.group, data.split) == ("signals", "kinds", "subject", "group")
    part = made.part("train")
    np.testing.assert_array_equal(part.values.numpy(), values[part.index.numpy()].astype(np.float32))
    assert made.manifest.class_names == ("b ä", "c")


@pytest.mark.parametrize("kind", ["lists", "wide"])
def test_words_that_name_persons_of_several_classes_are_groups_of_rows_too(tmp_path: Path, kind: str) -> None:
    rows = [("ab"[i % 2], f"N{i // 4:03}x", wave(i, 12).tolist()) for i in range(40)]
    if kind == "lists":
        pl.DataFrame(rows, ["class", "pid", "x"], orient="row").write_parquet(tmp_path / "a.parquet")
    else:
        made = [f"{label},{pid},{','.join(map(str, values))}\n" for label, pid, values in rows]
        (tmp_path / "a.csv").write_text(f"class,pid,{','.join(f'x{t}' for t in range(12))}\n" + "".join(made))
    path = tmp_path / ("a.parquet" if kind == "lists" else "a.csv")
    found = roles.find("parquet" if kind == "lists" else "csv", path)
    assert (found.columns.group, found.columns.label) == ("pid", "class")
    assert "'pid' says whom or what each is of" in found.reasons


def test_a_file_beside_those_of_training_and_test_is_named(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        rows = [f"{i},{t},{value},{'ab'[i % 2]}\n" for i in range(12) for t, value in enumerate(wave(i, 9))]
        (tmp_path / "all").mkdir(exist_ok=True)
        (tmp_path / "all" / f"{part}.csv").write_text("id,t,x,label\n" + "".join(rows))
    init.init(tmp_path / "all", None, tmp_path / "o.yaml")
    assert "# LOOK AT THIS: val.csv: left out; put the series into" in (tmp_path / "o.yaml").read_text()


def test_cells_with_spaces_around_them_are_what_they_are_without(tmp_path: Path) -> None:
    rows = [f" {i} , {19 - t} , {value} , {'ab'[i % 2]} \n" for i in range(20) for t, value in enumerate(wave(i, 20))]
    (tmp_path / "a.csv").write_text(" id , t , x , label \n" + "".join(rows))
    found = roles.find("csv", tmp_path / "a.csv").columns
    assert (found.id, found.time, found.label) == ("id", "t", "label")
    got = only("csv", tmp_path / "a.csv", **found.model_dump())
    np.testing.assert_allclose(got.one(3)[:, 0], wave(3, 20)[::-1], rtol=1e-6)
    (tmp_path / "b.csv").write_text("id;t;x;label\n" + "".join(rows).replace(",", ";").replace(".", ","))
    found = roles.find("csv", tmp_path / "b.csv").columns
    assert (found.time, found.decimal) == ("t", ",") and found.channels in ((), ("x",))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_recording_without_rows_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    for i in range(8):
        frame = pl.DataFrame({"x": wave(i, 0 if i == 5 else 20)})
        path = tmp_path / "all" / "ab"[i % 2] / f"{i}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        _ = frame.write_csv(path) if kind == "csv" else frame.write_parquet(path)
    with pytest.raises(DataError, match=rf"b/5\.{kind}: has no rows; a recording has at least one: move it away"):
        read(kind, tmp_path / "all")


def test_times_that_numbers_cannot_tell_apart_are_said_to_be_rounded(tmp_path: Path) -> None:
    rows = [
        f"{i},{1_700_000_000_000_000_000 + t * 100},{value},{'ab'[i % 2]}\n"
        for i in range(9)
        for t, value in enumerate(wave(i, 9))
    ]
    (tmp_path / "a.csv").write_text("id,time,x,label\n" + "".join(rows))
    with pytest.raises(
        DataError, match=r"this time already on line 2; .*numbers of this size are rounded: if these differ, sub"
    ):
        read("csv", tmp_path / "a.csv")


STAND_INS = {
    "a.csv": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n", "is a pointer of Git LFS.*git lfs pull"),
    "a.parquet": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n", "is a pointer of Git LFS"),
    "a.ts": (b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "is a web page, .*; download it again"),
    "b.csv": (b"\xef\xbb\xbf<html>\n<body>Sign in</body></html>", "is a web page"),
    "a.npz": (b"<!doctype html><html></html>", "is a web page"),
}


@pytest.mark.parametrize("name", STAND_INS)
def test_what_came_in_the_place_of_data_is_named(tmp_path: Path, name: str) -> None:
    content, said = STAND_INS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read(Path(name).suffix[1:], tmp_path / name)
    with pytest.raises(DataError, match=said):
        init.init(tmp_path / name, None, tmp_path / "o.yaml")


@pytest.mark.parametrize(("ends", "padded"), [(True, True), (False, False)])
def test_zeros_that_fill_up_series_are_a_warning(tmp_path: Path, ends: bool, padded: bool) -> None:
    values = np.stack([np.stack([wave(i, 20) + 9, wave(i + 1, 20) + 9], 1) for i in range(40)])
    for i in range(40):
        values[i, 19 - i % 5 :, : 2 if ends else 1] = 0  # or one channel alone
    doubts = begun(npz(tmp_path / "a.npz", X=values, y=np.arange(40) % 2)).manifest.doubts
    said = "40 of 40 series end in steps of 0 alone, 1 to 5 of them, as padding does: if they are no measurements, leave them"
    assert [line.startswith(said) for line in doubts] == [True] * padded


def test_zeros_are_looked_for_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(10_000, 2, 50))
    path = npz(tmp_path / "a.npz", values=values, labels=["u", "v"] * 5000)
    series = only("npz", path)
    monkeypatch.setattr(doubting, "BLOCK", 1000)
    tracemalloc.start()
    assert not list(doubting.of(series, ("u", "v"))) and tracemalloc.get_traced_memory()[1] < values.nbytes / 3
    tracemalloc.stop()


def test_rows_of_pixels_may_end_in_black(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (60, 64))
    for i in range(60):
        pixels[i, 64 - 8 * (i % 5 + 1) :] = 0
    rows = [",".join(map(str, [i % 3, *image])) + "\n" for i, image in enumerate(pixels)]
    (tmp_path / "a.csv").write_text("label," + ",".join(f"pixel{k}" for k in range(64)) + "\n" + "".join(rows))
    made = begun(tmp_path / "a.csv")
    assert config.load(tmp_path / "o.yaml").data.steps == 8 and not made.manifest.doubts


@pytest.mark.parametrize("separator", [",", ";"])
def test_two_columns_that_tell_series_apart_become_one_id_by_what_the_message_says(tmp_path: Path, separator: str) -> None:
    rows = [
        separator.join(map(str, (f"P{i // 3:02}", i % 3 + 1, t, value, ("AF", "SR")[i // 3 % 2])))
        for i in range(36)
        for t, value in enumerate(wave(i, 12))
    ]
    path = tmp_path / "a.csv"
    path.write_text("\n".join([separator.join(("Patient ID", "Visit", "Time [s]", "HR", "Dx")), *rows]) + "\n")
    with pytest.raises(
        DataError, match=r"rows of one 'Patient ID' have the same 'Time \[s\]' several times, and 'Visit'"
    ) as caught:
        init.init(path, None, tmp_path / "o.yaml")
    typed(caught)
    made = begun(tmp_path / "a_ids.csv")
    data = config.load(tmp_path / "o.yaml").data
    assert (data.id, data.group, data.split) == ("id", "Patient ID", "group")
    assert sum(part.count for part in made.manifest.parts.values()) == 36
