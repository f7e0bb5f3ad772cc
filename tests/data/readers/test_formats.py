"""What readers.py promises: the same series are the same whatever file they are in, and what each format may hold."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.config import SERIES
from pipeline.data.readers import formats
from pipeline.data.readers import ts as ts_reader
from pipeline.data.readers.arrays import npz
from pipeline.data.readers.tables import csv_lines, parquet_table, row_order
from pipeline.data.series import Columns, Series
from pipeline.errors import DataError
from tests.support.series_files import WORDS, WRITERS, csv, examples, long_frame, only, read, ts, wide_frame


def expected(series: list[np.ndarray], labels: tuple[str, ...] | None = WORDS) -> Series:
    values = np.concatenate(series)
    offsets = np.cumsum([0, *map(len, series)])
    rows = np.arange(len(series))
    return Series(Path("any"), np.where(np.isnan(values), np.nan, values), offsets, (), (), labels, None, None, "line", rows)


def same(left: Series, right: Series) -> None:
    assert left.values.shape == right.values.shape
    assert left.values.tobytes() == right.values.tobytes(), "bit for bit, missing values too"
    np.testing.assert_array_equal(left.offsets, right.offsets)
    assert left.labels == right.labels


def joined(blocks: list[Series]) -> Series:
    """Several blocks as one."""
    ends = np.cumsum([0, *(len(block.values) for block in blocks)])
    offsets = [0, *np.concatenate([block.offsets[1:] + end for block, end in zip(blocks, ends, strict=False)])]
    first = blocks[0]
    assert {block.channels for block in blocks} == {first.channels}
    return replace(
        first,
        values=np.concatenate([block.values for block in blocks]),
        offsets=np.array(offsets),
        ids=tuple(word for block in blocks for word in block.ids),
        labels=None if first.labels is None else tuple(word for block in blocks for word in block.labels or ()),
        rows=np.concatenate([block.rows for block in blocks]),
    )


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("lengths", [(4, 4, 4, 4), (5, 3, 4, 1)])
def test_the_same_series_are_equal_bit_for_bit_in_every_format(tmp_path, form, channels, lengths):
    channels = 1 if form == "arff" else channels
    source, layout, write = WRITERS[form]
    series = examples(channels, lengths)
    got = only(source, write(tmp_path / "data", series), layout=layout)
    same(got, expected(series))
    assert got.values.dtype == np.float64 and got.offsets.dtype == np.int64
    assert len(got.channels) == channels and len(set(got.ids)) == 4 == len(got.rows)


@pytest.mark.parametrize("form", WRITERS)
def test_blocks_of_a_file_are_together_what_the_file_is_as_a_whole(tmp_path, monkeypatch, form):
    for module, name, size in (
        *((csv_lines, "BLOCK", 70), (parquet_table, "BLOCK", 8 * 3 * 4), (npz, "BLOCK", 64), (ts_reader, "BLOCK", 6)),
        (row_order, "IN_MEMORY", 0),
    ):
        monkeypatch.setattr(module, name, size)
    source, layout, write = WRITERS[form]
    series = examples(1, [4, 6, 2, 1, 5, 3, 3, 2] * 4)
    words = tuple(WORDS * 8)
    got = read(source, write(tmp_path / "data", series, words), layout=layout)
    assert len(got) > 3
    same(joined(got), expected(series, words))
    assert len(set(joined(got).ids)) == len(series)
    assert (np.diff(joined(got).rows) > 0).all()


@pytest.mark.parametrize("form", [form for form in WRITERS if "npz" not in form])
def test_files_without_labels_are_read_where_no_labels_are_asked_for(tmp_path, form):
    source, layout, write = WRITERS[form]
    series = examples(1)
    labelled = write(tmp_path / "labelled", series)
    assert only(source, labelled, layout=layout, labelled=False).labels == WORDS, "those that are there are read"
    bare = write(tmp_path / "bare", series, None)
    got = only(source, bare, layout=layout, labelled=False)
    same(got, expected(series, None))


def test_an_archive_without_labels_is_read_where_none_are_asked_for(tmp_path):
    series = np.arange(6.0).reshape(2, 3)
    np.savez(tmp_path / "a.npz", values=series)
    got = only("npz", tmp_path / "a.npz", labelled=False)
    assert got.labels is None
    np.testing.assert_array_equal(got.values[:, 0], np.arange(6))


def test_labels_are_the_same_words_whether_they_are_stored_as_text_or_numbers(tmp_path):
    def labels(source: str, column: object) -> tuple[str, ...] | None:
        path = tmp_path / "data"
        if source == "npz":
            with path.open("wb") as file:
                np.savez(file, values=np.ones((3, 2)), labels=np.array(column))
        else:
            frame = pl.DataFrame({"a_0": [1.0] * 3, "a_1": [2.0] * 3, "label": column})
            frame.write_parquet(path) if source == "parquet" else frame.write_csv(path)
        return only(source, path, layout="wide").labels

    for source in ("npz", "parquet"):
        assert (
            labels(source, [3, 10, 3])
            == labels(source, [3.0, 10.0, 3.0])
            == labels(source, [" 3", "10 ", "3"])
            == ("3", "10", "3")
        )
        assert labels(source, [True, False, True]) == ("true", "false", "true")
        assert labels(source, [0.5, 1e300, -0.0])[0] == "0.5"
    assert labels("csv", [3, 10, 3]) == ("3", "10", "3")
    assert labels("csv", ["NA", "?", "NaN"]) == ("NA", "?", "NaN"), "a class may be called so"


def test_rows_of_a_long_table_are_put_in_the_order_of_time_and_may_be_mixed(tmp_path):
    frame = long_frame(examples(2))
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=1)
    got = only("csv", csv(tmp_path / "data", mixed))
    want = only("csv", csv(tmp_path / "want", frame))
    assert got.ids == tuple(mixed["id"].unique(maintain_order=True))
    for n, name in enumerate(got.ids):
        k = want.ids.index(name)
        series, other = (s.values[s.offsets[i] : s.offsets[i + 1]] for s, i in ((got, n), (want, k)))
        assert series.tobytes() == other.tobytes()
        assert got.labels[n] == want.labels[k]


def test_without_a_time_rows_stay_in_the_order_of_the_file(tmp_path):
    (tmp_path / "a.csv").write_text("id,x,label\nb,3,u\nb,1,u\na,2,v\n")
    got = only("csv", tmp_path / "a.csv", time="")
    assert got.values.ravel().tolist() == [3, 1, 2]
    assert got.times is None and got.ids == ("b", "a") and got.channels == ("x",)
    assert [got.place(n) for n in range(2)] == [f"{tmp_path}/a.csv: line 2", f"{tmp_path}/a.csv: line 4"]


@pytest.mark.parametrize(
    ("cells", "want"),
    [
        (["2.5", "-1"], [-1.0]),
        (["2024-03-02", "2024-03-01"], ["2024-03-01"]),
        (["2024-03-01 10:00:01.5", "2024-03-01 10:00:00.25"], ["2024-03-01T10:00:00.250"]),
        (["2024-03-01T10:01Z", "2024-03-01T10:00:00Z"], ["2024-03-01T10:00"]),
    ],
)
def test_the_time_of_a_series_is_that_of_its_first_step(tmp_path, cells, want):
    (tmp_path / "a.csv").write_text(f"id,when,x,label\nb,{cells[0]},3,u\nb,{cells[1]},1,u\n")
    got = only("csv", tmp_path / "a.csv", time="when")
    assert got.values.ravel().tolist() == [1, 3]
    assert got.times.tolist() == (want if isinstance(want[0], float) else np.array(want, "M8[us]").tolist())


def test_parquet_times_are_numbers_or_dates(tmp_path):
    times = [datetime(2024, 1, 2), datetime(2024, 1, 1)]
    frame = pl.DataFrame({"id": [7, 7], "time": times, "x": [1, 2], "label": ["u", "u"]})
    for column in (
        pl.col("time"),
        pl.col("time").dt.replace_time_zone("UTC"),
        pl.col("time").dt.date(),
        pl.col("time").dt.epoch(),
    ):
        frame.with_columns(column).write_parquet(tmp_path / "a")
        got = only("parquet", tmp_path / "a")
        assert got.values.ravel().tolist() == [2, 1] and got.ids == ("7",)
        assert got.times[0] in (np.datetime64("2024-01-01"), 1704067200000000.0)


def test_each_format_has_a_reader_and_says_what_can_be_named_in_it():
    assert formats.FORMATS.keys() == SERIES.keys()


def test_groups_come_along(tmp_path):
    (tmp_path / "a.csv").write_text("id,time,x,patient,label\na,0,1,p 1,u\na,1,2, p 1,u\nb,0,3,p2,v\n")
    got = only("csv", tmp_path / "a.csv", group="patient")
    assert got.groups == ("p 1", "p2") and got.channels == ("x",)
    np.savez(
        tmp_path / "a.npz", values=np.ones((2, 3)), y=[1, 2], who=["a", "b"], times=[5, 6], names=["s", "t"], channels=["x"]
    )
    got = only("npz", tmp_path / "a.npz", group="who", label="y", id="names")
    assert (got.groups, got.labels, got.ids, got.times.tolist()) == (("a", "b"), ("1", "2"), ("s", "t"), [5.0, 6.0])
    assert got.channels == ("x",)


def test_missing_values_in_csv_are_empty_nan_na_and_question_marks(tmp_path):
    (tmp_path / "a.csv").write_text(
        "id,time,x,label\n" + "".join(f"a,{t},{cell},u\n" for t, cell in enumerate(["", "NaN", "NA", " ? ", " 1.5", "nan"]))
    )
    values = only("csv", tmp_path / "a.csv").values.ravel()
    assert np.isnan(values[[0, 1, 2, 3, 5]]).all() and values[4] == 1.5


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_separators_line_ends_quotes_and_byte_order_marks(tmp_path, separator, end):
    rows = [
        ["id", "time", "a x", "label"],
        ["s1", "0", "1", f'"é{separator} ""q"""'],
        [],
        ["s1", "1", '"2"', f'"é{separator} ""q"""'],
        [],
    ]
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + end.join(separator.join(row) for row in rows).encode())
    got = only("csv", tmp_path / "a.csv")
    assert got.values.ravel().tolist() == [1, 2] and got.channels == ("a x",)
    assert got.labels == (f'é{separator} "q"',) and got.ids == ("s1",)


