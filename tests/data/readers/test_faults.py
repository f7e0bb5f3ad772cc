"""What readers.py promises of bad files: one DataError that names the file, the place in it, and what is wrong there."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest

from pipeline.data.readers import limits
from pipeline.data.readers.held import held
from pipeline.data.readers.tables import csv_lines, row_order
from pipeline.errors import DataError
from tests.support.series_files import csv, examples, long_frame, npz, only, packed, parquet, read, ts


def refused(source: str, path: Path, *said: str, **columns: object) -> str:
    """The message about a bad file: one that names it and says all of ``said``."""
    with pytest.raises(DataError) as caught:
        read(source, path, **columns)
    message = str(caught.value)
    assert message.startswith(str(path))
    for words in said:
        assert words in message, message
    assert len(message.splitlines()) == 1
    return message


HEAD = "id,time,x,y,label\n"
GOOD = HEAD + "a,0,1,2,u\na,1,3,4,u\nb,0,5,6,v\n"
LONG = {
    "text in a channel": (GOOD + "b,1,oops,8,v\n", "line 5, column 'x'", "'oops' is not a number"),
    "a decimal comma": (GOOD.replace(",", ";") + 'b;1;"1,5";8;v\n', "line 5, column 'x'", "decimal point"),
    "an underscore in a number": (GOOD + "b,1,1_0,8,v\n", "line 5, column 'x'", "'1_0' is not a number"),
    "infinity": (GOOD + "b,1,7,-inf,v\n", "line 5, column 'y'", "infinite"),
    "a number beyond float32": (GOOD + "b,1,7,1e39,v\n", "line 5, column 'y'", "3.4e38"),
    "an empty label": (GOOD + "b,1,7,8, \n", "line 5, column 'label'", "is empty"),
    "an empty id": (GOOD + ",1,7,8,v\n", "line 5, column 'id'", "is empty"),
    "an empty time": (GOOD + "b,,7,8,v\n", "line 5, column 'time'", "is empty"),
    "text for a time": (GOOD + "b,soon,7,8,v\n", "line 5, column 'time'", "'soon' is no time"),
    "a time that is not finite": (GOOD + "b,NaN,7,8,v\n", "line 5, column 'time'", "'NaN' is no time"),
    "an unknown form of date": (HEAD + "a,1/4/2024,7,8,v\n", "line 2, column 'time'", "YYYY-MM-DD"),
    "the same id and time twice": (GOOD + "b,1,7,8,v\na,1,9,9,u\n", "line 6, column 'time'", "'a'", "on line 3"),
    "a label that changes": (GOOD + "a,2,7,8,v\n", "line 5, column 'label'", "'v'", "series 'a' has the label 'u'"),
    "a missing column": (GOOD.replace("label", "labels"), "no column 'label'", "did you mean 'labels'?", "data.label=NAME"),
    "two columns of one name": (GOOD.replace("y", "x", 1), "line 1", "'x' of column 4 was there before"),
    "a column without a name": (GOOD.replace("y", " ", 1), "line 1", "column 4 has no name"),
    "no channels": ("id,time,label\na,0,u\n", "no column is left for channels"),
    "a header only": (HEAD, "no rows"),
    "a header and blank lines": (HEAD + "\n\n", "no rows"),
    "too many cells": (GOOD + "b,1,7,8,v,9\n", "line 5", "6 cells", "5 columns"),
    "too few cells": (GOOD + "\nb,1,7,8\n", "line 6", "4 cells", "5 columns"),
    "a quote that is not closed": (GOOD + 'b,1,7,8,"v\n', "line 5", "quote is not closed"),
    "a quote inside a cell": (GOOD + 'b,1,7,8,v"w"\n', "line 5", "a quote inside a cell"),
    "bytes that are not UTF-8": (GOOD.encode() + "b,1,7,8,é\n".encode("latin-1"), "line 5", "0xe9 is not UTF-8"),
    "another encoding": (GOOD.encode("utf-16"), "line 1", "is not UTF-8"),
    "a blank first line": ("\n" + GOOD, "line 1", "is empty"),
    "carriage returns alone": (GOOD.replace("\n", "\r"), "line 1", "line feed"),
    "no separator": (GOOD.replace(",", ":"), "no column 'id'", "id:time:x:y:label"),
}


@pytest.mark.parametrize("case", LONG)
def test_a_bad_long_csv_is_refused_with_its_line(tmp_path, case):
    text, *said = LONG[case]
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    refused("csv", path, *said)


WIDE = {
    "a series without a step": ("id,x_0,x_1,label\na,1,2,u\nb,,,v\n", "line 3", "all steps of this series are empty"),
    "an id twice": ("id,x_0,x_1,label\na,1,2,u\nb,1,2,u\na,1,2,u\n", "line 4, column 'id'", "'a' was there before"),
    "a step that is missing": ("x_0,x_1,y_0,label\n1,2,3,u\n", "no column 'y_1'", "steps 0 to 1"),
    "steps that begin late": ("x_2,x_3,label\n1,2,u\n", "no column 'x_0'"),
    "a step twice": ("x_0,x_1,x_01,label\n1,2,3,u\n", "column 'x_01'", "step 1 of 'x' stands there twice"),
    "a column that is no step": ("x_0,x_1,age,label\n1,2,3,u\n", "column 'age'", "data.channels"),
    "text in a step": ("x_0,x_1,label\n1,2,u\n1,two,u\n", "line 3, column 'x_1'", "'two'"),
    "a label missing": ("x_0,x_1,label\n1,2,\n", "line 2, column 'label'"),
    "an infinite step": ("x_0,x_1,label\n1,2,u\n1,inf,u\n", "line 3, column 'x_1'", "infinite"),
}


@pytest.mark.parametrize("case", WIDE)
def test_a_bad_wide_csv_is_refused_with_its_line(tmp_path, case):
    text, *said = WIDE[case]
    path = tmp_path / "a.csv"
    path.write_text(text)
    refused("csv", path, *said, layout="wide")


def test_names_in_the_configuration_that_a_table_lacks_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(GOOD)
    refused("csv", path, "no channel 'z'", "data.channels", channels=("x", "z"))
    refused("csv", path, "no column 'patient'", "data.group", group="patient")
    refused("csv", path, "data.id names no column", id="")
    refused("csv", path, "data.label names no column", label="")
    refused("csv", path, "no column 'name'", layout="wide", id="name")


def test_what_is_wrong_with_a_series_is_said_wherever_its_rows_stand(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    for size in (row_order.IN_MEMORY, 10):
        monkeypatch.setattr(row_order, "IN_MEMORY", size)
        path.write_text(GOOD + "c,0,1,1,u\na,1,7,8,u\nd,0,1,1,u\n")
        refused("csv", path, "line 6, column 'time'", "series 'a' has this time already on line 3")
        path.write_text(GOOD + "c,0,1,1,u\na,2,7,8,v\nd,0,1,1,u\n")
        refused("csv", path, "line 6, column 'label'", "'v', but series 'a' has the label 'u'")
        path.write_text(GOOD + "c,0,1,1,u\na,2,7,inf,u\nd,0,1,1,u\n")
        refused("csv", path, "line 6, column 'y'", "is infinite")
        path.write_text(GOOD + "c,0,1,1,u\na,,7,8,u\nd,0,1,1,u\n")
        refused("csv", path, "line 6, column 'time'", "is empty")


def test_lines_are_counted_over_blocks(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text(HEAD + "\n".join(f"a,{t},1,2,u" for t in range(50)) + "\n\na,50,1,x,u\n")
    for size in (7, 64, 1000):
        monkeypatch.setattr(csv_lines, "BLOCK", size)
        refused("csv", path, "line 53, column 'y'")


def test_a_line_without_an_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LINE", 100)
    monkeypatch.setattr(csv_lines, "BLOCK", 10)
    (tmp_path / "a.csv").write_text(GOOD + "b" * 200)
    refused("csv", tmp_path / "a.csv", "line 5", "is longer than")


def frame(**columns: object) -> pl.DataFrame:
    return pl.DataFrame({"id": ["a", "a"], "time": [0, 1], "x": [1.0, 2.0], "label": ["u", "u"]} | columns)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"x": ["1", "2"]}, ("column 'x'", "String, not numbers")),
        ({"x": [["1"], ["2"]]}, ("column 'x'", "List")),
        ({"x": [1.0, float("inf")]}, ("row 1 (from 0), column 'x'", "infinite")),
        ({"label": ["u", None]}, ("row 1 (from 0), column 'label'", "is empty")),
        ({"label": [float("nan"), 1.0]}, ("row 0 (from 0), column 'label'", "is empty")),
        ({"label": [b"u", b"u"]}, ("column 'label'", "Binary")),
        ({"label": ["u", "v"]}, ("row 1 (from 0), column 'label'", "'v'")),
        ({"time": [1, 1]}, ("row 1 (from 0), column 'time'", "row 0")),
        ({"time": [1.0, None]}, ("row 1 (from 0), column 'time'", "is empty")),
    ],
)
def test_a_bad_parquet_is_refused_with_its_row(tmp_path, columns, said):
    refused("parquet", parquet(tmp_path / "a.parquet", frame(**columns)), *said)


def test_a_parquet_without_rows_or_cut_short_or_of_another_kind_is_refused(tmp_path):
    path = parquet(tmp_path / "a.parquet", frame())
    whole = path.read_bytes()
    for part in (whole[:-1], whole[:-20], whole[: len(whole) // 2], whole[len(whole) // 3 :], b"PAR1", b"id,time\n1,2\n"):
        path.write_bytes(part)
        refused("parquet", path, "not a whole Parquet file")
    refused("parquet", parquet(path, frame().clear()), "no rows")


def test_a_damaged_parquet_ends_in_a_message_or_in_the_numbers_it_holds(tmp_path):
    whole = parquet(tmp_path / "whole.parquet", long_frame(examples(2))).read_bytes()
    path, random = tmp_path / "a.parquet", np.random.default_rng(0)
    refusals = 0
    for place, bit in zip(random.integers(0, len(whole), 60), random.integers(0, 8, 60), strict=True):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            read("parquet", path)
        except DataError:
            refusals += 1
    assert refusals > 10


CORPUS = Path(__file__).parents[2] / "fuzz/corpus"


@pytest.mark.parametrize(
    ("name", "layout"), [("validity-that-ends-too-early", "long"), ("two-columns-that-end-too-early", "wide")]
)
def test_a_fault_of_the_decoder_of_parquet_says_nothing_on_the_screen_but_our_message(name, layout, capfd):
    refused("parquet", CORPUS / f"parquet-{name}.parquet", "not a whole Parquet file (", layout=layout)
    assert capfd.readouterr() == ("", "")


def test_what_others_write_while_a_file_is_read_comes_to_the_screen(capfd):
    with pytest.raises(KeyError), held(pl.exceptions.PanicException):
        os.write(2, b"first\n")
        with ThreadPoolExecutor(2) as threads:  # which come and go while the first one reads
            list(threads.map(lambda _: hold(), range(20)))
        raise KeyError
    os.write(2, b"last\n")
    assert capfd.readouterr().err == "first\n" + "inner\n" * 20 + "last\n"
    with pytest.raises(pl.exceptions.PanicException), held(pl.exceptions.PanicException):
        os.write(2, b"thread panicked\n")
        raise pl.exceptions.PanicException
    assert capfd.readouterr().err == ""


def hold() -> None:
    with held(pl.exceptions.PanicException):
        os.write(2, b"inner\n")


VALUES = np.arange(12.0).reshape(3, 4)
PACKED = np.arange(9.0).reshape(9, 1)
ARCHIVES: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "no labels": ({"values": VALUES}, ("no array 'label'", "data.label")),
    "labels of another number": ({"values": VALUES, "labels": [1, 2]}, ("array 'labels'", "shape (2,)", "3 series")),
    "labels as shares of classes": ({"values": VALUES, "labels": np.full((3, 3), 1 / 3)}, ("array 'labels'", "shape (3, 3)")),
    "an empty label": ({"values": VALUES, "labels": ["u", "", "v"]}, ("array 'labels'", "series 1 (from 0) has no label")),
    "a label that is NaN": (
        {"values": VALUES, "labels": [1.0, 2.0, np.nan]},
        ("array 'labels'", "series 2 (from 0) has no label"),
    ),
    "complex labels": ({"values": VALUES, "labels": [1j, 2, 3]}, ("array 'labels'", "complex")),
    "labels that are not UTF-8": ({"values": VALUES, "labels": np.array([b"\xe9"] * 3)}, ("array 'labels'", "utf-8")),
    "an id twice": (
        {"values": VALUES, "labels": [1, 2, 3], "ids": ["a", "b", "a"]},
        ("array 'ids'", "series 2 (from 0)", "'a'"),
    ),
    "times that are text": ({"values": VALUES, "labels": [1, 2, 3], "times": ["a", "b", "c"]}, ("array 'times'",)),
    "a time missing": (
        {"values": VALUES, "labels": [1, 2, 3], "times": [1, np.nan, 2]},
        ("array 'times'", "series 1 (from 0)"),
    ),
    "names of other channels": (
        {"values": VALUES, "labels": [1, 2, 3], "channels": ["a", "b"]},
        ("array 'channels'", "1 channels"),
    ),
    "complex values": ({"values": VALUES * 1j, "labels": [1, 2, 3]}, ("array 'values'", "no real numbers")),
    "text for values": ({"values": VALUES.astype(str), "labels": [1, 2, 3]}, ("array 'values'", "no real numbers")),
    "an infinite value": (
        {"values": np.where(VALUES == 6, np.inf, VALUES), "labels": [1, 2, 3]},
        ("series 1 (from 0), step 2 (from 0)", "infinite"),
    ),
    "four dimensions": ({"values": VALUES.reshape(3, 2, 2, 1), "labels": [1, 2, 3]}, ("array 'values'", "(3, 2, 2, 1)")),
    "no series": ({"values": VALUES[:0], "labels": []}, ("array 'values'", "(0, 4)")),
    "no steps": ({"values": VALUES[:, :0], "labels": [1, 2, 3]}, ("array 'values'", "(3, 0)")),
    "offsets that descend": (
        {"values": PACKED, "offsets": [0, 5, 3, 9], "labels": [1, 2, 3]},
        ("array 'offsets'", "series 1 (from 0)"),
    ),
    "a series without a step": (
        {"values": PACKED, "offsets": [0, 5, 5, 9], "labels": [1, 2, 3]},
        ("series 1 (from 0) has 0 steps",),
    ),
    "offsets that stop early": ({"values": PACKED, "offsets": [0, 5, 8], "labels": [1, 2]}, ("array 'offsets'", "from 0 to 9")),
    "offsets that are no integers": (
        {"values": PACKED, "offsets": [0, 0.5, 9], "labels": [1, 2]},
        ("array 'offsets'", "whole numbers"),
    ),
    "lengths that do not add up": (
        {"values": PACKED, "lengths": [4, 4], "labels": [1, 2]},
        ("array 'lengths'", "8 steps", "9"),
    ),
    "lengths beyond the padding": (
        {"values": PACKED.reshape(3, 3, 1), "lengths": [3, 4, 1], "labels": [1, 2, 3]},
        ("series 1 (from 0)",),
    ),
    "offsets and lengths": (
        {"values": PACKED, "offsets": [0, 9], "lengths": [9], "labels": [1]},
        ("with offsets with lengths",),
    ),
    "no values under a key": ({"labels": [1, 2]}, ("no series",)),
    "channels that differ by key": (
        {"a": np.ones((3, 2)), "b": np.ones((3, 1)), "labels": [1, 2]},
        ("array 'b'", "'a' has 2 channels"),
    ),
    "all series under one key": (
        {"X": np.ones((3, 4, 1)), "labels": [1]},
        ("array 'X'", "an array of all series: data.values=X"),
    ),
    "an empty series under a key": ({"a": np.ones(3), "b": np.ones(0), "labels": [1, 2]}, ("array 'b'", "(0,)")),
    "an infinite value under a key": (
        {"a": [1.0], "b": [1.0, np.inf], "labels": [1, 2]},
        ("series 1 (from 0), step 1 (from 0)",),
    ),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_bad_archive_is_refused_with_its_array_and_series(tmp_path, case):
    arrays, said = ARCHIVES[case]
    np.savez(tmp_path / "a.npz", **{name: np.asarray(array) for name, array in arrays.items()})
    refused("npz", tmp_path / "a.npz", *said)


class Payload:
    """Code that a pickle would run."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("name", ["values", "labels", "s0"])
