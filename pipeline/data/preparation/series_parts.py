"""Series of the user's own files -> the parts of a prepared folder, in bounded memory.

The file is read once, into a temporary one (``spool``). Then the parts are chosen, and each is cleaned and written block by
block. Shapes: N series, S steps of all of them, C channels of the file, F features.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline import config, files
from pipeline.data import clean
from pipeline.data.clean import Cleaning
from pipeline.data.manifest import Channels, Content, PartFile, PartInfo, SeriesInfo
from pipeline.data.preparation import doubts, part_files, series_split, twins
from pipeline.data.preparation.moments import Moments, folded
from pipeline.data.preparation.series_split import Part
from pipeline.data.preparation.spool import spool
from pipeline.data.readers import formats
from pipeline.data.readers.tables.row_order import Scattered
from pipeline.data.series import Array, Columns, Series, Where, cuts, offsets_of
from pipeline.data.sources import catalog, progress
from pipeline.errors import DataError


def write(folder: Path, data: config.Data) -> Content:
    """Write the parts of ``data`` into ``folder``, and return what a manifest says of them.

    Raises DataError, with file and row, for what is wrong with the files.
    """
    paths = catalog.own_files(data)
    temporaries = [folder / f".spool{number}" for number in range(len(paths))]
    columns = Columns(**data.of(config.Columns), timed=bool(data.resample))
    read = [_read(data.source, path, columns, temporary) for path, temporary in zip(paths, temporaries, strict=True)]
    train = read[0]
    class_names, chosen, adapted = series_split.choose(read, data)
    policies = clean.cleaning(data, train.channels).model_copy(update={"timed": train.steps is not None})
    cleaning, found = _learn(train, chosen["train"].rows, policies)
    parts = {}
    for name, part in chosen.items():
        if len(part.rows):
            moments = Moments(len(cleaning.features)) if name == "train" and _changes(cleaning, found, data.shard_mb) else None
            parts[name] = _write(folder / name, part, cleaning, moments, len(class_names), data.shard_mb)
            found = moments or found
    known = np.sort(np.concatenate([chosen["train"].rows, chosen["valid"].rows]))
    repeated = _repeated(chosen["train"], known, chosen["test"], cleaning)
    for temporary in temporaries:
        temporary.unlink(missing_ok=True)
        temporary.with_suffix(".times").unlink(missing_ok=True)
    longest = parts["train"].lengths
    assert longest is not None
    return Content(
        class_names=class_names,
        length=longest[1],
        features=len(cleaning.features),
        value_range=(float(found.low.min()), float(found.high.max())),
        parts=parts,
        statistics=found.statistics,
        repeated=repeated,
        series=SeriesInfo(
            **cleaning.of(Channels),
            low=tuple(found.low.tolist()),
            high=tuple(found.high.tolist()),
        ),
        doubts=tuple(
            dict.fromkeys(
                [
                    *(line for series in read for line in series.doubts),
                    *series_split.torn(chosen, data),
                    *series_split.of_known_groups(chosen, data),
                    *series_split.alone(chosen, data),
                    *doubts.of(train, class_names, images=bool(data.steps)),
                ]
            )
        ),
        left_out=sum(map(len, read)) - sum(len(part.rows) for part in chosen.values()),
        adapted=adapted,
    )


def _read(source: str, path: Path, columns: Columns, temporary: Path) -> Series:
    """All series of a file, once it is known that they are whole; what is ``hopeful`` is read again if they are not."""
    hopeful = not columns.hopeful and not columns.cuts_series
    tried = columns.model_copy(update={"hopeful": hopeful})
    try:
        with progress.reading(path, unit=" series") as bar:
            return spool(bar.over(formats.read(source, path, tried, temporary.parent)), temporary)
    except Scattered:
        return _read(source, path, tried, temporary)


def _learn(train: Series, rows: Array, cleaning: Cleaning) -> tuple[Cleaning, Moments]:
    """``cleaning`` with what it takes from the training split, and the statistics of that before it is cleaned.

    Raises DataError for a channel without a value there.
    """
    moments = Moments(len(train.channels))
    low, high = np.full((2, len(train.channels)), [[np.inf], [-np.inf]])  # in float64
    with progress.Bar("measuring the train split", len(rows), " series") as bar:
        for numbers, values, lengths in train.blocks(rows):
            where = _where(train, numbers)
            values, lengths = cleaning.cut(values, lengths, where)
            cleaning.refuse_missing(np.isnan(values), lengths, where)
            low, high = np.fmin(low, folded(np.fmin, values)), np.fmax(high, folded(np.fmax, values))
            moments.add(cleaning.rounded(values))
            bar.add(len(numbers))
    empty = [train.channels[number] for number in np.flatnonzero(moments.count == 0)]
    if empty:
        others = [name for name in train.channels if name not in empty]
        remedy = (
            f"leave it out: data.channels=[{', '.join(others)}]" if others else "and there is no other; add one with values"
        )
        raise DataError(f"{train.source}: channel {empty[0]!r} has no value in any training series; {remedy}")
    offset = clean.offset_of(low, high)
    if offset and not cleaning.offset:
        return _learn(train, rows, cleaning.model_copy(update={"offset": offset}))
    masked = np.flatnonzero(moments.missing) if cleaning.missing == "mask" else np.empty(0, np.int64)
    return cleaning.model_copy(update={"fill": tuple(moments.mean.tolist()), "masked": tuple(masked.tolist())}), moments


def _changes(cleaning: Cleaning, found: Moments, limit_mb: int) -> bool:
    """Whether the values of the training split are others than ``found`` is of, or come in other blocks, as files are cut."""
    several = int(found.count.sum()) * 4 >= limit_mb * 2**20
    return several or bool(found.missing.any()) or cleaning.z_norm or bool(cleaning.resample)


def _repeated(train: Part, known: Array, test: Part, cleaning: Cleaning) -> list[tuple[int, int]]:
    """Each row of ``test`` whose series, rounded, equals one of the rows ``known``, not all in the part ``train``, of the file
    of that byte for byte; with the first such row."""

    def same(number: int, twin: int) -> bool:
        one, other = test.series.one(int(test.rows[number])), train.series.one(int(known[twin]))
        return cleaning.rounded(one).tobytes() == cleaning.rounded(other).tobytes()

    found = twins.pairs(train.hashes[known], test.hashes[test.rows], same)
    return [(int(test.rows[number]), int(known[twin])) for number, twin in found]


def _where(series: Series, rows: Array) -> Where:
    return lambda number: series.place(int(rows[number]))


def _write(stem: Path, part: Part, cleaning: Cleaning, moments: Moments | None, classes: int, limit_mb: int) -> PartInfo:
    """Clean and write one part to files called ``stem``, and return what the manifest says of it; ``moments`` takes it in."""
    series, rows, labels = part.series, part.rows, part.labels
    lengths = np.minimum(series.lengths[rows], cleaning.max_length or series.lengths.max())
    lengths = np.full_like(lengths, cleaning.resample) if cleaning.resample else lengths
    features, equal = len(cleaning.features), int(lengths.min()) == int(lengths.max())
    missing = np.zeros(len(cleaning.channels), np.int64)

    def blocks(chosen: Array) -> Iterator[Array]:
        for numbers, raw, steps in series.blocks(chosen):
            part.hashes[numbers] = twins.hashes_of(cleaning.rounded(raw), steps)
            values, _ = cleaning.apply(raw, steps, _where(series, numbers), series.times_of(numbers))
            absent = np.isnan(raw)
            if absent.any():
                np.add(missing, absent.sum(0), out=missing)
            if moments:
                moments.add(values)
            yield values
            bar.add(len(numbers))

    written: list[PartFile] = []
    pieces = list(cuts(lengths * features * 4, limit_mb * 2**20))
    with progress.Bar(f"writing the {stem.name} split", len(rows), " series") as bar:
        for number, piece in enumerate(pieces):
            path = stem.with_name(f"{stem.name}{'' if len(pieces) == 1 else f'-{number:05}'}.safetensors")
            count, steps = len(rows[piece]), lengths[piece]
            small = {"index": rows[piece], "labels": labels[piece]}
            if not equal:
                small["offsets"] = offsets_of(steps)
            shape = (count, int(steps[0]), features) if equal else (int(steps.sum()), features)
            part_files.write(path, small, shape, blocks(rows[piece]))
            written.append(PartFile(file=path.name, sha256=files.sha256(path)))
    return PartInfo(
        count=len(rows),
        class_counts=tuple(np.bincount(labels, minlength=classes).tolist()),
        file=written[0].file,
        sha256=written[0].sha256,
        more=tuple(written[1:]),
        lengths=(int(lengths.min()), int(lengths.max()), float(lengths.mean())),
        missing=tuple(missing.tolist()),
    )
