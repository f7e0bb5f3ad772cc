"""Valid series in the shapes that formats share: recordings, parts, lists, windows, pixels, axes; and what is in them.

Each function writes into a folder, and returns what a reader must find and the file to damage.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.fuzz import valid
from tests.fuzz.valid import Random, Sheet

ENDINGS = ("csv", "parquet", "npz", "ts")


def recordings(random: Random, folder: Path) -> tuple[Sheet, Path]:
    """A folder per class with a file per recording, of one of the formats; packed or not, with times or without."""
    source = ENDINGS[random.integers(len(ENDINGS))]
    made = valid.sheet(random, missing=source != "npz")
    if source in ("npz", "ts"):
        made.channels = [f"channel_{k}" for k in range(len(made.channels))]
    packed = ".gz" * int(source == "csv" and random.integers(4) == 0)
    again = bool(random.integers(2))  # whether each class counts its recordings anew, so that names are there twice
    paths, counts = [], Counter[str]()
    for number, word in enumerate(made.labels):
        counts[word] += 1
        paths.append(folder / "data" / word / f"{counts[word] if again else number:03}.{source}{packed}")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        _recording(random, paths[-1], source, made, number)
    order = sorted(range(len(paths)), key=lambda number: paths[number].parts)
    names = [paths[number].name if not again else f"{paths[number].parent.name}/{paths[number].name}" for number in order]
    found = Sheet([made.series[n] for n in order], [made.labels[n] for n in order], names, made.channels, source=source)
    return found, paths[random.integers(len(paths))]


def _recording(random: Random, path: Path, source: str, made: Sheet, number: int) -> None:
    values = made.series[number]
    if source == "npz":
        np.savez(path, only=values)
    elif source == "ts":
        channels = (",".join("?" if np.isnan(x) else repr(float(x)) for x in channel) for channel in values.T)
        path.write_text("@classLabel false\n@data\n" + ":".join(channels) + "\n")
    else:
        rows = [[t, *map(float, step)] for t, step in enumerate(values)]
        if random.integers(4) == 0:
            rows = [rows[place] for place in random.permutation(len(rows))]
        header = ["time", *made.channels]
        if source == "parquet":
            valid.written_parquet(random, path, pl.DataFrame(rows, schema=header, orient="row"))
            return
        valid.written_csv(random, path, header, rows, 1)
        if path.suffix == ".gz":
            path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def parts(random: Random, folder: Path) -> tuple[Sheet, Path]:
    """A long table in two to four files side by side, some with their columns in another order."""
    made = valid.sheet(random)
    made.source = ("csv", "parquet")[random.integers(2)]
    header, rows = ["id", "time", "label", *made.channels], valid.long_rows(random, made)
    ends = sorted({0, len(rows), *random.integers(1, len(rows), random.integers(1, 4)).tolist()})
    target = folder / "data"
    target.mkdir()
    (target / "_SUCCESS").touch()
    for number, (first, last) in enumerate(pairwise(ends)):
        path = target / f"part-{number:05}.{made.source}"
        if made.source == "parquet":
            found = valid.frame(random, header, rows[first:last], 3)
            order = random.permutation(len(header)) if number and random.integers(2) else range(len(header))
            valid.written_parquet(random, path, found[[header[place] for place in order]])
        else:
            order = random.permutation(3) if number and random.integers(2) else range(3)
            valid.written_csv(random, path, *_reordered(order, header, rows[first:last]), 3)
    return made, target / f"part-{random.integers(len(ends) - 1):05}.{made.source}"


def _reordered(order: Iterable[int], header: list[str], rows: list[list[Any]]) -> tuple[list[str], list[list[Any]]]:
    """The first columns in another order, and the others as they are."""
    places = [*order, *range(3, len(header))]
    return [header[place] for place in places], [[row[place] for place in places] for row in rows]


def lists(random: Random, folder: Path) -> tuple[Sheet, Path]:
    """Parquet with a row per series: a list of steps a channel, or one list of lists in either order."""
    equal, form = bool(random.integers(2)), ("a channel", "channels_last", "channels_first")[random.integers(3)]
    made = valid.sheet(random, equal=equal)
    inner = (pl.Float64, pl.Float32)[int(random.integers(4) == 0)]
    if inner == pl.Float32:
        made.series = [one.astype(np.float32).astype(np.float64) for one in made.series]
    absent = (None, float("nan"))[random.integers(2)]
    stored = [[[absent if np.isnan(x) else float(x) for x in channel] for channel in one.T] for one in made.series]
    steps, width = len(made.series[0]), len(made.channels)
    columns: dict[str, Any] = {"id": made.ids, "label": made.labels}
    fixed = equal and bool(random.integers(2))
    if form == "a channel":
        kind: Any = pl.Array(inner, steps) if fixed else pl.List(inner)
        columns |= {name: pl.Series([one[k] for one in stored], dtype=kind) for k, name in enumerate(made.channels)}
    else:
        made.channels, made.columns = [f"channel_{k}" for k in range(width)], {"axes": form}
        last = form == "channels_last"
        kind = pl.Array(inner, (steps, width) if last else (width, steps)) if fixed else pl.List(pl.List(inner))
        columns["all"] = pl.Series([list(map(list, zip(*one, strict=True))) if last else one for one in stored], dtype=kind)
    valid.written_parquet(random, folder / "data.parquet", pl.DataFrame(columns))
    return made, folder / "data.parquet"


def windows(random: Random, folder: Path) -> tuple[Sheet, Path]:
    """A long table with a label a step, of which windows are cut: enough for each class to stand in every split."""
    while True:
        made, labels = valid.sheet(random), []
        kinds = sorted({*made.labels})
        for one, label in zip(made.series, made.labels, strict=True):
            first = int(random.integers(len(one))) if random.integers(2) else len(one)
            labels.append([label] * first + [kinds[random.integers(len(kinds))]] * (len(one) - first))
        found = _cut(random, made, labels)
        if len(found.labels) >= 15 and min(found.labels.count(word) for word in kinds) >= 4:
            break
    steps = [(n, t) for n, one in enumerate(made.series) for t in range(len(one))]
    rows = [[made.ids[n], t, labels[n][t], *map(float, made.series[n][t])] for n, t in steps]
    valid.written_csv(random, folder / "data.csv", ["id", "time", "label", *made.channels], rows, 3)
    return found, folder / "data.csv"


def _cut(random: Random, made: Sheet, labels: list[list[str]]) -> Sheet:
    """The windows of series whose steps have ``labels``, of a size, a distance and a rule by chance."""
    size, stride, single = int(random.integers(1, 9)), int(random.integers(0, 7)), bool(random.integers(2))
    columns = {"window": size, "stride": stride, "window_label": "single" if single else "majority"}
    found = Sheet([], [], [], made.channels, columns | {"split": ("stratified", "group")[random.integers(2)]})
    for name, one, words in zip(made.ids, made.series, labels, strict=True):
        for begin in range(0, max(len(one) - size, 0) + 1, stride or size):
            own = words[begin : begin + size]
            if single and len({*own}) > 1:
                continue
            found.series.append(one[begin : begin + size])
            found.labels.append(Counter(own).most_common(1)[0][0])  # of several the first
            found.ids.append(f"{name}:{begin}")
    return found


def pixels(random: Random, folder: Path) -> tuple[Sheet, Path]:
    """A table with an image a row, its columns named in one of the usual ways or not at all."""
    height, width, count = (int(number) for number in random.integers([1, 2, 15], [6, 6, 21]))
    values = random.integers(0, 256, (count, height, width)).astype(float)
    name = ("pixel{}", "pixel_{}", "p{}", "{}")[random.integers(4)]
    last = bool(random.integers(2))
    labels = [["0", "1", "12"][number % 3] for number in range(count)]
    cells = [[*map(str, image.ravel().astype(int))] for image in values]
    rows = [[*row, label] if last else [label, *row] for row, label in zip(cells, labels, strict=True)]
    names = [name.format(number) for number in range(height * width)]
    header, columns = [*names, "label"] if last else ["label", *names], {}
    if name == "{}":
        header, rows, columns = rows[0], rows[1:], {"header": False, "label": "-1" if last else "0"}
    valid.written_csv(random, folder / "data.csv", header, rows, len(header))
    columns |= {"layout": "wide", "id": "", "steps": height, "time": ""}
    ids, channels = list(map(str, range(count))), [f"channel_{k}" for k in range(width)]
    return Sheet([*values], labels, ids, channels, columns), folder / "data.csv"


def exchanged(random: Random, folder: Path) -> tuple[Sheet, Path]:
    """An archive whose axis of channels stands before that of steps: all series in one array, padded or not, or one each."""
    form = ("equal", "lengths", "keyed")[random.integers(3)]
    made = valid.sheet(random, equal=form == "equal", missing=form != "equal")
    made.channels, made.columns = [f"channel_{k}" for k in range(len(made.channels))], {"axes": "channels_first"}
    lengths = np.array([len(one) for one in made.series])
    arrays: dict[str, Any] = {"y": np.array(made.labels), "ids": np.array(made.ids)}
    if form == "keyed":
        arrays = {"labels": arrays["y"]} | {name: one.T for name, one in zip(made.ids, made.series, strict=True)}
    else:
        arrays["X"] = np.full((len(lengths), len(made.channels), lengths.max()), 7.0)
        for own, one in zip(arrays["X"], made.series, strict=True):
            own[:, : len(one)] = one.T
        if form == "lengths":
            arrays["lengths"] = lengths
        if random.integers(4) == 0:
            arrays["X"] = np.asfortranarray(arrays["X"])
    with (folder / "data.npz").open("wb") as file:
        (np.savez, np.savez_compressed)[random.integers(2)](file, **arrays)
    return made, folder / "data.npz"
