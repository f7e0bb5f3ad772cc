"""Series of the user's own files -> the parts of a prepared folder, in bounded memory.

The file is read once, into a temporary one (``spool``). Then the parts are chosen, and each is cleaned and written block by
block. Shapes: N series, S steps of all of them, C channels of the file, F features.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import config, files
from pipeline.data import clean, split
from pipeline.data.clean import Cleaning
from pipeline.data.manifest import FORMAT, REPEATED_SHOWN, Channels, Manifest, Name, PartInfo, SeriesInfo, Shard
from pipeline.data.preparation import shards
from pipeline.data.preparation.moments import Moments
from pipeline.data.preparation.spool import Spool, repeated, spool
from pipeline.data.prepared import settings_of
from pipeline.data.readers import formats
from pipeline.data.series import Array, Columns, Where, cuts
from pipeline.data.sources import catalog
from pipeline.errors import DataError


def write(folder: Path, data: config.Data) -> Manifest:
    """Write the parts of ``data`` into ``folder``, and return what a manifest says of them.

    Raises DataError, with file and row, for what is wrong with the files.
    """
    paths = catalog.own_files(data)
    temporaries = [folder / f".spool{number}" for number in range(len(paths))]
    spools = [_read(path, data, temporary) for path, temporary in zip(paths, temporaries, strict=True)]
    train, test = spools[0], spools[-1]
    class_names = _class_names(train, data)
    labels = [_labels(spool, train, class_names) for spool in spools]
    chosen = _choose(spools, labels, class_names, data)
    _refuse_other_channels(train, test)
    known = np.sort(np.concatenate([chosen["train"][1], chosen["valid"][1]]))
    twins = repeated(train, known, test, chosen["test"][1])
    cleaning = _learn(train, chosen["train"][1], clean.cleaning(data, train.channels))
    parts, moments = {}, {}
    for name, (source, rows) in chosen.items():
        if len(rows):
            parts[name], moments[name] = _write(
                folder, name, source, rows, labels[spools.index(source)][rows], cleaning, len(class_names), data.shard_mb
            )
    for temporary in temporaries:
        temporary.unlink()
    found = moments["train"]
    global_mean, global_std = found.whole
    longest = parts["train"].lengths
    assert longest is not None
    return Manifest(
        format=FORMAT,
        settings=settings_of(data),
        source=data.source,
        class_names=class_names,
        length=longest[1],
        features=len(cleaning.features),
        image=None,
        order=None,
        value_range=(float(found.low.min()), float(found.high.max())),
        parts=parts,
        source_files={str(path): files.sha256(path) for path in paths},
        mean=tuple(found.mean.tolist()),
        std=tuple(found.std.tolist()),
        global_mean=global_mean,
        global_std=global_std,
        repeated=len(twins),
        repeated_rows=tuple(twins[:REPEATED_SHOWN]),
        series=SeriesInfo(
            **cleaning.of(Channels),
            low=tuple(found.low.tolist()),
            high=tuple(found.high.tolist()),
        ),
    )


def _read(path: Path, data: config.Data, temporary: Path) -> Spool:
    return spool(path, formats.read(data.source, path, Columns(**data.of(config.Columns))), temporary)


def _class_names(train: Spool, data: config.Data) -> tuple[str, ...]:
    """The words of the labels, in the order of their numbers if all are numbers, else of their text.

    Raises DataError if there is only one, or if one has too few series for the parts that are cut.
    """
    if len(train.words) == 1:
        raise DataError(
            f"{train.source}: all {len(train)} series, from {train.unit} {train.rows[0]} to {train.unit} {train.rows[-1]}, "
            f"are of class {train.words[0]!r}; a classifier needs two classes: check data.label = {data.label}"
        )
    needed = 1 + (bool(data.validation) + (not data.test_path)) * (data.split == "stratified")
    counts = np.bincount(train.labels)
    for number in np.flatnonzero(counts < needed):
        rows = ", ".join(str(train.rows[row]) for row in np.flatnonzero(train.labels == number))
        raise DataError(
            f"{train.source}: {train.unit} {rows}: class {train.words[number]!r} has {counts[number]} series; to cut the "
            f"parts, each class needs {needed}: add some, or set data.validation=0 or data.test_path"
        )
    return split.class_order(train.words)


def _labels(found: Spool, train: Spool, class_names: tuple[str, ...]) -> Array:
    """(N) the class of each series. Raises DataError for one that the training file does not have."""
    ranks = {word: rank for rank, word in enumerate(class_names)}
    of_word = np.array([ranks.get(word, -1) for word in found.words])
    labels: Array = of_word[found.labels]
    if (labels < 0).any():
        row = int(labels.argmin())
        raise DataError(
            f"{found.place(row)}: class {found.words[found.labels[row]]!r} is not one of {train.source} "
            f"({', '.join(class_names)}); correct it, or put such series into that file too"
        )
    return labels.astype(np.int64)


def _choose(
    spools: list[Spool], labels: list[Array], class_names: tuple[str, ...], data: config.Data
) -> dict[Name, tuple[Spool, Array]]:
    """The rows of each part, ascending, and where they are; validation is cut from what the test part leaves of ``path``."""
    train, test = spools[0], spools[-1]
    for found in spools:
        if data.split == "group" and found.groups is None:
            raise DataError(f"{found.source}: has no groups; name their column with data.group, or leave data.split out")
        if data.split == "time":
            if found.times is None:
                raise DataError(f"{found.source}: has no times; name their column with data.time, or leave data.split out")
            unknown = np.flatnonzero(np.isnat(found.times) if found.times.dtype.kind == "M" else np.isnan(found.times))
            if len(unknown):
                raise DataError(f"{found.place(unknown[0])}: has no time, which data.split = time needs")
    _refuse_shared_groups(train, test, data)
    rows = np.arange(len(train))
    try:
        if test is train:
            rows, test_rows = _cut(train, rows, labels[0], "test", class_names, data)
        else:
            test_rows = np.arange(len(test))
        kept, held_out = _cut(train, rows, labels[0], "validation", class_names, data)
    except DataError as error:
        raise DataError(f"{train.source}: {error}") from None
    return {"train": (train, kept), "valid": (train, held_out), "test": (test, test_rows)}


def _cut(
    found: Spool, rows: Array, labels: Array, key: Any, class_names: tuple[str, ...], data: config.Data
) -> tuple[Array, Array]:
    groups = None if found.groups is None else found.groups[rows]
    times = None if found.times is None else found.times[rows]
    kept, held_out = split.cut(data, key, labels[rows], class_names, groups, times)
    return rows[kept], rows[held_out]


def _refuse_shared_groups(train: Spool, test: Spool, data: config.Data) -> None:
    shared = set(train.group_words) & set(test.group_words)
    if data.split == "group" and test is not train and shared and test.groups is not None:
        row = next(row for row, group in enumerate(test.groups) if test.group_words[group] in shared)
        raise DataError(
            f"{test.place(row)}: {data.group} {test.group_words[test.groups[row]]!r} is in {train.source} too; with "
            "data.split = group none may stand on both sides: move its series to one file"
        )


def _refuse_other_channels(train: Spool, test: Spool) -> None:
    if test.channels != train.channels:
        raise DataError(
            f"{test.source}: its channels are {', '.join(test.channels)}, but {train.source} has "
            f"{', '.join(train.channels)}; give both files the same columns, or name them with data.channels"
        )


def _learn(train: Spool, rows: Array, cleaning: Cleaning) -> Cleaning:
    """``cleaning`` with what it takes from the training part. Raises DataError for a channel without a value there."""
    moments = Moments(len(train.channels))
    for numbers, values, lengths in train.blocks(rows):
        where = _where(train, numbers)
        values, lengths = cleaning.cut(values, lengths, where)
        cleaning.refuse_missing(np.isnan(values), lengths, where)
        moments.add(values)
    empty = [train.channels[number] for number in np.flatnonzero(moments.count == 0)]
    if empty:
        others = [name for name in train.channels if name not in empty]
        raise DataError(
            f"{train.source}: channel {empty[0]!r} has no value in any training series; leave it out: "
            f"data.channels=[{', '.join(others)}]"
        )
    masked = np.flatnonzero(moments.missing) if cleaning.missing == "mask" else np.empty(0, np.int64)
    return cleaning.model_copy(update={"fill": tuple(moments.mean.tolist()), "masked": tuple(masked.tolist())})


def _where(found: Spool, numbers: Array) -> Where:
    return lambda series: found.place(int(numbers[series]))


def _write(
    folder: Path, name: Name, found: Spool, rows: Array, labels: Array, cleaning: Cleaning, classes: int, limit_mb: int
) -> tuple[PartInfo, Moments]:
    """Clean and write one part, and return what the manifest says of it and the statistics of its features."""
    lengths = np.minimum(found.lengths[rows], cleaning.max_length or found.lengths.max())
    lengths = np.full_like(lengths, cleaning.resample) if cleaning.resample else lengths
    features, equal = len(cleaning.features), int(lengths.min()) == int(lengths.max())
    moments, missing = Moments(features), np.zeros(len(cleaning.channels), np.int64)

    def blocks(chosen: Array) -> Iterator[Array]:
        for numbers, raw, steps in found.blocks(chosen):
            values, _ = cleaning.apply(raw, steps, _where(found, numbers))
            np.add(missing, np.isnan(raw).sum(0), out=missing)
            moments.add(values)
            yield values

    written: list[Shard] = []
    pieces = list(cuts(lengths, features, limit_mb))
    for number, piece in enumerate(pieces):
        path = folder / (f"{name}.safetensors" if len(pieces) == 1 else f"{name}-{number:05}.safetensors")
        count, steps = len(rows[piece]), lengths[piece]
        small = {"index": rows[piece], "labels": labels[piece]}
        if not equal:
            small["offsets"] = np.concatenate([[0], np.cumsum(steps)])
        shape = (count, int(steps[0]), features) if equal else (int(steps.sum()), features)
        shards.write(path, small, shape, blocks(rows[piece]))
        written.append(Shard(file=path.name, sha256=files.sha256(path)))
    return PartInfo(
        count=len(rows),
        class_counts=tuple(np.bincount(labels, minlength=classes).tolist()),
        file=written[0].file,
        sha256=written[0].sha256,
        more=tuple(written[1:]),
        lengths=(int(lengths.min()), int(lengths.max()), float(lengths.mean())),
        missing=tuple(missing.tolist()),
    ), moments