def test_the_channels_of_a_table_are_those_named_or_all_with_no_other_role(tmp_path):
    frame = long_frame(examples(3)).with_columns(note=pl.lit("text"))
    path = csv(tmp_path / "a.csv", frame)
    got = only("csv", path, channels=("sensor c", "sensor a"))
    same(got, expected([one[:, [2, 0]] for one in examples(3)]))
    assert got.channels == ("sensor c", "sensor a")
    wide = csv(tmp_path / "b.csv", wide_frame(examples(3)).with_columns(note=pl.lit("text")))
    got = only("csv", wide, layout="wide", channels=("sensor c", "sensor a"))
    same(got, expected([one[:, [2, 0]] for one in examples(3)]))
    assert got.channels == ("sensor c", "sensor a")
    path = ts(tmp_path / "a.ts", examples(3))
    same(only("ts", path, channels=("channel_2", "channel_0")), expected([one[:, [2, 0]] for one in examples(3)]))


def test_wide_steps_are_ordered_by_number_and_columns_of_other_names_by_place(tmp_path):
    (tmp_path / "a.csv").write_text("b_2,a_1,a_2,b_1,label\n4,1,3,2,u\n")
    got = only("csv", tmp_path / "a.csv", layout="wide")
    assert got.channels == ("b", "a") and got.values.tolist() == [[2, 1], [4, 3]] and got.ids == ("0",)
    (tmp_path / "a.csv").write_text("10,9,label,8\n1,2,u,3\n")
    got = only("csv", tmp_path / "a.csv", layout="wide")
    assert got.channels == ("channel_0",) and got.values.ravel().tolist() == [1, 2, 3]
    assert only("csv", tmp_path / "a.csv", layout="wide", channels=("8", "10")).values.ravel().tolist() == [3, 1]


