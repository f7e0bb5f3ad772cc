"""Which examples are held out: stratified by class, whole groups, or the latest.

Shapes: N examples, G groups, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np

from pipeline import config
from pipeline.data.series import Array
from pipeline.errors import DataError

_WHAT = {"validation": " training", "test": ""}


def cut(
    data: config.Data,
    key: Literal["validation", "test"],
    labels: Array,
    class_names: tuple[str, ...],
    groups: Array | None = None,
    times: Array | None = None,
) -> tuple[Array, Array]:
    """Ascending rows (of N) that stay and that are held out, as ``data.split`` and ``data.validation`` or ``data.test`` say.

    ``labels`` (N) int64 in [0, C); ``groups`` (N) int64 and ``times`` (N), in any order, where the split needs them.
    Raises DataError if a class or a group is too rare, or if the share leaves a part without every class.
    """
    rows, classes, what = np.arange(len(labels)), len(class_names), _WHAT[key]
    share, count = getattr(data, key), len(labels)
    _every_class(labels, class_names, 1, f"the source's{what or ' whole'} part has too few examples")
    if not share:
        return rows, rows[:0]
    held = share if isinstance(share, int) else math.ceil(share * count)
    if data.split == "stratified":
        _every_class(labels, class_names, 2, f"to hold out data.{key}, each class needs 2{what} examples; too few")
    least = classes if data.split == "stratified" else 1
    most = count - classes
    if not least <= held <= most:
        raise DataError(
            f"data.{key} = {share}: holds out {held} of {count}{what} examples; "
            f"with {classes} classes hold out {least} to {most}" + (", or 0 for no validation part" * (key == "validation"))
        )
    if data.split == "group":
        assert groups is not None
        out = _whole_groups(labels, groups, held / count, classes, data.seed)
        if out is None:
            raise DataError(
                f"data.split = group: too few groups to hold out data.{key}: what is held out, by whole groups, must leave "
                f"training examples of every class; there are {len(np.unique(groups))} groups in {count}{what} examples"
            )
        kept, held_out = rows[~out], rows[out]
    elif data.split == "time":
        assert times is not None
        order = np.argsort(times, kind="stable")
        kept, held_out = order[: count - held], order[count - held :]
    else:
        from sklearn.model_selection import train_test_split

        kept, held_out = train_test_split(rows, test_size=held, stratify=labels, random_state=data.seed)
    _every_class(labels[kept], class_names, 1, f"data.{key} = {share} leaves too few training examples")
    return np.sort(kept), np.sort(held_out)


def class_order(words: Iterable[str]) -> tuple[str, ...]:
    """Class names in the order of their numbers if all are numbers, else of their text."""
    names = sorted(words)
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return tuple(names)
    if all(map(math.isfinite, numbers)):  # nan is a word
        names = [name for _, name in sorted(zip(numbers, names, strict=True))]
    return tuple(names)


def _every_class(labels: Array, class_names: tuple[str, ...], least: int, problem: str) -> None:
    counts = np.bincount(labels, minlength=len(class_names))
    if (counts < least).any():
        scarce = ", ".join(f"{class_names[row]!r} ({counts[row]})" for row in np.flatnonzero(counts < least))
        raise DataError(f"{problem} of class {scarce}")


def _whole_groups(labels: Array, groups: Array, share: float, classes: int, seed: int) -> Array | None:
    """Which examples (N) are held out: whole groups whose share of every class comes near ``share``, greedily from the
    largest group, and that leave every class an example. None if no group can be spared.
    """
    groups = np.unique(groups, return_inverse=True)[1]
    sizes = np.zeros((groups.max() + 1, classes))  # (G, C)
    np.add.at(sizes, (groups, labels), 1)
    total = sizes.sum(0)
    shares = sizes / total
    # The raw stream of a bit generator is the same in every version of numpy.
    order = np.argsort(np.random.PCG64(seed).random_raw(len(sizes)), kind="stable")
    order = order[np.argsort(-sizes[order].sum(1), kind="stable")]
    missing, chosen = np.full(classes, share), np.zeros(len(sizes), bool)
    for group in order:
        spared = (sizes[chosen].sum(0) + sizes[group] < total).all()
        if spared and ((missing - shares[group]) ** 2).sum() < (missing**2).sum():
            chosen[group] = True
            missing -= shares[group]
    if not chosen.any():
        spare = [group for group in order if (sizes[group] < total).all()]
        if not spare:
            return None
        chosen[min(spare, key=lambda group: float(((share - shares[group]) ** 2).sum()))] = True
    out: Array = chosen[groups]
    return out
