"""What is what in a table that nobody has described: by what is measured, whatever the columns are called."""

import re
import shutil

import numpy as np
import polars as pl
import pytest

from pipeline.data.inspection import arrays, roles
from pipeline.data.readers import formats
from pipeline.data.series import Columns
from pipeline.errors import DataError

STEPS = 8


def long_table(count=20, **more):
    """``count`` series of 8 steps and two channels, of the classes a and b, two series per person."""
    random = np.random.default_rng(0)
    rows = count * STEPS
    series = np.repeat(np.arange(count), STEPS)
    columns = {
        "record": [f"r{number}" for number in series],
        "seconds": np.tile(np.arange(STEPS), count),
        "pulse": random.normal(70, 5, rows).round(3),
        "pressure": random.normal(120, 9, rows).round(3),
        "patient": [f"p{number // 2}" for number in series],
        "outcome": np.where(series % 4 < 2, "a", "b"),
    }
    return pl.DataFrame(columns | {name: make(series, random) for name, make in more.items()})


def found(tmp_path, frame, kind="csv"):
    path = tmp_path / f"table.{kind}"
    (frame.write_csv if kind == "csv" else frame.write_parquet)(path)
    return roles.find(kind, path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_roles_of_a_long_table_are_found_in_any_order_of_its_columns(tmp_path, kind):
    frame = long_table()
    for order in (frame.columns, frame.columns[::-1]):
        columns = found(tmp_path, frame.select(order), kind).columns
        assert (columns.layout, columns.id, columns.time) == ("long", "record", "seconds")
        assert (columns.label, columns.group, set(columns.channels)) == ("outcome", "patient", {"pulse", "pressure"})


def test_odd_names_change_nothing_but_what_only_a_name_can_tell(tmp_path):
    odd = {"record": "aa", "outcome": "bb", "pulse": "cc", "pressure": "dd", "seconds": "tick"}
    columns = found(tmp_path, long_table().drop("patient").rename(odd)).columns
    assert (columns.id, columns.label, columns.time, columns.channels) == ("aa", "bb", "tick", ("cc", "dd"))


@pytest.mark.parametrize(
    ("name", "make", "word"),
    [
        ("Unnamed: 0", lambda series, random: np.arange(len(series)), "counts the rows of the file and is left out"),
        ("age", lambda series, random: 20 + series // 2, "is constant within every series"),
        ("code", lambda series, random: (series % 4 < 2) * 1, "decides the class by itself"),
        ("flag", lambda series, random: np.full(len(series), 7), "the same in all rows"),
        ("note", lambda series, random: [f"word {row}" for row in range(len(series))], "holds words and is left out"),
    ],
)
def test_a_column_that_is_no_measurement_is_left_out_by_name(tmp_path, name, make, word):
    result = found(tmp_path, long_table(**{name: make}))
    assert set(result.columns.channels) == {"pulse", "pressure"}
    assert [line for line in result.doubts if repr(name) in line and word in line], result.doubts


def test_a_channel_that_alone_decides_the_class_is_a_loud_warning(tmp_path):
    def leak(series, random):
        return (series % 4 < 2) * 10 + random.integers(0, 3, len(series))

    result = found(tmp_path, long_table(alarm=leak))
    assert [line for line in result.doubts if "'alarm'" in line and "LEAK" in line]


def test_a_wide_table_is_known_by_its_numbered_columns(tmp_path):
    random = np.random.default_rng(0)
    steps = {f"t{step}": random.normal(size=12).round(3) for step in range(9)}
    columns = found(tmp_path, pl.DataFrame({"kind": ["x", "y"] * 6} | steps)).columns
    assert (columns.layout, columns.label, columns.id, columns.channels) == ("wide", "kind", "", ())


def test_rows_of_one_id_with_several_classes_are_cut_into_windows(tmp_path):
    frame = long_table().with_columns(outcome=pl.Series(["a", "a", "b", "b"] * 40))
    got = found(tmp_path, frame.drop("patient"))
    assert got.columns.window == 2 and any("changes within" in line for line in got.reasons)


def test_a_table_without_a_class_is_refused(tmp_path):
    with pytest.raises(DataError, match="no column can be the class"):
        found(tmp_path, pl.DataFrame({"x": np.arange(9) / 7, "y": np.arange(9) / 3}))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_name_that_polars_would_take_for_a_pattern_is_a_name(tmp_path, kind):
    odd = {"seconds": "^time.*$", "record": "^id.*$", "patient": "^group.*$", "outcome": "^label.*$", "pulse": "^pu.*$"}
    wanted = found(tmp_path, long_table().rename(odd | {"pressure": "^.*$"}), kind).columns
    assert (wanted.layout, wanted.id, wanted.time, wanted.label) == ("long", "^id.*$", "^time.*$", "^label.*$")
    assert (wanted.group, wanted.channels) == ("^group.*$", ("^pu.*$", "^.*$"))
    (series,) = formats.read(kind, tmp_path / f"table.{kind}", Columns(**wanted.model_dump()))
    assert series.channels == ("^pu.*$", "^.*$") and len(series) == 20
    assert series.values[:, 0].tolist() == long_table()["pulse"].to_list()


def test_a_csv_of_any_separator_is_looked_at_as_it_is_read(tmp_path):
    path = tmp_path / "table.csv"
    long_table().rename({"pulse": "pulse,1,2,3"}).write_csv(path, separator="\t")
    assert roles.find("csv", path).columns.channels == ("pulse,1,2,3", "pressure")


def labels(frame, made):
    """``frame`` with other labels, one for each series, in the column ``label``."""
    return frame.drop("outcome", "patient").with_columns(label=pl.Series(np.repeat(made, STEPS)))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (["walk"] * 40, "'label' has one value"),
        (np.random.default_rng(1).normal(size=40), "'label' holds numbers that are not whole, as of a regression"),
    ],
)
def test_no_id_and_no_time_is_taken_for_the_class_where_the_label_is_none(tmp_path, made, says):
    with pytest.raises(DataError, match=f"no column can be the class: {says}"):
        found(tmp_path, labels(long_table(40), made).rename({"record": "id", "seconds": "time"}))


