"""Which series of the user's files make which part of a prepared folder, and of which class each is.

Shapes: N series of a file, n of a part, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline import config
from pipeline.data import split
from pipeline.data.manifest import Name
from pipeline.data.series import Array, Series, Words, class_order
from pipeline.errors import DataError, quoted, some


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the series of a file (N): their ``rows`` (n), ascending, and ``labels`` (n) in [0, C). ``hashes`` (N) are of all
    of them, and are entered when a series is written."""

    series: Series
    rows: Array
    labels: Array
    hashes: Array


def choose(read: Sequence[Series], data: config.Data) -> tuple[tuple[str, ...], dict[Name, Part], str]:
    """The names of the classes (C), the series of each part, and what became of a default that did not fit, if it did not.

    Validation is cut from what the test split leaves.

    ``read``: the user's file, and the one of the test split if there is one. Raises DataError, with file and row, for classes,
    groups or times that cannot be cut as ``data`` says, and for files that do not go together.
    """
    train, test = read[0], read[-1]
    class_names = _class_names(train, data)
    labels = [_labels(series, train, class_names) for series in read]
    for series in read:
        _refuse_unsplittable(series, data)
    _refuse_shared_groups(train, test, data)
    rows = np.arange(len(train))
    try:
        if test is train:
            rows, test_rows = split.cut(data, "test", labels[0], class_names, _ties(train, rows))
        else:
            test_rows = np.arange(len(test))
        kept, held_out, adapted = split.validation(data, labels[0][rows], class_names, _ties(train, rows))
    except DataError as error:
        raise DataError(f"{train.source}: {error}") from None
    _refuse_other_channels(train, test)
    kept, held_out = rows[kept], rows[held_out]
    hashes = [np.zeros(len(series), np.uint64) for series in read]
    parts: dict[Name, Part] = {
        "train": Part(train, kept, labels[0][kept], hashes[0]),
        "valid": Part(train, held_out, labels[0][held_out], hashes[0]),
        "test": Part(test, test_rows, labels[-1][test_rows], hashes[-1]),
    }
    return class_names, parts, adapted


def torn(parts: dict[Name, Part], data: config.Data) -> Iterator[str]:
    """What is to be said of held-out windows whose recordings, or whose steps, are trained on too."""
    if not data.window or data.split != "stratified":
        return
    overlap = ", and may share steps with them" if 0 < data.stride < data.window else ""
    for name, part in parts.items():
        if count := _count_known(part, parts["train"]):
            said = f"{count} of {len(part.rows)} {name} windows are of recordings that windows of training are of{overlap}"
            yield f"{said}: what is measured on them flatters; leave data.split out, so that a recording stays on one side"


def of_known_groups(parts: dict[Name, Part], data: config.Data) -> Iterator[str]:
    """What is to be said of held-out series whose groups, which are named, are trained on too. Nothing where a test file has
    some of these groups: then the known ones are what is asked about."""
    train, test = parts["train"].series, parts["test"].series
    if data.window or data.split != "stratified" or not data.grouped or _shared(train, test).any():
        return
    what = f"({quoted(data.group)})" if data.group else "in the paths"
    others = "the test split has other groups, and " if test is not train else ""
    for name, part in parts.items():
        if count := _count_known(part, parts["train"]):
            said = f"{count} of {len(part.rows)} {name} examples are of groups {what} that are trained on too"
            yield f"{said}: {others}what is measured on these flatters; set data.split=group, so that no group is in two splits"


def _count_known(part: Part, train: Part) -> int:
    """How many series of a part that was cut from the training file are of groups that are trained on too."""
    if part is train or part.series is not train.series:
        return 0
    groups = Words.of(train.series.groups or ()).numbers
    return int(np.isin(groups[part.rows], np.unique(groups[train.rows])).sum())


def _shared(train: Series, test: Series) -> Array:
    """(N) which series of another file for the test are of groups that the training file has too."""
    if test is train or test.groups is None:
        return np.zeros(len(test), bool)
    known, words = {*Words.of(train.groups or ()).different}, Words.of(test.groups)
    both: Array = np.array([word in known for word in words.different], bool)[words.numbers]
    return both


