"""Tables and archives as strangers bring them: without a header, otherwise separated, packed, with other words for nothing."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.inspection import roles
from pipeline.data.readers import cells, limits
from pipeline.deploy.inputs import source_of
from pipeline.errors import DataError
from tests.support.series_files import only

ROWS = [("-1", 0.5, -0.25, 2.0), ("1", 1.5, 2.25, -3.0), ("-1", 0.125, 4.0, 5.0), ("1", 2.0, 2.0, 7.0)]
LONG = "id,time,label,x,y\ns0,0,a,0.5,1\ns0,1,a,1.5,2\ns1,0,b,2.5,3\ns1,1,b,3.5,4\n"
VALUES = [[0.5, 1], [1.5, 2], [2.5, 3], [3.5, 4]]


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def table(separator: str, form: str = "{}", last: bool = False, end: str = "", lead: str = "") -> str:
    cells_ = [[*map(form.format, row[1:]), row[0]] if last else [row[0], *map(form.format, row[1:])] for row in ROWS]
    return "".join(f"{lead}{separator.join(map(str, row))}{end}\n" for row in cells_)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (table(","), 0),
        (table("\t"), 0),
        (table(","), "-4"),
        (table("   ", "{:.7e}", lead="  "), 0),
        (table(" \t"), 0),
        (table(";", last=True), -1),
        (table("|", "{:.18e}", last=True), -1),
        (table(",", last=True, end=";"), 3),
    ],
)
def test_a_table_without_a_header_is_read_with_its_label_by_place(tmp_path, text, label):
    got = only("csv", written(tmp_path / "a.txt", text), header=False, layout="wide", label=label)
    assert got.labels == ("-1", "1", "-1", "1") and len(got) == 4, "no series is lost"
    np.testing.assert_array_equal(got.values.reshape(4, 3), [row[1:] for row in ROWS])


def test_numbers_alone_in_the_first_line_are_recognised_and_the_message_says_what_to_set(tmp_path):
    path = written(tmp_path / "a.csv", table(","))
    for label in ("label", "-1"):
        with pytest.raises(DataError, match=r"line 1: holds numbers alone.*data\.header=false.*data\.label"):
            only("csv", path, layout="wide", label=label)


@pytest.mark.parametrize("text", [table(","), table("\t"), table("  ", "{:.3e}"), table(",", last=True)])
def test_what_init_finds_of_a_table_without_a_header_reads_it(tmp_path, text):
    path = written(tmp_path / "a.txt", text * 3)
    columns = roles.find("csv", path).columns
    assert (columns.header, columns.layout) == (False, "wide")
    assert sorted(set(only("csv", path, **columns.model_dump()).labels or ())) == ["-1", "1"]


def test_places_that_a_library_wrote_as_names_are_a_header(tmp_path):
    head = ",".join(map(str, range(3))) + ",label\n"
    path = written(tmp_path / "a.csv", head + table(",", last=True) * 3)
    columns = roles.find("csv", path).columns
    assert (columns.header, columns.label) == (True, "label") and len(only("csv", path, **columns.model_dump())) == 12


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "   "])
def test_every_usual_separator_is_found(tmp_path, separator):
    got = only("csv", written(tmp_path / "a.csv", LONG.replace(",", separator)))
    assert got.labels == ("a", "b") and got.channels == ("x", "y")
    np.testing.assert_array_equal(got.values, VALUES)


def test_a_file_without_a_separator_is_called_so(tmp_path):
    with pytest.raises(DataError, match="no separator was found"):
        only("csv", written(tmp_path / "a.csv", LONG.replace(",", ":")))


def test_comments_and_blank_lines_before_the_header_are_passed_over_and_lines_still_count(tmp_path):
    path = written(tmp_path / "a.csv", f"# logger 1.2\n# rate 50 Hz\n\n{LONG}")
    assert only("csv", path).rows.tolist() == [5, 7]
    with pytest.raises(DataError, match="line 5, column 'x'"):
        only("csv", written(path, f"# logger\n\n\n{LONG.replace('0.5', 'word')}"))


def test_a_header_may_begin_as_a_comment_does(tmp_path):
    for head, name in (("#id", "#id"), ("# id", "id")):
        path = written(tmp_path / "a.csv", LONG.replace("id", head, 1).replace("0.5", "0.75"))
        got = only("csv", path, id=name)
        assert got.ids == ("s0", "s1") and got.rows.tolist() == [2, 4]


def test_a_row_of_units_is_called_so(tmp_path):
    with pytest.raises(
        DataError,
        match=r"line 2, column 'x': 'm/s2' is not a number; if this line holds units or a second header, leave it out",
    ):
        only("csv", written(tmp_path / "a.csv", LONG.replace("y\n", "y\n,s,,m/s2,m/s2\n", 1)))


@pytest.mark.parametrize("word", ["null", "NULL", "None", "N/A", "n/a", "#N/A", "<NA>", "nan", "NA", "?"])
def test_the_usual_words_for_nothing_are_missing_values(tmp_path, word):
    got = only("csv", written(tmp_path / "a.csv", LONG.replace("1.5", word)))
    assert np.isnan(got.values[1, 0]) and np.isnan(got.values).sum() == 1
    got = only("ts", written(tmp_path / "a.ts", f"@classLabel true a b\n@data\n1,{word}:a\n"))
    assert np.isnan(got.values).ravel().tolist() == [False, True]


def test_true_and_false_in_a_channel_are_one_and_zero(tmp_path):
    got = only("csv", written(tmp_path / "a.csv", LONG.replace(",1\n", ",True\n").replace(",3\n", ",FALSE\n")))
    assert got.values[:, 1].tolist() == [1, 2, 0, 4]


@pytest.mark.parametrize("separator", [";", "\t", " "])
def test_decimal_commas_are_read_where_the_key_says_so(tmp_path, separator):
    path = written(tmp_path / "a.csv", LONG.replace(",", separator).replace(".", ","))
    np.testing.assert_array_equal(only("csv", path, decimal=",").values, VALUES)
    assert roles.sample.of("csv", path, 100)[2]["decimal"] == ","
    with pytest.raises(DataError, match=r"'0,5' is not a number.*data\.decimal"):
        only("csv", path)


@pytest.mark.parametrize("name", ["a.csv", "a.ts", "a.arff"])
def test_a_packed_text_is_what_it_holds_by_its_content_and_by_its_name(tmp_path, name):
    arff = "@relation r\n@attribute s numeric\n@attribute c {a,b}\n@data\n1,a\n2,b\n"
    text = {"a.csv": LONG, "a.ts": "@classLabel true a b\n@data\n1,2:a\n3,4:b\n", "a.arff": arff}[name]
    source, plain = name[2:], only(name[2:], written(tmp_path / name, text))
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    got = only(source, packed)
    assert source_of(packed) == source and got.values.tobytes() == plain.values.tobytes() and got.labels == plain.labels
    packed.write_bytes(gzip.compress(text.encode())[:-9])
    with pytest.raises(DataError, match="damaged or cut short"):
        only(source, packed)


def test_what_a_packed_text_unpacks_to_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "UNPACKED", 1000)
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress((LONG + "s1,2,b,1,1\n" * 100_000).encode()))
    with pytest.raises(DataError, match="unpacks to more than"):
        only("csv", packed, time="")
    packed.write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(DataError, match="packed as zip"):
        only("csv", packed)


@pytest.mark.parametrize(
    ("word", "called"),
    [
        *(("1", "1"), ("1.0", "1"), ("1.000e+00", "1"), ("0.000000000000000000e+00", "0"), ("-1.0000000e+00", "-1")),
        *(("01", "01"), ("01.0", "01.0"), ("1.10", "1.10"), ("0.5", "0.5"), ("5e-1", "0.5"), ("-0.0", "0")),
        *(("True", "true"), ("TRUE", "true"), ("walk", "walk"), ("1.", "1"), ("12345678901234567890", "12345678901234567890")),
    ],
)
def test_a_label_is_called_the_same_in_every_format(tmp_path, word, called):
    assert cells.class_word(word) == called
    assert only("csv", written(tmp_path / "a.csv", f"id,time,label,x\ns0,0,{word},1\n")).labels == (called,)
    assert only("ts", written(tmp_path / "a.ts", f"@classLabel true {word} b\n@data\n1,2:{word}\n")).labels == (called,)
    arff = f"@relation r\n@attribute s numeric\n@attribute c {{{word},b}}\n@data\n1,{word}\n"
    assert only("arff", written(tmp_path / "a.arff", arff)).labels == (called,)
    np.savez(tmp_path / "a.npz", values=np.ones((1, 2)), labels=np.array([word]))
    assert only("npz", tmp_path / "a.npz").labels == (called,)


@pytest.mark.parametrize(("mark", "word"), [("'", "walk, up"), ('"', "walk, up"), ("'", "it\\'s"), ("'", "a, b, c")])
def test_a_comma_within_quotes_is_part_of_a_class_of_arff(tmp_path, mark, word):
    head = f"@relation r\n@attribute s numeric\n@attribute c {{{mark}{word}{mark},sit}}\n@data\n"
    got = only("arff", written(tmp_path / "a.arff", f"{head}1,{mark}{word}{mark}\n2,sit\n"))
    assert got.labels == (word.replace("\\", ""), "sit")


def test_a_header_line_of_ts_that_stands_there_twice_and_says_the_same_is_harmless(tmp_path):
    head = "@problemName a\n@problemName b\n@missing false\n@missing false\n@classLabel true a b\n@data\n1,2:a\n"
    assert only("ts", written(tmp_path / "a.ts", head)).labels == ("a",)
    with pytest.raises(DataError, match="twice"):
        only("ts", written(tmp_path / "a.ts", "@missing true\n" + head))
