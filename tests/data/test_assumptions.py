"""What a file says is taken as its owner means it, or a line says that it may mean something else. None of it is silent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import config
from pipeline.data.preparation.folder import prepare
from pipeline.data.prepared import Prepared
from pipeline.errors import DataError, UserError
from tests.support.series_files import npz, only, read

Cell = Callable[[int, int], object]


def wave(series: int, step: int) -> float:
    """A measurement: of class 1 it is higher by half."""
    return round(np.sin(1.7 * series + step) + series % 2 / 2, 3)


def table(
    x: Cell = wave, time: Cell = lambda i, t: t, id_: Cell = lambda i, t: f"s{i}", label: Cell = lambda i, t: "ab"[i % 2]
) -> str:
    """A long table of 16 series of 5 steps, whose cells depend on the series and the step."""
    rows = ([id_(i, t), time(i, t), label(i, t), x(i, t), wave(i + 3, t)] for i in range(16) for t in range(5))
    return "id,time,label,x,y\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)


def made(folder: Path, content: str | bytes | Path, test: str | None = None, **keys: Any) -> Prepared:
    """A file as it is prepared, beside another one for the test split."""
    shutil.rmtree(folder / "prepared", ignore_errors=True)
    path = content if isinstance(content, Path) else folder / "data.csv"
    if not isinstance(content, Path):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    split: dict[str, Any] = {"validation": 3, "test": 3}
    if test is not None:
        (folder / "test.csv").write_text(test)
        split = {"validation": 3, "test_path": str(folder / "test.csv")}
    data = config.Data(source=path.suffix[1:], path=str(path), prepared=str(folder / "prepared"), **(split | keys))
    return prepare(data)


def series(prepared: Prepared) -> dict[int, list[list[float]]]:
    """The values of each series by its number in the file."""
    found = {}
    for name in prepared.manifest.parts:
        part = prepared.part(name)
        ends = part.offsets.tolist() if part.offsets is not None else None
        for row, number in enumerate(part.index.tolist()):
            values = part.values[row] if ends is None else part.values[ends[row] : ends[row + 1]]
            found[number] = values.tolist()
    return found


PLAIN = {
    i: [[pytest.approx(wave(i, t), abs=1e-6), pytest.approx(wave(i + 3, t), abs=1e-6)] for t in range(5)] for i in range(16)
}

SAME: dict[str, str | bytes] = {
    "times that descend are put in order": "id,time,label,x,y\n" + "".join(reversed(table().splitlines(True)[1:])),
    "times with one offset from UTC": table(time=lambda i, t: f"2024-01-01T0{t}:00:00+01:00"),
    "times whose offset changes": table(time=lambda i, t: f"2024-03-31T0{t + (t > 1)}:30:00+0{1 + (t > 1)}:00"),
    "times with an offset as others write it": table(time=lambda i, t: f"2024-01-01 00:00:0{t}.5-0330"),
    "times in UTC": table(time=lambda i, t: f"2024-01-01T0{t}:00:00Z"),
    "times of minutes": table(time=lambda i, t: f"2024-01-01 00:0{t}"),
    "days": table(time=lambda i, t: f"2024-01-0{t + 1}"),
    "times below zero": table(time=lambda i, t: t - 3),
    "times of fractions": table(time=lambda i, t: t / 4),
    "times as 9 and 10, which words would exchange": table(time=lambda i, t: t + 7),
    "a mark at the begin of the file": b"\xef\xbb\xbf" + table().encode(),
    "ends of lines of other systems": table().replace("\n", "\r\n"),
    "lines without anything": table().replace("\ns3,0", "\n\n\ns3,0"),
    "separators at the end": table().replace("\n", ",\n"),
    "spaces around cells": table().replace(",", " , "),
    "numbers in quotes": table(x=lambda i, t: f'"{wave(i, t)}"'),
    "numbers with a sign": table(x=lambda i, t: f"{wave(i, t):+}"),
    "numbers as powers": table(x=lambda i, t: f"{wave(i, t):.6E}"),
    "ids that are large numbers": table(id_=lambda i, t: 2**60 + i),
    "labels with spaces around them": table(label=lambda i, t: [" a", "b "][i % 2]),
    "labels in quotes": table(label=lambda i, t: f'"{"ab"[i % 2]}"'),
}


@pytest.mark.parametrize("case", SAME)
def test_what_is_written_otherwise_and_means_the_same_is_the_same(case: str, tmp_path: Path) -> None:
    prepared = made(tmp_path, SAME[case])
    found = series(prepared)
    if case.startswith("times that descend"):
        found = {15 - number: values for number, values in found.items()}
    assert found == PLAIN and prepared.manifest.class_names == ("a", "b") and not prepared.manifest.doubts


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "thousands, which would be decimals": (
        table(x=lambda i, t: '"1,234"'),
        r"'1,234' is not a number; if the comma sets thousands apart, take it out; if it is a decimal comma, set data",
    ),
    "thousands and decimals": (table(x=lambda i, t: '"1,234.5"' if t else 5), r"line 3, column 'x': '1,234.5' is not a number"),
    "the header once more": (
        table() + table(),
        r"line 82, column 'x': 'x' is the name of this column: line 82 is the header once",
    ),
    "per cent": (table(x=lambda i, t: "12%"), r"line 2, column 'x': '12%' is not a number"),
    "numbers of computers": (table(x=lambda i, t: "0x1F"), r"'0x1F' is not a number"),
    "numbers of Python": (table(x=lambda i, t: "1_000"), r"'1_000' is not a number"),
    "another minus": (table(x=lambda i, t: "\u22121"), r"is not a number"),
    "digits of another script": (table(x=lambda i, t: "\u0661"), r"is not a number; (?!write a decimal point, or set)"),
    "an infinite value": (table(x=lambda i, t: "inf" if i == 3 else 1), r"line 17, column 'x': is infinite"),
    "a day that may be a month": (
        table(time=lambda i, t: f"0{t + 1}/02/2024"),
        r"line 2, column 'time': '01/02/2024' is no time",
    ),
    "times with and without an offset": (
        table(time=lambda i, t: f"2024-01-01T0{t}:00:00" + "+01:00" * (t == 2)),
        r"line 4, column 'time': '2024-01-01T02:00:00\+01:00' is no time, or none like those before it",
    ),
    "times of a clock": (table(time=lambda i, t: f"00:0{t}"), r"line 2, column 'time': '00:00' is no time"),
    "a time twice": (table(time=lambda i, t: min(t, 3)), r"series 's0' has this time already on line 5"),
    "ids that differ in spaces alone": (
        table(id_=lambda i, t: "s0 " if i == 1 else f"s{i}"),
        r"has this time already on line 2",
    ),
    "a label that changes": (
        table(label=lambda i, t: "ab"[t % 2]),
        r"'b', but series 's0' has the label 'a' in another row; give all its rows the same, or set data\.window=STEPS",
    ),
    "a label that is missing": (table(label=lambda i, t: "" if i == 3 else "ab"[i % 2]), r"line 17, column 'label': is empty"),
    "an id that is missing": (table(id_=lambda i, t: "" if i == 3 else f"s{i}"), r"line 17, column 'id': is empty"),
    "a value that is missing": (table(x=lambda i, t: "" if i == 3 else 1), r"line 17: channel 'x' has no value at step 0"),
    "a name twice": (table().replace("x,y", "x,x"), r"the name 'x' of column 5"),
    "UTF-16": (table().encode("utf-16"), r"line 1: byte 0xff is not UTF-8"),
    "Latin-1": (table(label=lambda i, t: "\u00c4b"[i % 2]).encode("latin-1"), r"line 2: byte 0xc4 is not UTF-8"),
    "old ends of lines": (table().replace("\n", "\r"), r"line 1: is no header"),
    "a header alone": ("id,time,label,x\n", r"no rows"),
    "no header": (table().split("\n", 1)[1], r"If line 1 holds values and no names: data.header=false"),
    "one class": (table(label=lambda i, t: "a"), r"are of class 'a'; a classifier needs two classes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_mean_two_things_is_refused_with_its_place(case: str, tmp_path: Path) -> None:
    content, said = REFUSED[case]
    with pytest.raises(UserError, match=said):
        made(tmp_path, content)


def test_where_one_series_needs_no_id_the_message_says_how_to_leave_it_out(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("time,x\n0,1\n1,2\n")
    with pytest.raises(DataError, match=r"no column 'id'; .* by --id=NAME; if the file is one series: --id=''$"):
        read("csv", path, labelled=False)
    assert len(only("csv", path, labelled=False, id="")) == 1
    path.write_text("time,x,label\n0,1,a\n1,2,b\n")
    with pytest.raises(DataError, match=r"by data.id=NAME$"):
        read("csv", path)


DOUBTS: dict[str, tuple[str, str]] = {
    "capitals": (table(label=lambda i, t: ("Walk", "walk")[i % 2]), "Walk, walk are different classes"),
    "blanks": (table(label=lambda i, t: ("sit down", "sit_down")[i % 2]), "sit down, sit_down are different classes"),
    "zeros ahead": (table(label=lambda i, t: ("01", "1")[i % 2]), "01, 1 are different classes"),
    "a label that is missing": (table(label=lambda i, t: ("NaN", "walk")[i % 2]), "'NaN' is a class of its own"),
    "a stand-in below": (table(x=lambda i, t: -999 if (i + t) % 7 == 0 else wave(i, t)), "channel 'x' holds -999 11 times"),
    "a stand-in above": (table(x=lambda i, t: 9999 if (i + t) % 7 == 0 else wave(i, t)), "channel 'x' holds 9999 11 times"),
    "a stand-in of a power": (
        table(x=lambda i, t: 1e20 if (i + t) % 7 == 0 else wave(i, t)),
        "channel 'x' holds 1e+20 11 times",
    ),
    "the number of the row": (table(x=lambda i, t: 5 * i + t), "channel 'x' counts the rows"),
    "the number of the step": (table(x=lambda i, t: t + 1), "channel 'x' counts the rows"),
    "the number of a person": (table(x=lambda i, t: 17 * i % 40), "channel 'x' is constant within every series"),
    "the class as a number": (table(x=lambda i, t: i % 2 + 5), "channel 'x' alone tells the class of every series: a LEAK"),
    "the class as a truth": (table(x=lambda i, t: i % 2 == 0), "channel 'x' alone tells the class of every series: a LEAK"),
    "states of one class each": (table(x=lambda i, t: 3 * (i % 2) + (i + t) % 3), "channel 'x' alone tells the class"),
}


@pytest.mark.parametrize("case", DOUBTS)
def test_what_is_likely_no_measurement_or_a_slip_is_prepared_with_a_warning(case: str, tmp_path: Path) -> None:
    content, said = DOUBTS[case]
    (line,) = made(tmp_path, content).manifest.doubts
    assert line.startswith(said)


def test_groups_that_may_be_one_are_named_since_splits_may_part_them(tmp_path: Path) -> None:
    group = [("P1", "p1", "P2", "P3")[series % 4] for series in range(16) for _ in range(5)]
    head, *rows = table().splitlines()
    content = "\n".join([f"{head},who", *(f"{row},{word}" for row, word in zip(rows, group, strict=True))]) + "\n"
    doubts = made(tmp_path, content, group="who", split="group").manifest.doubts
    (line,) = (line for line in doubts if "holds one group" not in line)
    assert line.startswith("P1, p1 are different groups, which splits may part")


def test_of_many_groups_that_may_be_one_five_are_named_and_of_classes_all(tmp_path: Path) -> None:
    words = [f"{letter}{number}" for number in range(8) for letter in "Pp"]
    rows = [f"s{i},{t},{words[i % 16]},{i * 7 % 5 + t},{words[i % 16]}\n" for i in range(64) for t in range(3)]
    content = "id,time,label,x,who\n" + "".join(rows)
    doubts = made(tmp_path, content, content.replace("\ns", "\nt"), group="who", validation=16).manifest.doubts
    assert [line.partition(" are")[0] for line in doubts if "different groups" in line] == [f"P{n}, p{n}" for n in range(5)]
    assert [line.partition(" are")[0] for line in doubts if "different classes" in line] == [f"P{n}, p{n}" for n in range(8)]


CERTAIN = {
    "classes of two signs": table(label=lambda i, t: (-1, 1)[i % 2]),
    "states of both classes": table(x=lambda i, t: (i + 2 * t) % 3),
    "99 among values like it": table(x=lambda i, t: (37 * i + 13 * t) % 100),
    "a value that stands for long": table(x=lambda i, t: wave(i, 0) if t < 4 else wave(i, 1)),
    "a constant, of which the report says so": table(x=lambda i, t: 7),
}


@pytest.mark.parametrize("case", CERTAIN)
def test_a_measurement_gets_no_warning(case: str, tmp_path: Path) -> None:
    assert not made(tmp_path, CERTAIN[case]).manifest.doubts


def test_a_warning_changes_nothing_of_what_a_run_knows_its_data_by(tmp_path: Path) -> None:
    prepared = made(tmp_path, DOUBTS["the number of the row"][0])
    manifest = prepared.folder / "manifest.json"
    assert "counts the rows" in manifest.read_text()
    manifest.write_text(manifest.read_text().replace("counts the rows", "is fine"))
    again = made_again(tmp_path)
    assert again.digest == prepared.digest and not again.made


def made_again(folder: Path) -> Prepared:
    """What is there already."""
    path = folder / "data.csv"
    return prepare(config.Data(source="csv", path=str(path), prepared=str(folder / "prepared"), validation=3, test=3))


def test_columns_of_the_test_file_are_found_by_their_names(tmp_path: Path) -> None:
    lines = [line.split(",") for line in table(id_=lambda i, t: f"q{i}").splitlines()]
    other = "".join(f"{y},{label},{time},{x},{id_}\n" for id_, time, label, x, y in lines)
    with pytest.raises(DataError, match=r"test.csv: its channels are y, x, but .*data.csv has x, y; .* data.channels"):
        made(tmp_path, table(), other)
    prepared = made(tmp_path, table(), other, channels=("x", "y"))
    assert prepared.part("test").values.tolist() == list(PLAIN.values())
    with pytest.raises(DataError, match=r"test.csv: its channels are x, y, z, but .*data.csv has x, y"):
        made(tmp_path, table(), "".join(f"{line},{n or 'z'}\n" for n, line in enumerate(table().splitlines())))
    with pytest.raises(DataError, match=r"test.csv: line 2: class 'c' is not one of .*data.csv \(a, b\)"):
        made(tmp_path, table(), table(label=lambda i, t: "c"))


def test_the_test_file_is_standardised_by_the_numbers_of_the_training_split(tmp_path: Path) -> None:
    prepared = made(tmp_path, table(), table(x=lambda i, t: 1000 + wave(i, t)))
    mean, scale = prepared.manifest.normalization("feature")
    train = prepared.part("train").values.flatten(0, 1)
    assert mean.tolist() == pytest.approx(train.mean(0).tolist(), abs=1e-6)
    assert (1 / scale).tolist() == pytest.approx(train.std(0, correction=0).tolist(), abs=1e-6)


@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_missing_at_the_end_of_a_row_of_an_array_is_no_step(channels: int, tmp_path: Path) -> None:
    values = np.arange(16.0 * 6 * channels).reshape(16, 6, channels) % 7
    values[3, 4:] = np.nan
    values[5, 2:] = np.nan
    values[7, 1] = np.nan  # in the middle it is a missing value
    stored = values[:, :, 0] if channels == 1 else values
    found = series(made(tmp_path, npz(tmp_path / "data.npz", values=stored, labels=["a", "b"] * 8), missing="forward"))
    assert [len(found[number]) for number in range(16)] == [4 if n == 3 else 2 if n == 5 else 6 for n in range(16)]
    assert found[7][1] == found[7][0]
    values[9] = np.nan
    with pytest.raises(DataError, match=r"array 'values': series 9 \(from 0\) has no value; leave it out"):
        made(tmp_path, npz(tmp_path / "data.npz", values=values, labels=["a", "b"] * 8), missing="mean")


@pytest.mark.parametrize(
    ("keys", "says"), [({"validation": 0}, "FILE$"), ({}, "FILE$"), ({"validation": 3}, "=0, or set data.test")]
)
def test_a_class_of_one_series_is_refused_with_what_is_not_set_already(keys: dict[str, Any], says: str, tmp_path: Path) -> None:
    content = table(label=lambda i, t: "rare" if i == 7 else "ab"[i % 2])
    (tmp_path / "data.csv").write_text(content)
    data = config.Data(source="csv", path=str(tmp_path / "data.csv"), prepared=str(tmp_path / "prepared"), **keys)
    with pytest.raises(DataError, match=r"line 37: class 'rare' has 1 series.*add some, leave these out, or set data.*" + says):
        prepare(data)