def test_a_time_is_no_class_in_a_folder_whose_files_may_say_theirs_by_their_names(tmp_path):
    for number in range(8):
        frame = pl.DataFrame({"time": range(5), "x": np.random.default_rng(number).normal(size=5)})
        for name in (f"said/{'ab'[number % 2]}_{number}.csv", f"rec{number}.csv"):
            (tmp_path / "said").mkdir(exist_ok=True)
            frame.write_csv(tmp_path / name)
    assert roles.find("csv", tmp_path / "said").columns.recordings == "LABEL_ANY"
    shutil.rmtree(tmp_path / "said")
    with pytest.raises(DataError, match=r"no column can be the class.*move it into a folder of that name: .*/CLASS/FILE"):
        roles.find("csv", tmp_path)


def test_two_hundred_words_in_the_column_of_the_label_are_classes(tmp_path):
    columns = found(tmp_path, labels(long_table(400), [f"word {number % 200}" for number in range(400)])).columns
    assert (columns.id, columns.time, columns.label, columns.group) == ("record", "seconds", "label", "")


def test_whole_numbers_with_a_point_are_ids_and_times(tmp_path):
    frame = long_table(40).drop("patient").with_columns(record=pl.Series(np.repeat(np.arange(40.0), STEPS)))
    columns = found(tmp_path, frame.with_columns(pl.col("seconds").cast(pl.Float64)).rename({"seconds": "x1"})).columns
    assert (columns.layout, columns.id, columns.time, columns.channels) == ("long", "record", "x1", ("pulse", "pressure"))


def with_cells(name, cells):
    """A long table whose column ``name`` holds ``cells``, one a row, again and again."""
    return long_table(**{name: lambda series, random: [cells[row % len(cells)] for row in range(len(series))]})


@pytest.mark.parametrize(
    ("name", "cells", "says"),
    [
        ("timestamp", ["3/9/2024 8:00", "3/9/2024 9:00", "3/10/2024 8:00"], "in no form that is read.*order of the file.*YYYY"),
        ("moment", ["2024-03-09", "2024-03-09", "2024-03-09", "2024-03-10"], "holds one time for several steps"),
        ("humidity", ["50.1%", "49%", "-3%"], "holds words such as '50.1%'.*write numbers and nothing beside them"),
        ("variable", ["up", "down"], "the same words equally often in each series.*a column of its own"),
        ("note", ["up", "down", "down"], "holds words and is left out"),
    ],
)
def test_what_is_left_out_for_its_words_is_said_with_what_to_do(tmp_path, name, cells, says):
    result = found(tmp_path, with_cells(name, cells).drop("seconds"))
    assert set(result.columns.channels) == {"pulse", "pressure"} and result.columns.time == ""
    (line,) = [line for line in result.doubts if repr(name) in line]
    assert re.search(says, line), line


def test_a_channel_with_some_words_is_refused_with_the_line_of_the_first(tmp_path):
    frame = with_cells("humidity", ["50.1", "49", "n.a.", "51"])
    columns = found(tmp_path, frame).columns
    with pytest.raises(DataError, match=r"line 4, column 'humidity': 'n.a.' is not a number"):
        list(formats.read("csv", tmp_path / "table.csv", Columns(**columns.model_dump())))


def test_a_label_in_the_first_row_of_each_series_alone_makes_no_windows(tmp_path):
    heads = pl.when(pl.col("seconds") == 0).then("outcome").alias("outcome")
    columns = found(tmp_path, long_table().drop("patient").with_columns(heads)).columns
    assert columns.window == 0
    with pytest.raises(DataError, match=r"line 3, column 'outcome': is empty; each row needs its label: fill it in"):
        list(formats.read("csv", tmp_path / "table.csv", Columns(**columns.model_dump())))


def test_rows_that_may_be_steps_are_not_taken_for_series_in_silence(tmp_path):
    frame = pl.DataFrame({"kind": ["x", "y"] * 20, "u": np.random.default_rng(0).normal(size=40)})
    (line,) = found(tmp_path, frame.with_columns(v=pl.col("u") * 2)).doubts
    assert "each row is taken for a series" in line and "data.layout=long data.id=NAME" in line


@pytest.mark.parametrize("form", ["{}{}", "{}[{}]", "{}_{}"])
def test_channels_whose_columns_are_not_named_as_steps_are_named(tmp_path, form):
    random = np.random.default_rng(0)
    steps = {form.format(name, step): random.normal(size=12) for name in ("ax", "ay") for step in range(9)}
    result = found(tmp_path, pl.DataFrame({"kind": ["x", "y"] * 6} | steps))
    assert result.columns.layout == "wide" and len(result.doubts) == (form != "{}_{}")
    assert all("('ax', 'ay')" in line and "ax_0, ax_1" in line for line in result.doubts)


@pytest.mark.parametrize("kind", [int, str])
def test_an_array_of_persons_is_the_group(tmp_path, kind):
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(6), 5).astype(kind)
    np.savez(tmp_path / "a.npz", X=random.normal(size=(30, 12, 2)), y=np.arange(30) % 2, subject=who)
    columns, reasons, _ = arrays.find(tmp_path / "a.npz")
    assert columns.group == "subject" and "'subject' says whom or what each is of" in reasons
    (series,) = formats.read("npz", tmp_path / "a.npz", Columns(**columns.model_dump()))
    assert series.groups == tuple(map(str, who))