def test_only_an_empty_cell_ends_a_wide_series(tmp_path):
    (tmp_path / "a.csv").write_text("id,s0,s1,s2,label\na,1,,NA,u\nb,,2,,v\nc,1,2,3,v\n")
    got = only("csv", tmp_path / "a.csv", layout="wide")
    assert got.lengths.tolist() == [3, 2, 3]
    assert np.isnan(got.values[[1, 2, 3], 0]).all()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">i2", "u1", "i8", "?", "longdouble"])
def test_archives_hold_numbers_of_any_real_type_and_order(tmp_path, dtype):
    values = (np.arange(24).reshape(4, 3, 2) % 7).astype(dtype)
    for save in (np.savez, np.savez_compressed):
        for stored in (values, np.asfortranarray(values)):
            save(tmp_path / "a.npz", values=stored, labels=list(WORDS))
            got = only("npz", tmp_path / "a.npz")
            np.testing.assert_array_equal(got.values, values.reshape(12, 2).astype(np.float32))


def test_a_large_archive_is_read_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "BLOCK", 2**17)
    values = np.zeros((2000, 100, 4))  # 6.4 MB
    np.savez_compressed(tmp_path / "a.npz", values=values, labels=np.arange(2000) % 3)
    np.savez_compressed(tmp_path / "small.npz", values=values[:9], labels=np.arange(9) % 3)
    count, columns = 0, Columns()
    list(formats.read("npz", tmp_path / "small.npz", columns))  # what is imported for it is there then
    tracemalloc.start()
    for block in formats.read("npz", tmp_path / "a.npz", columns):
        count += len(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2000
    assert peak < 2**20


def test_the_words_of_an_archive_are_made_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "BLOCK", 2**20)
    count = 200_000
    ids = np.char.add("series ", np.arange(count).astype("U6"))
    stored = {"values": np.zeros((count, 1, 1), np.float32), "ids": ids, "labels": np.arange(count) % 3}
    np.savez(tmp_path / "a.npz", **stored)
    tracemalloc.start()
    series = sum(len(block) for block in formats.read("npz", tmp_path / "a.npz", Columns()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert series == count
    arrays = sum(array.nbytes for array in stored.values())
    assert peak < arrays + 16 * 2**20, f"{peak >> 20} MB, of which the arrays are {arrays >> 20}"


@pytest.mark.parametrize("size", [2**20, 300])
def test_an_id_that_comes_again_is_named_in_whatever_block_it_stands(tmp_path, monkeypatch, size):
    monkeypatch.setattr(npz, "BLOCK", size)
    np.savez(tmp_path / "a.npz", values=np.ones((9, 2)), labels=np.arange(9) % 2, ids=[*"abcdefg", "c", "i"])
    with pytest.raises(DataError, match=r"array 'ids': series 7 \(from 0\): the id 'c' was there before"):
        read("npz", tmp_path / "a.npz")


def test_archives_may_be_padded_or_end_to_end(tmp_path):
    series = examples(2)
    padded = np.full((4, 5, 2), 9.0)
    for n, one in enumerate(series):
        padded[n, : len(one)] = one
    lengths = [len(one) for one in series]
    for arrays in (
        {"values": padded, "lengths": lengths},
        {"values": np.concatenate(series), "offsets": np.cumsum([0, *lengths])},
        {"values": np.concatenate(series), "lengths": lengths},
    ):
        np.savez(tmp_path / "a.npz", **arrays, labels=np.array(WORDS, "S"))
        same(only("npz", tmp_path / "a.npz"), expected(series))
    np.savez(tmp_path / "a.npz", values=np.concatenate(series)[:, 0], lengths=lengths, labels=list(WORDS))
    same(only("npz", tmp_path / "a.npz"), expected([one[:, :1] for one in series]))


def test_a_whole_ts_header_is_understood_and_kept_to(tmp_path):
    header = "\n# made by hand\n@problemName Test x\n@timeStamps false\n@missing true\n@univariate false\n@dimensions 2\n\n"
    header += "@equalLength true\n@seriesLength 4\n@targetlabel false\n@classLabel true no yes perhaps"
    series = examples(2, (4, 4, 4, 4))
    got = only("ts", ts(tmp_path / "a.ts", series, header=header))
    same(got, expected(series))
    assert got.place(0) == f"{tmp_path}/a.ts: line 14"


def test_integers_are_read_as_float64_rounds_them_and_not_as_float32_would(tmp_path):
    numbers = [2**24 + 1, 2**61 + 2**37 + 1, -(2**53) - 1]
    text = "".join(f"a,{t},{number},u\n" for t, number in enumerate(numbers))
    (tmp_path / "a.csv").write_text("id,time,x,label\n" + text)
    pl.DataFrame({"id": "a", "time": range(3), "x": numbers, "label": "u"}).write_parquet(tmp_path / "a.parquet")
    np.savez(tmp_path / "a.npz", a=np.array(numbers), labels=["u"])
    for source in ("csv", "parquet", "npz"):
        assert only(source, tmp_path / f"a.{source}").values.ravel().tolist() == [float(number) for number in numbers]


@pytest.mark.parametrize("kind", ["?", "i1", "u1", "i2", "u2", "f2", "f4", "i4", "u4", "i8", "f8", "longdouble"])
def test_an_archive_is_read_as_float32_where_that_holds_its_numbers_exactly(tmp_path, kind):
    array = np.arange(6).reshape(2, 3).astype(kind)
    np.savez(tmp_path / "a.npz", values=array, labels=[1, 2])
    np.savez(tmp_path / "b.npz", s0=array[0], s1=array[1].astype("i1"), labels=[1, 2])
    exact = kind in ("?", "i1", "u1", "i2", "u2", "f2", "f4")
    for name in ("a", "b"):
        assert only("npz", tmp_path / f"{name}.npz").values.dtype == (np.float32 if exact else np.float64)


def test_parquet_of_float32_is_read_as_such(tmp_path):
    frame = pl.DataFrame({"id": ["a", "a"], "time": [0, 1], "x": [1.5, None], "label": ["u", "u"]})
    frame.with_columns(pl.col("x").cast(pl.Float32)).write_parquet(tmp_path / "a.parquet")
    got = only("parquet", tmp_path / "a.parquet").values
    assert got.dtype == np.float32 and got[0, 0] == 1.5 and np.isnan(got[1, 0])
