"""A Parquet file is decoded once: a row group after the other, and of that some columns after the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.data.readers.tables import parquet_table
from pipeline.data.readers.tables.table import runs_of
from tests.support.series_files import only, read


def wide(path: Path, rows: int, columns: int, group: int) -> pl.DataFrame:
    random = np.random.default_rng(0)
    steps = {f"x_{number}": random.normal(size=rows) for number in range(columns)}
    frame = pl.DataFrame({"label": [f"c{row % 2}" for row in range(rows)]} | steps)
    frame.write_parquet(path, row_group_size=group)
    return frame


@pytest.fixture
def asked(monkeypatch):
    """The rows that were asked of the file, as the first and their number, in order."""
    found: list[tuple[int, int]] = []
    real = pl.LazyFrame.slice

    def slice_(frame: pl.LazyFrame, offset: int, length: int) -> pl.LazyFrame:
        found.append((offset, length))
        return real(frame, offset, length)

    monkeypatch.setattr(pl.LazyFrame, "slice", slice_)
    return found


def test_each_row_group_is_decoded_once_and_small_ones_together(tmp_path, monkeypatch, asked):
    frame = wide(tmp_path / "a.parquet", 1000, 30, 250)
    monkeypatch.setattr(parquet_table, "BLOCK", 31 * 8 * 20)  # of a row group there are many blocks
    blocks = read("parquet", tmp_path / "a.parquet", layout="wide")
    assert asked == [(0, 250), (250, 250), (500, 250), (750, 250)]
    assert max(len(block) for block in blocks) == 20
    values = np.concatenate([block.values for block in blocks]).reshape(1000, 30)
    np.testing.assert_array_equal(values, frame.drop("label").to_numpy())
    asked.clear()
    monkeypatch.setattr(parquet_table, "BLOCK", 31 * 8 * 400)
    assert [len(block) for block in read("parquet", tmp_path / "a.parquet", layout="wide")] == [400, 100, 400, 100]
    assert asked == [(0, 500), (500, 500)]


def test_a_row_group_that_is_too_large_is_decoded_again_for_each_part_of_its_rows(tmp_path, monkeypatch, asked):
    frame = wide(tmp_path / "a.parquet", 1000, 30, 1000)
    monkeypatch.setattr(parquet_table, "GROUP", 31 * 8 * 400)
    assert np.concatenate([b.values for b in read("parquet", tmp_path / "a.parquet", layout="wide")]).shape == (30_000, 1)
    assert asked == [(0, 400), (400, 400), (800, 200)]
    monkeypatch.setattr(parquet_table, "GROUP", 2**30)
    got = only("parquet", tmp_path / "a.parquet", layout="wide")
    np.testing.assert_array_equal(got.values.reshape(1000, 30), frame.drop("label").to_numpy())


@pytest.mark.parametrize("kind", [pl.Int8, pl.UInt64, pl.Int128])
def test_ids_and_labels_may_be_integers_of_any_width(tmp_path, kind):
    rows = pl.DataFrame({"id": [1, 1, 2, 2, 2, 3], "time": range(6), "x": 0.5, "label": [7, 7, 7, 7, 7, 9]})
    rows.with_columns(pl.col("id", "label").cast(kind)).write_parquet(tmp_path / "a.parquet", row_group_size=2)
    got = only("parquet", tmp_path / "a.parquet")
    assert (got.ids, got.labels, got.lengths.tolist()) == (("1", "2", "3"), ("7", "7", "9"), [2, 3, 1])


@pytest.mark.parametrize("lengths", [[0], [3, 0], [2, 1, 0, 0], [0, 1, 0, 2]])
def test_a_piece_of_a_column_without_rows_begins_no_run(lengths):
    pieces = [pl.Series("id", [None] * length, pl.Null) for length in lengths]
    column = pl.concat(pieces, rechunk=False) if pieces[1:] else pieces[0]
    assert column.n_chunks() == len(lengths)
    assert runs_of(column.to_frame(), len(column))["first"].to_list() == [0] * (sum(lengths) > 0)
