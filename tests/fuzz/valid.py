"""Valid files of every format, made by chance, and what is in them: as lists of words and of arrays of float64."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

Random = np.random.Generator
CLASSES = (("a", "b"), ("1", "2", "10"), ("yes, please", "Ärger"), ("x y", "z"))
MISSING = ("", "NA", "?", "NaN", "nan")


@dataclass
class Sheet:
    """N series of F channels: what a file says."""

    series: list[Any]  # (T, F) float64 each
    labels: list[str]
    ids: list[str]
    channels: list[str]
    columns: dict[str, Any] = field(default_factory=dict)  # how the file is read
    source: str = ""  # the format of the files, where they may be of several


def numbers(random: Random, shape: tuple[int, ...]) -> Any:
    """Of any magnitude that single precision has, or whole, or small."""
    kind = random.integers(4)
    made = random.normal(size=shape)
    if kind == 0:
        made *= 10.0 ** random.integers(-30, 30, shape)
    elif kind == 1:
        made = np.round(made * 1000)
    elif kind == 2:
        made = made.astype(np.float32).astype(np.float64)
    return made


def sheet(random: Random, equal: bool = False, channels: int = 4, missing: bool = True) -> Sheet:
    """Fifteen to twenty series of two or three classes: enough for each to stand in every split."""
    count, width = int(random.integers(15, 21)), int(random.integers(1, channels + 1))
    lengths = random.integers(1, 9, count)
    lengths[:] = lengths[0] if equal else lengths
    series = [numbers(random, (int(steps), width)) for steps in lengths]
    if missing and random.integers(2):
        for one in series:
            one[random.random(one.shape) < 0.1] = np.nan
    for one in series:  # a wide table ends a series with its last value
        if np.isnan(one[-1]).all():
            one[-1, 0] = 0.5
    words = CLASSES[random.integers(len(CLASSES))]
    labels = [words[number % len(words)] for number in range(count)]
    return Sheet(series, labels, [f"s{number}" for number in range(count)], [f"ch {chr(97 + k)}" for k in range(width)])


def text(random: Random, value: float) -> str:
    """A number as one of the ways to write it."""
    if np.isnan(value):
        return MISSING[random.integers(len(MISSING))]
    return [repr(value), f"{value:.17g}", f"{value:.17e}", f" {value!r} "][random.choice(4, p=[0.5, 0.2, 0.2, 0.1])]


def long_rows(random: Random, made: Sheet) -> list[list[Any]]:
    """A row a step: id, time, label and the channels as floats; mostly in order, of one series beside the other."""
    rows = [
        [made.ids[n], t, made.labels[n], *map(float, step)] for n, one in enumerate(made.series) for t, step in enumerate(one)
    ]
    if random.integers(2):
        order = random.permutation(len(rows))
        rows = [rows[place] for place in order]
        seen = list(dict.fromkeys(row[0] for row in rows))
        again = [made.ids.index(name) for name in seen]
        made.series, made.labels = [made.series[n] for n in again], [made.labels[n] for n in again]
        made.ids = seen
    return rows


def written_csv(random: Random, path: Path, header: list[str], rows: list[list[Any]], floats: int) -> None:
    """By Python's own writer, with one of the separators, quotes and ends of lines."""
    separator = ",;\t"[random.integers(3)]
    if separator != ",":
        rows = [[cell if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    said = [
        [*row[:floats], *(text(random, cell) if isinstance(cell, float) else cell for cell in row[floats:])] for row in rows
    ]
    out = io.StringIO()
    quoting = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)[int(random.integers(6) == 0)]
    end = ("\n", "\r\n")[random.integers(2)]
    csv.writer(out, delimiter=separator, lineterminator=end, quoting=quoting).writerows([header, *said])
    path.write_text(out.getvalue(), encoding=("utf-8", "utf-8-sig")[int(random.integers(5) == 0)], newline="")


def long_csv(random: Random, path: Path) -> Sheet:
    made = sheet(random)
    written_csv(random, path, ["id", "time", "label", *made.channels], long_rows(random, made), 3)
    return made


def wide_table(random: Random) -> tuple[Sheet, list[str], list[list[Any]]]:
    """Cells behind the end of a series are None."""
    made = sheet(random)
    most = max(map(len, made.series))
    header = ["id", "label", *(f"{name}_{step}" for name in made.channels for step in range(most))]
    rows = []
    for n, one in enumerate(made.series):
        cells = [[*map(float, channel), *[None] * (most - len(one))] for channel in one.T]
        rows.append([made.ids[n], made.labels[n], *(cell for channel in cells for cell in channel)])
    made.columns = {"layout": "wide"}
    return made, header, rows


def wide_csv(random: Random, path: Path) -> Sheet:
    made, header, rows = wide_table(random)
    written_csv(random, path, header, [["" if cell is None else cell for cell in row] for row in rows], 2)
    return made


def frame(random: Random, header: list[str], rows: list[list[Any]], floats: int) -> pl.DataFrame:
    """Of the types that hold the numbers; missing ones are null or NaN."""
    schema = {name: (pl.Float64 if place >= floats else None) for place, name in enumerate(header)}
    made = pl.DataFrame(rows, schema=schema, orient="row")
    if random.integers(2):
        made = made.with_columns(pl.selectors.float().fill_nan(None)) if floats == 3 else made
    if random.integers(4) == 0:
        made = made.with_columns(pl.col("label").cast(pl.Categorical))
    return made


def written_parquet(random: Random, path: Path, made: pl.DataFrame) -> None:
    packing = ("zstd", "snappy", "gzip", "lz4", "uncompressed")[random.integers(5)]
    made.write_parquet(path, compression=packing, row_group_size=int(random.choice([3, 10, 1000])), statistics=True)  # type: ignore[arg-type]


def long_parquet(random: Random, path: Path) -> Sheet:
    made = sheet(random)
    written_parquet(random, path, frame(random, ["id", "time", "label", *made.channels], long_rows(random, made), 3))
    return made


def wide_parquet(random: Random, path: Path) -> Sheet:
    made, header, rows = wide_table(random)
    written_parquet(random, path, frame(random, header, rows, 2))
    return made


def npz(random: Random, path: Path) -> Sheet:
    """Padded, end to end with lengths or offsets, or an array a series; packed or not, in any order of bytes."""
    form = ("padded", "lengths", "offsets", "keyed")[random.integers(4)]
    made = sheet(random)
    lengths = np.array([len(one) for one in made.series])
    kind = np.dtype(["<f8", ">f8", "<f4", "<f2"][random.choice(4, p=[0.5, 0.2, 0.2, 0.1])])
    with np.errstate(over="ignore"):
        stored = [one.astype(kind) for one in made.series]
    for one in stored:
        one[np.isinf(one)] = 1
    made.series = [one.astype(np.float64) for one in stored]
    arrays: dict[str, Any] = {"labels": np.array(made.labels), "channels": np.array(made.channels)}
    if form == "keyed":
        arrays |= {f"s{n}": one for n, one in enumerate(stored)}
    else:
        arrays["ids"] = np.array(made.ids)
        arrays["values"] = np.concatenate(stored)
        arrays |= {"lengths": lengths} if form != "offsets" else {"offsets": np.concatenate([[0], np.cumsum(lengths)])}
        if form == "padded":
            arrays["values"] = np.full((len(lengths), lengths.max(), len(made.channels)), 7, kind)
            for own, one in zip(arrays["values"], stored, strict=True):
                own[: len(one)] = one
        if random.integers(4) == 0:
            arrays["values"] = np.asfortranarray(arrays["values"])
    with path.open("wb") as file:
        (np.savez, np.savez_compressed)[random.integers(2)](file, **arrays)
    return made


def plain_words(made: Sheet) -> None:
    """Labels without commas and spaces, which the archives' own formats do not have; ids and channels have no names there."""
    made.labels = ["".join(letter for letter in word if letter.isalnum()) for word in made.labels]
    made.ids = [str(number) for number in range(len(made.series))]
    made.channels = [f"channel_{number}" for number in range(made.series[0].shape[1])]


def ts(random: Random, path: Path) -> Sheet:
    made = sheet(random, equal=bool(random.integers(2)))
    plain_words(made)
    gap = ("?", "NaN")[random.integers(2)]
    head = ["@problemName by chance", f"@classLabel true {' '.join(dict.fromkeys(made.labels))}"]
    if random.integers(2):
        head += ["@timeStamps false", f"@univariate {str(len(made.channels) == 1).lower()}", "# a comment"]
    lines = []
    for one, label in zip(made.series, made.labels, strict=True):
        channels = [",".join(gap if np.isnan(x) else repr(float(x)) for x in channel) for channel in one.T]
        lines.append(":".join([*channels, label]))
    path.write_text("\n".join([*head, "@data", *lines]) + "\n", encoding="utf-8")
    return made


def arff(random: Random, path: Path) -> Sheet:
    made = sheet(random, channels=1)
    plain_words(made)
    most = max(map(len, made.series))
    head = ["% by chance", "@RELATION 'by chance'", *(f"@ATTRIBUTE att{step} NUMERIC" for step in range(most))]
    head += [f"@ATTRIBUTE target {{{','.join(dict.fromkeys(made.labels))}}}", "", "@DATA"]
    lines = []
    for one, label in zip(made.series, made.labels, strict=True):
        cells = ["?" if np.isnan(x) else repr(float(x)) for x in one[:, 0]]
        lines.append(",".join([*cells, *["?"] * (most - len(one)), label]))
    path.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
    return made


def anything(random: Random, depth: int = 3) -> Any:
    """A value as JSON has them."""
    kind = random.integers(8 if depth else 6)
    if kind == 6:
        return [anything(random, depth - 1) for _ in range(random.integers(4))]
    if kind == 7:
        return {f"key {number}": anything(random, depth - 1) for number in range(random.integers(4))}
    word = ["no", "1e3", "~", "a: b", "# c", "", "Ärger", "\u2028", "'", '"', "0x1f", "null", "- x", "\t"][random.integers(14)]
    return [None, True, int(random.integers(-(2**40), 2**40)), float(numbers(random, ())), word, word * 3][kind]


def yaml(random: Random, path: Path) -> Any:
    """JSON, which is YAML 1.2."""
    made = {"top": anything(random), "list": [anything(random) for _ in range(3)]}
    path.write_text(json.dumps(made, indent=[None, 2][random.integers(2)], ensure_ascii=False), encoding="utf-8")
    return made