def test_a_pickle_in_an_archive_is_refused_and_not_run(tmp_path, name):
    canary = tmp_path / "canary"
    arrays = {"values": VALUES, "labels": np.arange(3)} if name != "s0" else {"labels": np.arange(1)}
    hostile = np.empty(3, object)
    hostile[:] = [Payload(canary)] * 3
    np.savez(tmp_path / "a.npz", **arrays | {name: hostile})
    refused("npz", tmp_path / "a.npz", f"array '{name}'", "pickle")
    assert not canary.exists()
    np.load(tmp_path / "a.npz", allow_pickle=True)[name]
    assert canary.exists(), "the payload is a live one"


def test_an_archive_of_other_things_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    for body in (b"not a zip", pickle.dumps({"values": 1})):
        path.write_bytes(body)
        refused("npz", path, "not a whole .npz archive")
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("readme.txt", "hello")
    refused("npz", path, "member 'readme.txt'", "is no array")
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("values.npy", "hello")
        made.writestr("labels.npy", "hello")
    refused("npz", path, "array 'values'", "no readable header")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as made:
        made.writestr("values.npy", "hello")
        made.writestr("values.npy", "hello")
    refused("npz", path, "array 'values'", "twice")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as made:
        made.writestr("values.npy", "hello")
    refused("npz", path, "array 'values'", "numpy.savez", labelled=False)


