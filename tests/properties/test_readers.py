"""The same table gives the same series whatever file it is in, in whatever order its rows are, in blocks of any size."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from pipeline.data.readers import cells, formats, ts
from pipeline.data.readers.arrays import npz
from pipeline.data.readers.tables import csv_lines, parquet_table, row_order
from pipeline.data.series import Array, Columns, Series
from pipeline.errors import HIDDEN
from tests.properties.inputs import tried
from tests.support import series_files

ROLES = {"id": "id", "time": "time", "label": "label", "group": "group"}
BIG = float(np.finfo(np.float32).max)
NUMBERS = st.floats(-BIG, BIG) | st.integers(-(10**6), 10**6).map(float) | st.just(float("nan"))
VISIBLE = st.text(st.characters(categories=("L", "N", "P", "S", "M", "Zs", "Cf")), min_size=1, max_size=8)
WILD = VISIBLE.filter(lambda word: word.strip() == word and not HIDDEN.search(word))
PLAIN = st.text("abcXYZ019.-é", min_size=1, max_size=5).filter(lambda word: word.strip("'?") == word)
MEASURES = WILD.filter(
    lambda word: not set(word) & {";", "\t"} and word not in ROLES
)  # a header's separator is the most frequent


@dataclass(frozen=True)
class Sheet:
    """N series as their author thinks of them."""

    series: list[Array]  # (T, F) each
    channels: list[str]  # (F)
    ids: list[str]  # (N)
    labels: list[str]
    groups: list[str]
    times: list[list[float]]  # of each step

    def sorted_by(self, ids: Sequence[str]) -> Sheet:
        """Its series in the order of ``ids``."""
        order = [self.ids.index(name) for name in ids]
        lists = (self.series, self.ids, self.labels, self.groups, self.times)
        series, names, labels, groups, times = ([each[number] for number in order] for each in lists)  # type: ignore[index]
        return Sheet(series, self.channels, names, labels, groups, times)  # type: ignore[arg-type]


@st.composite
def sheets(draw: st.DrawFn, words: st.SearchStrategy[str] = WILD, channels: int = 3) -> Sheet:
    count, width = draw(st.integers(1, 5)), draw(st.integers(1, channels))
    lengths = draw(st.lists(st.integers(1, 5), min_size=count, max_size=count))

    def some(of: st.SearchStrategy[str], most: int = count, **more: bool) -> list[str]:
        return draw(st.lists(of, min_size=most, max_size=most, **more))  # type: ignore[arg-type]

    series = []
    for length in lengths:
        values = np.array(draw(st.lists(NUMBERS, min_size=length * width, max_size=length * width))).reshape(length, width)
        if np.isnan(values[-1]).all():
            values[-1, 0] = 0.5  # in a wide table a series ends with its last value
        series.append(values)
    classes = words.filter(lambda word: cells.class_word(word) == word)  # 0. is class 0: other tests have these
    times = [sorted(draw(st.sets(st.integers(-99, 99), min_size=length, max_size=length))) for length in lengths]
    return Sheet(
        series, some(MEASURES, width, unique=True), some(words, unique=True), some(classes), some(classes),
        [[float(time) for time in own] for own in times],
    )  # fmt: skip


def texts(values: Sequence[float]) -> list[str]:
    return [series_files.text(value) for value in values]


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return path


def long_rows(sheet: Sheet) -> list[list[str]]:
    return [
        [sheet.ids[n], repr(sheet.times[n][t]), sheet.labels[n], sheet.groups[n], *texts(step)]
        for n, one in enumerate(sheet.series)
        for t, step in enumerate(one.tolist())
    ]


def wide_rows(sheet: Sheet) -> tuple[list[str], list[list[str]]]:
    most = max(map(len, sheet.series))
    header = [*ROLES, *(f"{name}_{step}" for name in sheet.channels for step in range(most))]
    rows = []
    for n, one in enumerate(sheet.series):
        cells = [texts(channel) + [""] * (most - len(one)) for channel in one.T.tolist()]
        rows.append([sheet.ids[n], repr(sheet.times[n][0]), sheet.labels[n], sheet.groups[n], *chain(*cells)])
    return header, rows


def frame(header: Sequence[str], rows: Sequence[Sequence[str]]) -> pl.DataFrame:
    made = pl.DataFrame(rows, schema=list(header), orient="row")
    numbers = [name for place, name in enumerate(header) if place == 1 or place > 3]
    return made.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)).cast(pl.Float64) for name in numbers)


def write_npz(path: Path, sheet: Sheet, form: str) -> Path:
    lengths = [len(one) for one in sheet.series]
    arrays: dict[str, object] = {
        "labels": sheet.labels, "groups": sheet.groups, "channels": sheet.channels, "times": [own[0] for own in sheet.times],
    }  # fmt: skip
    if form == "padded":
        values = np.full((len(lengths), max(lengths), len(sheet.channels)), 7.0)
        for own, one in zip(values, sheet.series, strict=True):
            own[: len(one)] = one
        arrays |= {"values": values, "lengths": lengths, "ids": sheet.ids}
    elif form == "packed":
        arrays |= {"values": np.concatenate(sheet.series), "offsets": np.cumsum([0, *lengths]), "ids": sheet.ids}
    else:
        arrays |= {f"k{number}": one for number, one in enumerate(sheet.series)}
        arrays |= {"ids": sheet.ids}
    return series_files.npz(path, **arrays)


WRITERS: dict[str, tuple[str, str, Callable[[Path, Sheet], Path]]] = {
    "long csv": ("csv", "long", lambda path, one: write_csv(path, [*ROLES, *one.channels], long_rows(one))),
    "wide csv": ("csv", "wide", lambda path, one: write_csv(path, *wide_rows(one))),
    "long parquet": (
        *("parquet", "long"),
        lambda path, one: series_files.parquet(path, frame([*ROLES, *one.channels], long_rows(one))),
    ),
    "wide parquet": ("parquet", "wide", lambda path, one: series_files.parquet(path, frame(*wide_rows(one)))),
    **{
        f"npz {form}": ("npz", "long", lambda path, one, form=form: write_npz(path, one, form))  # type: ignore[misc]
        for form in ("padded", "packed", "keyed")
    },
}


def read(source: str, path: Path, **columns: object) -> list[Series]:
    return list(formats.read(source, path, Columns(**columns)))  # type: ignore[arg-type]


def assert_says(blocks: list[Series], sheet: Sheet, named: bool = True, ends: bool = False) -> None:
    """``blocks`` hold what the sheet does, bit for bit but for the type of floating point."""
    values = np.concatenate([block.values.astype(np.float64) for block in blocks])
    wanted = np.concatenate(sheet.series)
    wanted[np.isnan(wanted)] = np.nan
    assert values.tobytes() == wanted.tobytes()
    assert [length for block in blocks for length in block.lengths] == [len(one) for one in sheet.series]
    assert [word for block in blocks for word in block.labels or ()] == sheet.labels
    if named:
        assert {block.channels for block in blocks} == {tuple(sheet.channels)}
        assert [word for block in blocks for word in block.ids] == sheet.ids
        assert [word for block in blocks for word in block.groups or ()] == sheet.groups
        for found, place in (("times", 0), ("ends", -1))[: 1 + ends]:
            assert [time for block in blocks for time in getattr(block, found)] == [own[place] for own in sheet.times]


@pytest.mark.parametrize("form", WRITERS)
@given(sheet=sheets(), size=st.sampled_from([0, 1, 7, 50, 200]))
@tried(40)
def test_a_table_is_the_same_series_in_every_file_and_in_blocks_of_any_size(form: str, sheet: Sheet, size: int) -> None:
    source, layout, write = WRITERS[form]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = write(Path(folder) / "data", sheet)
        if size:
            for module in (csv_lines, parquet_table, npz):
                stack.enter_context(patch.object(module, "BLOCK", size))
            stack.enter_context(patch.object(row_order, "IN_MEMORY", 0))
        blocks = read(source, path, layout=layout, group="groups" if source == "npz" else "group")
    event(f"blocks: {min(len(blocks), 3)}")
    assert_says(blocks, sheet, ends=layout == "long" and source != "npz")


@pytest.mark.parametrize("form", ["long csv", "long parquet"])
@given(sheet=sheets(), data=st.data())
@tried(40)
def test_rows_of_a_long_table_may_stand_in_any_order(form: str, sheet: Sheet, data: st.DataObject) -> None:
    rows = data.draw(st.permutations(long_rows(sheet)))
    header = [*ROLES, *sheet.channels]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        if "csv" in form:
            write_csv(path, header, rows)
        else:
            frame(header, rows).write_parquet(path)
        blocks = read(form.split()[1], path, group="group")
    assert_says(blocks, sheet.sorted_by(list(dict.fromkeys(row[0] for row in rows))), ends=True)


@pytest.mark.parametrize("form", ["ts", "arff"])
@given(data=st.data(), size=st.sampled_from([0, 1, 40]))
@tried(40)
def test_the_files_of_the_archives_give_the_series_of_a_table(form: str, data: st.DataObject, size: int) -> None:
    sheet = data.draw(sheets(PLAIN, 1 if form == "arff" else 3))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = (series_files.ts if form == "ts" else series_files.arff)(Path(folder) / "data", sheet.series, sheet.labels)
        if size:
            stack.enter_context(patch.object(ts, "BLOCK", size))
        blocks = read(form, path)
    assert_says(blocks, sheet, named=False)
    assert [word for block in blocks for word in block.ids] == [str(number) for number in range(len(sheet.series))]
