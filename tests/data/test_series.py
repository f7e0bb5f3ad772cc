"""What series.py promises: one wording of a place, whoever speaks of it; pieces and offsets that hold every series once."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.config import Data
from pipeline.data.preparation.folder import prepare
from pipeline.data.readers.tables.rows import Ids
from pipeline.data.series import WORD, Words, cuts, offsets_of, place, steps_of
from pipeline.errors import DataError
from tests.support.series_files import csv, npz, parquet

NAN, INFINITE = float("nan"), float("inf")


def write(form: str, folder: Path, value: float) -> Path:
    """24 series of two steps, ``value`` in the first step of series 10."""
    values = np.arange(48.0)
    values[20] = value
    rows = {"id": np.repeat(np.arange(24), 2), "time": np.tile([0, 1], 24), "x": values, "label": np.repeat(["a", "b"] * 12, 2)}
    path = folder / f"data.{form}"
    if form == "npz":
        return npz(path, values=values.reshape(24, 2, 1), labels=["a", "b"] * 12)
    frame = pl.DataFrame(rows).with_columns(pl.col("x").fill_nan(None))
    return {"csv": csv, "parquet": parquet}[form](path, frame)


@pytest.mark.parametrize(("form", "said"), [("csv", "line 22"), ("parquet", "row 20 (from 0)"), ("npz", "series 10 (from 0)")])
def test_one_cell_has_one_place_in_all_messages(tmp_path, form, said):
    data = {"source": form, "prepared": str(tmp_path / "prepared")}
    for value in (NAN, INFINITE):
        path = write(form, tmp_path, value)
        with pytest.raises(DataError, match=re.escape(f"{path}: {said}") + "[,:]"):
            prepare(Data(path=str(path), **data))


@pytest.mark.parametrize(("unit", "said"), [("line", "line 3"), ("row", "row 3 (from 0)"), ("step", "step 3 (from 0)")])
def test_lines_count_from_1_and_all_else_from_0(unit, said):
    assert place(unit, 3) == said


@pytest.mark.parametrize(("sizes", "limit"), [([4] * 10, 8), ([300] * 5, 100), ([1, 900, 1, 1], 2), ([], 5), ([0, 0, 7], 1)])
def test_pieces_hold_every_series_once_in_order_and_none_is_empty(sizes, limit):
    found = list(cuts(np.array(sizes, np.int64), limit))
    assert [n for piece in found for n in range(piece.start, piece.stop)] == list(range(len(sizes)))
    assert all(piece.start < piece.stop for piece in found)
    assert all(sum(sizes[piece][:-1]) < limit for piece in found), "the last alone may lie over the limit"


def test_offsets_are_where_series_begin_and_end():
    assert offsets_of(np.array([3, 1, 2])).tolist() == [0, 3, 4, 6]
    assert offsets_of(np.array([], np.int64)).tolist() == [0]
    assert offsets_of(np.array([2**31, 2**31], np.uint32)).tolist() == [0, 2**31, 2**32]


def test_steps_are_numbered_in_each_series():
    assert steps_of(np.array([3, 1, 2])).tolist() == [0, 1, 2, 0, 0, 1]


@pytest.mark.parametrize("kind", ["words", "ids"])
@pytest.mark.parametrize("words", [("b", "a", "b", "b", "c"), ("",), ()])
def test_words_that_are_kept_as_numbers_or_as_a_column_are_those_words(kind, words):
    made = Words.of(iter(words)) if kind == "words" else Ids(pl.Series(words, dtype=pl.String))
    assert made == words and words == made and made != (*words, "x") and list(made) == list(words) and len(made) == len(words)
    assert [made[number] for number in range(len(words))] == list(words) and made[1:3] == words[1:3]
    if words:
        assert made[np.int64(0)] == made[0] == words[0] and made[-1] == words[-1]


def test_words_are_counted_in_the_order_in_which_they_first_come():
    made = Words.of(["b", "a", "b"])
    assert made.different == ("b", "a") and list(made.counts.items()) == [("b", 2), ("a", 1)] and Words.of(made) is made


@pytest.mark.parametrize("odd", ["\x1b", "\u202e", "\x7f", "é", "x" * (WORD + 1)])
def test_ids_are_plain_where_nobody_has_to_look_at_them(odd):
    assert Ids(pl.Series(["a b", "2", "~"])).plain and not Ids(pl.Series(["a", odd, "c"])).plain