def member(shape: str, body: bytes, order: str = "False", kind: str = "'<f8'") -> bytes:
    """The bytes of an .npy file that announces ``shape``."""
    header = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + body


@pytest.mark.parametrize("order", ["True", "False"])
@pytest.mark.parametrize("shape", ["(3, 5)", "(3, 3)", "(10**15, 4)", "(3, -4)", "(1000000000000000, 4)"])
def test_an_array_that_is_not_what_its_header_announces_is_refused(tmp_path, shape, order):
    labels = io.BytesIO()
    np.save(labels, np.arange(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("values.npy", member(shape, VALUES.tobytes(), order))
        made.writestr("labels.npy", labels.getvalue())
    refused("npz", tmp_path / "a.npz", "array 'values'", "header")


@pytest.mark.parametrize(
    "kind", ["'(4,)<f8'", "'V8'", "'<U0'", "[('a', '<f8')]", "'|O'", "'no'", "(((((((", "3", "'<f8', 'more': 1"]
)
def test_an_array_of_a_hostile_type_is_refused(tmp_path, kind):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as made:
        made.writestr("labels.npy", member("(3,)", VALUES.tobytes(), kind=kind))
        made.writestr("values.npy", member("(3, 4)", VALUES.tobytes()))
    refused("npz", tmp_path / "a.npz", "array 'labels'")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["labels", "ids", "channels"])
def test_words_of_what_is_no_character_are_refused(tmp_path, name, order):
    words = np.array(["a"] if name == "channels" else ["a", "b", "c"])
    arrays = {"values": VALUES[..., None], "labels": np.arange(3)} | {name: words}
    path = npz(tmp_path / "good.npz", **arrays)
    assert len(only("npz", path)) == 3
    wrong = np.full(len(arrays[name]), 0x110000, "u4").astype(f"{order}u4")
    arrays[name] = wrong.view(f"{order}U1")
    refused("npz", npz(tmp_path / "a.npz", **arrays), f"array '{name}'", "1,114,112, which is no character")


def test_what_must_be_in_memory_as_a_whole_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "ONE", 80)
    path = tmp_path / "a.npz"
    for values, labels, said in (
        (VALUES.reshape(1, 12), [1], "series 0 (from 0) takes 96 bytes"),
        (np.asfortranarray(VALUES), [1, 2, 3], "numpy.ascontiguousarray"),
        (np.ones((11, 1)), range(11), "array 'labels': takes 88 bytes"),
    ):
        np.savez(path, values=values, labels=np.array(labels))
        refused("npz", path, said)
    np.savez(path, s0=np.ones(11), labels=[1])
    refused("npz", path, "array 's0': takes 88 bytes")