def alone(parts: dict[Name, Part], data: config.Data) -> Iterator[str]:
    """What is to be said of held-out parts that hold one group, which may be unlike all others."""
    for name, part in parts.items():
        groups = (part.series.groups if data.split == "group" and name != "train" else None) or ()
        if groups and len(part.rows) and len(np.unique(Words.of(groups).numbers[part.rows])) == 1:
            only = quoted(groups[part.rows[0]])
            said = f"the {name} split holds one group, {only}: what is measured on it says little of others"
            yield f"{said}; hold out more: data.{'test' if name == 'test' else 'validation'}=SHARE"


def _class_names(train: Series, data: config.Data) -> tuple[str, ...]:
    """The words of the labels, in the order of their numbers if all are numbers, else of their text.

    Raises DataError if there is only one, or if one has too few series for the parts that are cut.
    """
    assert train.labels is not None
    counts = Words.of(train.labels).counts
    if len(counts) == 1:
        first, last = train.spot(0), train.spot(len(train) - 1)
        raise DataError(
            f"{train.source}: all {len(train)} series, from {first} to {last}, are of class {quoted(train.labels[0])}; "
            f"a classifier needs two classes: check data.label = {data.label}"
        )
    needed = _parts_cut(data) + 1 if data.split == "stratified" else 1
    for word, count in counts.items():
        if count < needed:
            rows = [train.spot(number) for number, label in enumerate(train.labels) if label == word]
            raise DataError(
                f"{train.source}: {', '.join(rows)}: class {quoted(word)} has {count} series; to cut the parts, each class "
                f"needs {needed}: add some, leave these out{_fewer_parts(data)}"
            )
    return class_order(counts)


def _fewer_parts(data: config.Data) -> str:
    """What to set so that fewer parts are cut."""
    keys = ["data.validation=0"] * bool(data.validation) + ["data.test_path=FILE"] * (not data.test_path)
    return "".join(f", or set {key}" for key in keys)


def _parts_cut(data: config.Data) -> int:
    """How many parts must be cut from the series of ``data.path``, besides the training split."""
    validation = 1 if data.fold or (data.validation and data.is_chosen("validation")) else 0
    return validation if data.test_path else validation + 1


def _labels(series: Series, train: Series, class_names: tuple[str, ...]) -> Array:
    """(N) the class of each series. Raises DataError for one that the training file does not have."""
    assert series.labels is not None
    ranks = {word: rank for rank, word in enumerate(class_names)}
    words = Words.of(series.labels)
    labels: Array = np.array([ranks.get(word, -1) for word in words.different], np.int64)[words.numbers]
    if (labels < 0).any():
        row = int(labels.argmin())
        raise DataError(
            f"{series.place(row)}: class {quoted(series.labels[row])} is not one of {train.source} "
            f"({some(class_names)}); correct it, or put such series into that file too"
        )
    return labels


def _refuse_unsplittable(series: Series, data: config.Data) -> None:
    """Raise DataError for series without the groups or the times that ``data.split`` goes by."""
    if data.split == "group" and series.groups is None:
        raise DataError(f"{series.source}: has no groups; name their column with data.group, or leave data.split out")
    if data.split == "time":
        if series.times is None:
            raise DataError(f"{series.source}: has no times; name their column with data.time, or leave data.split out")
        unknown = np.flatnonzero(np.isnat(series.times) if series.times.dtype.kind == "M" else np.isnan(series.times))
        if len(unknown):
            raise DataError(f"{series.place(unknown[0])}: has no time, which data.split = time needs")


def _ties(series: Series, rows: Array) -> split.Ties:
    """What ties some of the series together."""
    groups = None if series.groups is None else Words.of(series.groups).numbers[rows]
    return split.Ties(groups, *(None if column is None else column[rows] for column in (series.times, series.ends)))


def _refuse_shared_groups(train: Series, test: Series, data: config.Data) -> None:
    if data.split != "group" or not data.grouped:
        return
    both = _shared(train, test)
    if both.any():
        assert test.groups is not None
        row = int(both.argmax())
        group = test.groups[row]
        raise DataError(
            f"{test.place(row)}: {data.group or 'group'} {quoted(group)} is in {train.source} too; with data.split = group "
            "none may stand on both sides: move its series to one file"
        )


def _refuse_other_channels(train: Series, test: Series) -> None:
    if test.channels != train.channels:
        raise DataError(
            f"{test.source}: its channels are {some(test.channels)}, but {train.source} has {some(train.channels)}; "
            "give both files the same columns, or name them with data.channels"
        )
