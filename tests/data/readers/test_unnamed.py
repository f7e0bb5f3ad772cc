"""Columns without a name: the row numbers and row names of R and pandas, and what spreadsheets leave behind a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline import config
from pipeline.data.inspection import roles
from pipeline.data.preparation.folder import prepare
from pipeline.data.readers.tables import csv_lines
from pipeline.errors import DataError
from tests.support.series_files import only, read

ROWS = [
    (f"s{i}", t, "ab"[i % 2], round(np.sin(i + t), 3), round(np.cos(2 * i + t) + i % 2, 3)) for i in range(16) for t in range(5)
]
HEAD = "id,time,label,x,y"
VALUES = [list(row[3:]) for row in ROWS]
WORDS = [",".join(map(str, row)) for row in ROWS]


def text(head: str, rows: list[str]) -> str:
    return "\n".join([head, *rows]) + "\n"


def quoted(row: str) -> str:
    return ",".join(f'"{cell}"' if cell[0].isalpha() else cell for cell in row.split(","))


LONG = {
    "R: write.csv": text('"","id","time","label","x","y"', [f'"{n}",{quoted(row)}' for n, row in enumerate(WORDS, 1)]),
    "R: names of rows": text('"","id","time","label","x","y"', [f'"row {n}",{quoted(row)}' for n, row in enumerate(WORDS)]),
    "R: write.csv2": text('"";"id";"time";"label";"x";"y"', [f'"{n}";{row}'.replace(",", ";") for n, row in enumerate(WORDS)]),
    "R: write.table": text(
        '"id" "time" "label" "x" "y"', [f'"{n}" {quoted(row)}'.replace(",", " ") for n, row in enumerate(WORDS, 1)]
    ),
    "R: write.table with tabs, no quotes": text(
        HEAD.replace(",", "\t"), [f"{n}\t{row}".replace(",", "\t") for n, row in enumerate(WORDS, 1)]
    ),
    "R: write.table with commas": text(
        '"id","time","label","x","y"', [f'"{n}",{quoted(row)}' for n, row in enumerate(WORDS, 1)]
    ),
    "pandas: to_csv": text(f",{HEAD}", [f"{n},{row}" for n, row in enumerate(WORDS)]),
    "pandas: an index of some rows": text(f",{HEAD}", [f"{7 * n % 641},{row}" for n, row in enumerate(WORDS)]),
    "pandas: two levels": text(f",,{HEAD}", [f"{n // 5},{n % 5},{row}" for n, row in enumerate(WORDS)]),
    "a mark before it": "\ufeff" + text(f",{HEAD}", [f"{n},{row}" for n, row in enumerate(WORDS)]),
    "empty columns behind": text(f"{HEAD},,", [f"{row},," for row in WORDS]),
    "empty columns behind the rows alone": text(HEAD, [f"{row}," for row in WORDS]),
    "an empty column within": text(
        "id,time,,label,x,y", [row.replace(f",{row.split(',')[1]},", f",{row.split(',')[1]},,", 1) for row in WORDS]
    ),
    "empty rows behind": text(HEAD, WORDS) + ",,,,\n" * 30,
    "empty columns and rows behind": text(f"{HEAD},,,", [f"{row},,," for row in WORDS]) + ",,,,,,,\n" * 3,
    "the separator first": "sep=,\n" + text(HEAD, WORDS),
    "the separator first, in quotes, of another system": ('"sep=;"\n' + text(HEAD, WORDS).replace(",", ";")).replace(
        "\n", "\r\n"
    ),
    "the separator first, behind a mark": "\ufeffsep=\t\n" + text(HEAD, WORDS).replace(",", "\t"),
}


def written(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize("case", LONG)
def test_a_long_table_is_read_as_it_is_without_what_has_no_name(tmp_path: Path, case: str) -> None:
    got = only("csv", written(tmp_path / "a.csv", LONG[case]))
    assert got.channels == ("x", "y") and got.values.tolist() == VALUES and got.labels == ("a", "b") * 8
    first = LONG[case].lstrip("\ufeff")
    assert got.rows.tolist()[:2] == [2 + first.startswith(("sep", '"sep')), 7 + first.startswith(("sep", '"sep'))]
    has_index = case.startswith(("R", "pandas", "a mark", "empty col", "an empty"))
    assert bool(got.doubts) == has_index, "what is left out is said"


@pytest.mark.parametrize("case", LONG)
def test_init_reads_it_so_and_so_does_predict(tmp_path: Path, case: str) -> None:
    path = written(tmp_path / "a.csv", LONG[case])
    found = roles.find("csv", path)
    wanted = found.columns.model_dump()
    assert (wanted["id"], wanted["time"], wanted["label"], wanted["channels"]) == ("id", "time", "label", ("x", "y"))
    assert not [line for line in found.doubts if "words" in line]
    assert only("csv", path, **wanted, labelled=False).values.tolist() == VALUES


def wide(head: list[str], lead: str = "{}") -> str:
    rows = [",".join([lead.format(i + 1), "ab"[i % 2], *(str(row[3]) for row in ROWS[5 * i : 5 * i + 5])]) for i in range(16)]
    return text(",".join(head), [row.lstrip(",") for row in rows])


@pytest.mark.parametrize("steps", [[f"V{t}" for t in range(5)], [f"x_{t}" for t in range(5)]])
def test_a_wide_table_has_no_step_more_for_an_index(tmp_path: Path, steps: list[str]) -> None:
    path = written(tmp_path / "a.csv", wide(["", "label", *steps], '"{}"'))
    got = only("csv", path, layout="wide")
    assert got.values[:, 0].tolist() == [row[3] for row in ROWS] and len(got) == 16 and "'Unnamed: 0'" not in got.channels
    assert got.doubts == ("Unnamed: 0: left out, as columns without a name are; data.channels names what is read",)
    assert only("csv", path, layout="wide", id="Unnamed: 0").ids == tuple(map(str, range(1, 17))), (
        "it has a name to be asked for"
    )
    table = pl.DataFrame(
        {"__index_level_0__": np.arange(3, 19), "label": ["a", "b"] * 8} | {name: [0.5, 1.5] * 8 for name in steps}
    )
    table.write_parquet(tmp_path / "a.parquet")
    assert only("parquet", tmp_path / "a.parquet", layout="wide").lengths.tolist() == [5] * 16


def test_names_of_rows_are_the_ids_of_a_wide_table_for_init(tmp_path: Path) -> None:
    columns = roles.find(
        "csv", written(tmp_path / "a.csv", wide(["", "label", *(f"V{t}" for t in range(5))], '"run{}"'))
    ).columns
    assert (columns.layout, columns.id, columns.label) == ("wide", "Unnamed: 0", "label")


def test_the_index_of_a_frame_in_parquet_is_left_out_and_said(tmp_path: Path) -> None:
    ids, times, labels, x, y = zip(*ROWS, strict=True)
    frame = {
        "id": ids,
        "time": times,
        "label": labels,
        "x": x,
        "y": y,
        "__index_level_0__": np.random.default_rng(0).permutation(80),
    }
    pl.DataFrame(frame).write_parquet(tmp_path / "a.parquet")
    got = only("parquet", tmp_path / "a.parquet")
    assert got.values.tolist() == VALUES and "__index_level_0__: left out" in got.doubts[0]
    assert "__index_level_0__" not in roles.find("parquet", tmp_path / "a.parquet").columns.channels
    named = only("parquet", tmp_path / "a.parquet", channels=("x", "__index_level_0__"))
    assert named.channels == ("x", "__index_level_0__") and not named.doubts, (
        "an older model that was trained on it still reads it"
    )


def test_what_is_left_out_is_among_the_warnings_of_prepare(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", LONG["R: write.csv"])
    data = config.Data(source="csv", path=str(path), prepared=str(tmp_path / "prepared"), validation=3, test=3)
    assert prepare(data).manifest.doubts == (
        "Unnamed: 0: left out, as columns without a name are; data.channels names what is read",
    )


REFUSED = {
    "values behind the last name": (text(f"{HEAD},", [f"{row},7" for row in WORDS]), r"line 1: column 6 has no name; give"),
    "a value far below in a column without a name": (
        text(f"{HEAD},,", [f"{row},{7 if n == 70 else ''}," for n, row in enumerate(WORDS)]),
        r"line 72: '7' stands in a column without a name; name column 6 in the header",
    ),
    "decimal commas between commas": (
        text("id,time,label,x", [f"{i},{t},{'ab'[i % 2]},{i},5" for i, t in ((i, t) for i in range(9) for t in range(3))]),
        r"line 2: 5 cells, but the header names 4 columns",
    ),
    "names of rows that come again": (
        text("id time label x y", [f"{n // 2} {row}".replace(",", " ") for n, row in enumerate(WORDS)]),
        r"line 2: 6 cells, but the header names 5 columns",
    ),
    "no name at all": (text(",,,", ["1,2,3,4"] * 9), r"column 1 has no name"),
    "an empty row in the middle": (text(HEAD, [*WORDS[:40], ",,,,", *WORDS[40:]]), r"line 42, column 'id': is empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_be_a_slip_is_refused(tmp_path: Path, case: str) -> None:
    content, said = REFUSED[case]
    with pytest.raises(DataError, match=said):
        only("csv", written(tmp_path / "a.csv", content))


def test_empty_rows_at_the_end_of_blocks_are_none_and_lines_still_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.csv", text(HEAD, WORDS) + ",,,,\n" * 50)
    whole = only("csv", path)
    for size in (64, 100, 333):
        monkeypatch.setattr(csv_lines, "BLOCK", size)
        monkeypatch.setattr(csv_lines, "TALL", 1)
        got = read("csv", path)
        assert np.concatenate([one.values for one in got]).tolist() == VALUES
        assert np.concatenate([one.rows for one in got]).tolist() == whole.rows.tolist()
    with pytest.raises(DataError, match="line 50, column 'id': is empty"):
        only("csv", written(path, text(HEAD, [*WORDS[:48], *[",,,,"] * 20, *WORDS[48:]])))