def test_a_truncated_or_damaged_archive_is_refused(tmp_path):
    random = np.random.default_rng(0)
    path = packed(tmp_path / "a.npz", [random.normal(size=(300, 2)) for _ in range(4)])
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 100):
        path.write_bytes(whole[:size])
        refused("npz", path, "not a whole .npz archive")
    damaged = bytearray(whole)
    damaged[2000] ^= 4
    path.write_bytes(damaged)
    refused("npz", path, "array 'values'", "damaged")


BODY = "@classLabel true u v\n@data\n1,2:3,4:u\n"
TS = {
    "ragged channels": (BODY + "1,2:3:v\n", "line 4", "channel 1 (from 0) has 1 steps, but channel 0 has 2"),
    "no label": (BODY + "1,2:3,4\n", "line 4", "no label", "u, v"),
    "an empty label": (BODY + "1,2:3,4:\n", "line 4", "no label"),
    "a label that is not declared": (BODY + "1,2:3,4:w\n", "line 4", "'w' is not declared", "u, v"),
    "another number of channels": (BODY + "1,2:v\n", "line 4", "1 channels", "2"),
    "another number than the header's": ("@dimensions 3\n" + BODY, "line 4", "2 channels", "3"),
    "several channels of a univariate": ("@univariate true\n" + BODY, "line 4", "2 channels", "1"),
    "another length than the header's": ("@seriesLength 3\n" + BODY, "line 4", "2 steps", "3"),
    "unequal lengths": ("@equalLength true\n" + BODY + "1:2:u\n", "line 5", "1 steps", "2"),
    "missing values against the header": ("@missing false\n" + BODY + "1,?:2,3:u\n", "line 5", "@missing true"),
    "text for a value": (BODY + "1,x:3,4:v\n", "line 4", "step 1 (from 0): 'x' is not a number"),
    "an underscore in a number": (BODY + "1,2_0:3,4:v\n", "line 4", "step 1 (from 0): '2_0'"),
    "an empty value": (BODY + "1,:3,4:v\n", "line 4", "step 1 (from 0): '' is not a number"),
    "an infinite value": (BODY + "1,2:3,inf:v\n", "line 4, channel 1 (from 0), step 1 (from 0)", "infinite"),
    "a channel without a step": (BODY + ":3,4:v\n", "line 4", "a channel without a step"),
    "an unknown header": ("@clasLabel true u\n" + BODY, "line 1", "did you mean @classlabel?"),
    "a header twice": ("@classLabel true u w\n" + BODY, "line 2", "twice"),
    "a class label without labels": ("@classLabel true\n@data\n", "line 1, @classLabel", "names no class"),
    "neither true nor false": ("@missing maybe\n" + BODY, "line 1, @missing", "neither true nor false"),
    "no number of channels": ("@dimensions two\n" + BODY, "line 1, @dimensions", "'two'"),
    "time stamps": ("@timeStamps true\n" + BODY, "line 4, channel 0", "is not made of (time,value)"),
    "regression": ("@targetlabel true\n@data\n1,2:3\n", "line 1, @targetlabel", "regression"),
    "no labels at all": ("@classLabel false\n@data\n1,2\n", "@classLabel", "no labels"),
    "a value before the data": ("1,2:u\n" + BODY, "line 1", "before @data"),
    "no data": ("@classLabel true u v\n", "@data", "there is no such line"),
    "no series": ("@classLabel true u v\n@data\n\n", "@data", "no series"),
    "bytes that are not UTF-8": (BODY.encode() + b"1,2:3,4:\xe9\n", "line 4", "0xe9 is not UTF-8"),
}


