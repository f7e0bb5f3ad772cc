"""How a table is written is told without guessing where a guess could be wrong in silence."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.inspection import roles, sample
from pipeline.data.readers import cells, formats
from pipeline.data.readers.tables import csv_dialect, csv_lines
from pipeline.data.series import Columns
from pipeline.errors import DataError
from tests.data.readers.test_cases import only, written

WIDE = {"layout": "wide", "id": "", "label": "label"}


@pytest.mark.parametrize("first", ["0,999,5", "0,NA"])
def test_a_point_where_commas_are_decimal_is_refused_whatever_stands_beside_it(tmp_path, first):
    rows = f"id;time;label;x\na;{first.replace(',', ';', 1)}\n".replace("a;0;", "a;0;w;")
    path = written(tmp_path / "a.csv", rows + "a;1;w;1.234\n")
    with pytest.raises(DataError, match=r"line 3, column 'x': '1.234' is not a number") as caught:
        only("csv", path, decimal=",")
    assert "data.decimal" not in str(caught.value)


def test_times_may_have_decimal_commas_beside_missing_values_and_no_points(tmp_path):
    path = written(tmp_path / "a.csv", "id;time;label;x\na;10,5;w;2\na;9,25;w;NA\na;9,5;w;1\n")
    assert only("csv", path, decimal=",").values[1:, 0].tolist() == [1, 2]
    with pytest.raises(DataError, match=r"the time '1.000' has a point"):
        only("csv", written(path, "id;time;label;x\na;1.000;w;1\na;999,5;w;2,5\n"), decimal=",")


@pytest.mark.parametrize(
    "header",
    ["label,400,405,412,420", "label,4000,3998,3996,3994", "id,time,label,x,500", "label,t,x,y,500"],
)
def test_a_word_above_numbers_is_their_name(tmp_path, header):
    count = header.count(",")
    rows = "".join(f"{number},{','.join(['0.5'] * count)}\n" for number in (1, 2, 1, 2))
    dialect, _ = csv_dialect.guess(written(tmp_path / "a.csv", f"{header}\n{rows}"))
    assert dialect.header and dialect.names == tuple(header.split(","))


def test_rows_that_begin_as_comments_do_are_not_lost(tmp_path):
    path = written(tmp_path / "a.csv", "#1,0.5,w\n#2,0.7,v\n3,1,w\n")
    with pytest.raises(DataError, match="line 2: begins with #"):
        only("csv", path, header=False, layout="wide", id="0", label="-1")


@pytest.mark.parametrize("word", ["1E90", "2E00", "1e999", "12e456", "0e5", "1e-400"])
def test_a_code_that_looks_like_a_power_stays_a_word(word):
    assert cells.class_word(word) == word


def test_a_header_of_steps_alone_is_read_for_prediction_and_refused_where_a_label_is_needed(tmp_path):
    path = written(tmp_path / "a.csv", "400,402,404\n1,2,3\n4,5,6\n")
    assert only("csv", path, **WIDE, labelled=False).values.ravel().tolist() == [1, 2, 3, 4, 5, 6]
    with pytest.raises(DataError, match="'label'"):
        only("csv", path, **WIDE)


def test_a_first_row_of_words_and_dates_is_a_row(tmp_path):
    path = written(tmp_path / "a.csv", "id,date,label,x\nA1,2020-01-01,w,\n17,2020-01-01,v,3.5\n17,2020-01-02,v,3\n")
    assert only("csv", path, time="date").ids == ("A1", "17")
    european = (
        "id;date;label;x;y\na;2020-01-01;w;0,5;0,7\na;2020-01-02;w;1;0,3\nb;2020-01-01;v;0,5;0,7\nb;2020-01-02;v;0,5;0,7\n"
    )
    assert roles.find("csv", written(path, european)).columns.decimal == ","


def test_a_second_header_is_named_where_a_channel_has_a_word_in_the_first_row(tmp_path):
    path = written(tmp_path / "a.csv", "id,time,label,x\n,s,,m\na,0,w,1\na,1,w,2\n")
    with pytest.raises(DataError, match=r"line 2.*units or a second header"):
        only("csv", path)


def test_many_comment_lines_cost_no_more_than_other_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("#\n" * 200_000 + "id,time,label,x\n" + "a,0,w,1\n" * 400_000)
    dialect = csv_lines.dialect_of(path)
    begin = time.process_time()
    plain = sum(len(block) for _, block in csv_lines.blocks(path))
    blocks, begin = time.process_time() - begin, time.process_time()
    assert plain - sum(len(block) for _, block in csv_lines.lines(path, dialect)) == 400_000 + len("id,time,label,x\n")
    assert time.process_time() - begin < 20 * blocks + 1


def test_a_table_without_rows_is_refused_by_init(tmp_path):
    with pytest.raises(DataError, match="has no rows"):
        sample.of("csv", written(tmp_path / "a.csv", "id,time,label,x\n"), 100)


def test_the_forms_in_which_tables_are_written(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id;time;label;x;\r\na;0;w;1;\r\na;1;w;2;\r\n")
    assert only("csv", path).values.ravel().tolist() == [1, 2]
    assert only("csv", written(path, '"id" "time" "label" "x"\n"a" 0 "w" 1\n"a" 1 "w" 2\n')).ids == ("a",)
    ragged = "1,.1,.2,\n" * 9 + "1,.1,.2,.3\n"
    got = only("csv", written(path, ragged), header=False, layout="wide", id="", label="0")
    assert len(got) == 10 and got.values[-1, 0] == pytest.approx(0.3)


def test_a_long_text_in_a_column_that_is_not_read_does_no_harm_and_commas_are_tried_first(tmp_path):
    path = written(tmp_path / "a.csv", f"id,time,label,note,x\na,0,w,{'n' * 140_000},1\n")
    assert only("csv", path, channels=("x",)).values.ravel().tolist() == [1]
    path = written(path, "id,time,label,p;q;r;s;t,x\na,0,w,1;2;3;4;5,1\na,1,w,1;2;3;4;5,2\n")
    assert only("csv", path, channels=("x",)).values.ravel().tolist() == [1, 2]


def test_a_wide_table_needs_neither_id_nor_label_for_prediction(tmp_path):
    frame = pl.DataFrame({"u": [1.0, 4.0, 5.0], "v": [2.0, 3.0, 6.0]})
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "a.parquet")
    for source in ("csv", "parquet"):
        got = only(source, tmp_path / f"a.{source}", **WIDE, labelled=False)
        assert got.values.ravel().tolist() == [1, 2, 4, 3, 5, 6] and len(got) == 3


def test_decimal_commas_between_spaces_without_a_header_are_found(tmp_path: Path) -> None:
    rows = [f"{n % 2} " + " ".join(f"{n + step / 8}".replace(".", ",") for step in range(12)) for n in range(20)]
    (tmp_path / "a.txt").write_text("\n".join(rows) + "\n")
    found = roles.find("csv", tmp_path / "a.txt").columns
    assert (found.header, found.decimal, found.label, found.layout) == (False, ",", "0", "wide")
    (got,) = formats.read("csv", tmp_path / "a.txt", Columns(**found.model_dump()))
    assert got.values[:3, 0].tolist() == [0, 0.125, 0.25] and len(got) == 20 and set(got.lengths) == {12}
    with_dates = tmp_path / "b.csv"
    with_dates.write_text("2026-01-01 00:00:00,5,a\n2026-01-01 00:00:01,6,b\n2026-01-01 00:00:02,7,a\n")
    assert csv_dialect.find(with_dates, None).separator == ","


@pytest.mark.parametrize("cell", ['"1,234.50"', "1.234,50", "1 234", "1'234.5", "1 234,5", "-12.345.678,9"])
def test_what_sets_thousands_apart_is_called_so(tmp_path: Path, cell: str) -> None:
    path = written(tmp_path / "a.csv", f"id;time;label;x\na;0;w;1\na;1;w;{cell}\n")
    with pytest.raises(DataError, match=r"line 3, column 'x': .* is not a number; take out what sets its thousands apart"):
        only("csv", path)


@pytest.mark.parametrize("coding", ["utf-16", "cp1252"])
def test_a_file_in_another_encoding_is_read_after_what_the_message_says(tmp_path: Path, coding: str) -> None:
    path = tmp_path / "my export.csv"
    path.write_bytes("id;time;label;x\na;0;hei\u00df;1\n".encode(coding))
    with pytest.raises(DataError, match="is not UTF-8; save the file as UTF-8, or type: iconv") as caught:
        only("csv", path)
    subprocess.run(str(caught.value).split("or type: ")[1], shell=True, check=True)
    assert only("csv", tmp_path / "my export-utf8.csv").labels == ("hei\u00df",)


@pytest.mark.parametrize("above", ["Device: XC-200\nStart: 08:00\n\n", "% from a logger\n"])
def test_lines_above_the_header_are_refused_with_what_to_do(tmp_path: Path, above: str) -> None:
    path = written(tmp_path / "a.csv", f"{above}id,time,label,x\na,0,w,1\na,1,w,2\n")
    with pytest.raises(DataError, match=r"begin what stands above the names of the columns with # \(line 1\), or take it out"):
        sample.of("csv", path, 100)
