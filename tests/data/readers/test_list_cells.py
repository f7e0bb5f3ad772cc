"""Parquet with a row per series whose cells are lists of steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.data.inspection import roles
from pipeline.data.readers.tables import list_cells, parquet_table
from pipeline.errors import DataError
from tests.support.series_files import only, parquet, read

RANDOM = np.random.default_rng(0)
SERIES = [RANDOM.normal(size=(3 + n % 4, 2)) for n in range(12)]
WORDS = ["ab"[n % 2] for n in range(12)]


def table(**more: object) -> pl.DataFrame:
    columns: dict[str, object] = {"id": [f"s{n}" for n in range(12)], "label": WORDS}
    columns |= {name: [one[:, k].tolist() for one in SERIES] for k, name in enumerate("xy")}
    return pl.DataFrame(columns | more)


def deep(first: bool = False) -> pl.DataFrame:
    return pl.DataFrame({"label": WORDS, "values": [(one.T if first else one).tolist() for one in SERIES]})


def test_a_list_a_channel(tmp_path: Path) -> None:
    got = only("parquet", parquet(tmp_path / "a.parquet", table()))
    assert got.channels == ("x", "y") and got.ids == tuple(f"s{n}" for n in range(12)) and got.labels == tuple(WORDS)
    for number, one in enumerate(SERIES):
        np.testing.assert_array_equal(got.one(number), one)
    swapped = only("parquet", tmp_path / "a.parquet", channels=["y", "x"])
    np.testing.assert_array_equal(swapped.one(3), SERIES[3][:, ::-1])


@pytest.mark.parametrize("first", [False, True])
def test_a_list_of_lists(tmp_path: Path, first: bool) -> None:
    parquet(tmp_path / "a.parquet", deep(first))
    got = only("parquet", tmp_path / "a.parquet", axes="channels_first" if first else "channels_last")
    assert got.channels == ("channel_0", "channel_1") and got.ids[-1] == "11"
    for number, one in enumerate(SERIES):
        np.testing.assert_array_equal(got.one(number), one)
    one = only("parquet", tmp_path / "a.parquet", axes="channels_first" if first else "auto", channels=["channel_1"])
    np.testing.assert_array_equal(one.one(0), SERIES[0][:, 1:])


@pytest.mark.parametrize("kind", [pl.Array(pl.Float64, 4), pl.List(pl.Float32), pl.Array(pl.Int16, (4, 2)), pl.List(pl.Int8)])
def test_arrays_and_lists_of_any_numbers(tmp_path: Path, kind: pl.DataType) -> None:
    whole = RANDOM.integers(0, 9, (6, 4, 2))
    stored = whole if isinstance(kind, pl.Array) and len(kind.shape) == 2 else whole[..., 0]
    frame = pl.DataFrame({"label": WORDS[:6], "x": pl.Series(stored.tolist(), dtype=kind)})
    got = only("parquet", parquet(tmp_path / "a.parquet", frame))
    np.testing.assert_array_equal(got.values.reshape(stored.shape), stored)
    assert got.lengths.tolist() == [4] * 6


def test_a_null_in_a_list_is_a_missing_value(tmp_path: Path) -> None:
    frame = pl.DataFrame({"label": ["a", "b"], "x": [[1.0, None, 3.0], [None, 2.0]], "y": [[1.0, 2.0, None], [1.0, 5.0]]})
    got = only("parquet", parquet(tmp_path / "a.parquet", frame))
    np.testing.assert_array_equal(got.values, [[1, 1], [np.nan, 2], [3, np.nan], [np.nan, 1], [2, 5]])


@pytest.mark.parametrize("form", [table, deep])
def test_row_groups_are_read_one_after_the_other(tmp_path: Path, form: object, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table() if form is table else deep()
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=3)
    monkeypatch.setattr(parquet_table, "BLOCK", 100)
    monkeypatch.setattr(list_cells, "BLOCK", 100)
    blocks = read("parquet", tmp_path / "a.parquet")
    assert len(blocks) > 4
    np.testing.assert_array_equal(np.concatenate([block.values for block in blocks]), np.concatenate(SERIES))
    assert [name for block in blocks for name in block.ids][-1] == ("s11" if form is table else "11")
    assert [row for block in blocks for row in block.rows.tolist()] == list(range(12))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"y": [[1.0] * 9] * 12}, r"row 0 \(from 0\), column 'y': holds 9 steps, but column 'x' of this row holds 3"),
        ({"x": [[1.0, 2.0]] * 11 + [[]], "y": [[1.0, 2.0]] * 11 + [[]]}, r"row 11 .*column 'x': holds no list"),
        ({"y": [None] + [[1.0]] * 11}, r"row 0 .*column 'y': holds no list"),
        ({"y": [["a", "b"]] * 12}, r"column 'y': holds List\(String\).*data.channels=\[x, y\]"),
        ({"age": [3.0] * 12}, r"column 'age': holds one value a row.*data.channels=\[x, y\]"),
        ({"z": [[[1.0]]] * 12}, r"column 'z': holds lists of lists.*data.channels=\[z\]"),
        ({"id": ["s"] * 12}, r"row 1 .*column 'id': the id 's' was there before"),
        ({"y": [[1.0] * len(one) for one in SERIES[:-1]] + [[1.0, 2.0, np.inf, 0, 0, 0]]}, r"row 11 .*column 'y': step 2"),
    ],
)
def test_what_does_not_go_together_is_refused_with_row_and_column(tmp_path: Path, changed: dict, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read("parquet", parquet(tmp_path / "a.parquet", table(**changed)))


@pytest.mark.parametrize("cell", [[[1.0, 2.0], [3.0]], [[1.0, 2.0, 3.0]], [[], []], [None, [1.0, 2.0]], []])
def test_uneven_lists_of_lists_are_refused(tmp_path: Path, cell: list) -> None:
    frame = pl.DataFrame({"label": WORDS, "v": [*deep()["values"].to_list()[:-1], cell]}, strict=False)
    with pytest.raises(DataError, match=r"row 11 \(from 0\), column 'v'"):
        read("parquet", parquet(tmp_path / "a.parquet", frame))


def test_lists_of_lists_that_look_exchanged_are_a_warning(tmp_path: Path) -> None:
    frame = pl.DataFrame({"label": WORDS, "v": RANDOM.normal(size=(12, 2, 9)).tolist()})
    path = parquet(tmp_path / "a.parquet", frame)
    assert "data.axes=channels_first" in only("parquet", path).doubts[0]
    assert not only("parquet", path, axes="channels_last").doubts


def test_init_finds_lists_and_leaves_out_what_is_none(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", table(age=[float(n) for n in range(12)], patient=[f"p{n % 4}" for n in range(12)]))
    found = roles.find("parquet", path).columns
    assert (found.id, found.label, found.group, found.channels) == ("id", "label", "patient", ("x", "y"))
    assert len(only("parquet", path, **found.model_dump())) == 12
    assert roles.find("parquet", parquet(tmp_path / "b.parquet", deep())).columns.channels == ()