@pytest.mark.parametrize("case", TS)
def test_a_bad_ts_file_is_refused_with_its_line(tmp_path, case):
    text, *said = TS[case]
    path = tmp_path / "a.ts"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    refused("ts", path, *said)


TOP = "@relation a\n@attribute s0 numeric\n@attribute s1 REAL\n@attribute target {u, 'v w'}\n@data\n1,2,u\n"
ARFF = {
    "several channels": ("@relation a\n@attribute r relational\n", "line 2", ".ts"),
    "text attributes": ("@relation a\n@attribute s0 string\n", "line 2", "s0 string"),
    "a label that is not declared": (TOP + "1,2,x\n", "line 7", "'x' is not declared"),
    "a label missing": (TOP + "1,2,?\n", "line 7", "no label"),
    "too few values": (TOP + "1,u\n", "line 7", "2 values", "3 attributes"),
    "a sparse row": (TOP + "{0 1, 1 2}\n", "line 7", "a sparse row"),
    "text for a value": (TOP + "1,x,u\n", "line 7", "step 1 (from 0): 'x'"),
    "no steps": (TOP + "?,?,u\n", "line 7", "all steps"),
    "two classes": (TOP.replace("REAL", "{a,b}"), "line 4", "second nominal"),
    "no class": (TOP.replace("{u, 'v w'}", "real"), "@attribute", "nominal"),
    "no steps declared": ("@relation a\n@attribute c {a,b}\n@data\na\n", "line 3", "no numeric attribute"),
    "no data": (TOP.split("@data", maxsplit=1)[0], "@data", "no such line"),
}


@pytest.mark.parametrize("case", ARFF)
def test_a_bad_arff_file_is_refused_with_its_line(tmp_path, case):
    text, *said = ARFF[case]
    (tmp_path / "a.arff").write_text(text)
    refused("arff", tmp_path / "a.arff", *said)


@pytest.mark.parametrize("source", ["npz", "csv", "parquet", "ts", "arff"])
def test_what_is_no_file_or_empty_is_refused(tmp_path, source):
    refused(source, tmp_path / "nothing", "there is no such file", "data.path")
    refused(source, tmp_path, "is a folder")
    (tmp_path / "empty").touch()
    refused(source, tmp_path / "empty", "is empty")


@pytest.mark.parametrize("source", ["npz", "csv", "parquet", "ts", "arff"])
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_what_may_not_be_read_is_refused(tmp_path, source, closed):
    with TemporaryDirectory() as name:
        path = ts(Path(name) / "a", examples(1))
        Path(name).chmod(0o755 if closed == "file" else 0)
        path.chmod(0)
        user = os.geteuid()
        try:
            os.seteuid(user or 65534)  # permissions would not stop root
            refused(source, path, "cannot be read: Permission denied")
        finally:
            os.seteuid(user)
            Path(name).chmod(0o755)


def test_missing_labels_are_empty_words_where_none_are_asked_for(tmp_path):
    (series,) = read("csv", csv(tmp_path / "a.csv", long_frame(examples(1), ["u", "", "", "v"])), labelled=False)
    assert series.labels == ("u", "", "", "v")
