"""Which examples are held out: stratified by class, whole groups, or the latest.

Shapes: N examples, G groups, C classes.
"""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline import config
from pipeline.data.series import Array
from pipeline.errors import DataError, quoted

ORDERS = 128  # of groups that are tried: the most balanced one is taken; fewer where there are more than 2**15 examples
_WHAT = {"validation": " training", "test": ""}


@dataclass(frozen=True, eq=False)
class Ties:
    """What ties examples (N) together besides their class, where the split needs it."""

    groups: Array | None = None  # (N) int64, of whom or of what each is
    times: Array | None = None  # (N) when each begins
    ends: Array | None = None  # (N) when each ends; None: as it begins


def cut(
    data: config.Data,
    key: Literal["validation", "test"],
    labels: Array,
    class_names: tuple[str, ...],
    ties: Ties | None = None,
) -> tuple[Array, Array]:
    """Ascending rows (of N) that stay and that are held out, as ``data.split`` and ``data.validation`` or ``data.test`` say.

    ``labels`` (N) int64 in [0, C). Whole groups, and examples of one time, stand on one side, so that somewhat more or less may
    be held out than was asked for. Rows that end when the held-out time has begun are on neither side.
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
        nothing = ", or 0 for no validation split" if key == "validation" else ""
        raise DataError(
            f"data.{key} = {share}: holds out {held} of {count}{what} examples; "
            f"with {classes} classes hold out {least} to {most}{nothing}"
        )
    ties, lost = ties or Ties(), ""
    if data.split == "group":
        kept, held_out = _by_group(data, key, labels, ties, held)
    elif data.split == "time":
        kept, held_out = _by_time(data, key, ties, held)
        if left_out := count - len(kept) - len(held_out):
            lost = f", besides {left_out} that end when the held-out time has begun,"
    else:
        kept, held_out = _stratified(labels, held, data.seed)
    _every_class(labels[kept], class_names, 1, f"data.{key} = {share}{lost} leaves too few training examples")
    return np.sort(kept), np.sort(held_out)


def _stratified(labels: Array, held: int, seed: int) -> tuple[Array, Array]:
    """The rows that stay and ``held`` others, of each class its share: those that ``train_test_split`` of scikit-learn takes,
    whose import costs more than the preparation of most files."""
    random, counts = np.random.RandomState(seed), np.bincount(labels)
    stay = _shares(counts, len(labels) - held, random)
    _shares(counts - stay, held, random)  # it draws as often as scikit-learn does; what is drawn is what is left
    of_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    drawn = [np.split(random.permutation(rows), [count]) for rows, count in zip(of_class, stay, strict=True)]
    return np.concatenate([rows for rows, _ in drawn]), np.concatenate([rows for _, rows in drawn])


def _shares(counts: Array, total: int, random: np.random.RandomState) -> Array:
    """(C) how many of each class make ``total``: in proportion, the rest by the largest remainders, of equal ones by chance."""
    exact = counts / counts.sum() * total
    left, whole = np.modf(exact)
    for value in np.unique(left)[::-1]:
        if missing := int(total - whole.sum()):
            alike = np.flatnonzero(left == value)
            whole[random.choice(alike, min(len(alike), missing), replace=False)] += 1
    return np.asarray(whole, np.int64)


def validation(
    data: config.Data, labels: Array, class_names: tuple[str, ...], ties: Ties | None = None
) -> tuple[Array, Array, str]:
    """``cut`` for the valid split, or the fold that ``data.fold`` names. A default share that leaves a part without every class
    is made to fit: as many examples as there are classes are held out, or none. The third value says so, else it is empty.

    Raises DataError as ``cut`` does for a share that the user chose, and for a fold that cannot be had.
    """
    if data.fold:
        return *_fold(data, labels, class_names, ties or Ties()), ""
    try:
        return *cut(data, "validation", labels, class_names, ties), ""
    except DataError as error:
        if data.is_chosen("validation"):
            raise
        problem = str(error)
    default, classes = data.validation, len(class_names)
    with suppress(DataError):
        kept, held_out = cut(data.model_copy(update={"validation": classes}), "validation", labels, class_names, ties)
        said = f"data.validation = {classes}, as the default of {default} of {len(labels)} examples cannot hold each class"
        return kept, held_out, said
    said = f"data.validation = 0: there is no valid split, as the default of {default} cannot be held out ({problem})"
    return np.arange(len(labels)), np.arange(0), said


def _fold(data: config.Data, labels: Array, class_names: tuple[str, ...], ties: Ties) -> tuple[Array, Array]:
    """Ascending rows (of N) that are trained on and that are held out in one fold of a cross-validation.

    By time, the rows are cut into one piece more than there are folds, and each fold is trained on all pieces before the one
    that it holds out (forward chaining). Else each row is held out once: whole groups where there are any, stratified by class.
    """
    number, parts = data.of_fold
    if data.split == "time":
        kept, held_out = _forward(data, number, parts, ties)
    else:
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

        units, what = (len(labels), "examples") if ties.groups is None else (len(np.unique(ties.groups)), "groups")
        if units < parts:
            raise DataError(
                f"train.folds = {parts}: there are {units} {what} to train on; set train.folds={max(2, units)} or less"
            )
        kind = StratifiedKFold if ties.groups is None else StratifiedGroupKFold
        folds = kind(n_splits=parts, shuffle=True, random_state=data.seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(least populated|members in)")  # what matters is refused below
            try:
                kept, held_out = list(folds.split(labels, labels, ties.groups))[number - 1]
            except ValueError:  # no class has so many examples
                most = int(np.bincount(labels).max())
                raise DataError(
                    f"train.folds = {parts}: no class has so many examples; set train.folds={most} or less"
                ) from None
    _every_class(labels[kept], class_names, 1, f"fold {number} of train.folds = {parts} leaves too few training examples")
    return np.sort(kept), np.sort(held_out)


def _in_time(ties: Ties) -> tuple[Array, Array, Array]:
    """The rows in the order of their times, these times, and the places in that order that lie between two times."""
    assert ties.times is not None
    order = np.argsort(ties.times, kind="stable")
    ordered = ties.times[order]
    return order, ordered, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1


def _forward(data: config.Data, number: int, parts: int, ties: Ties) -> tuple[Array, Array]:
    order, ordered, cuts = _in_time(ties)
    wanted = np.arange(1, parts + 1) * len(order) / (parts + 1)
    places = sorted({int(cuts[np.abs(cuts - place).argmin()]) for place in wanted}) if len(cuts) else []
    if len(places) < parts:
        raise DataError(
            f"train.folds = {parts}: data.split = time needs more different times than the {len(cuts) + 1} of data.time = "
            f"{data.time}; set a lower train.folds"
        )
    begin, end = [*places, len(order)][number - 1 : number + 1]
    kept, held_out = order[:begin], order[begin:end]
    if ties.ends is not None:
        kept = kept[ties.ends[kept] < ordered[begin]]
    return kept, held_out


def _every_class(labels: Array, class_names: tuple[str, ...], least: int, problem: str) -> None:
    counts = np.bincount(labels, minlength=len(class_names))
    if (counts < least).any():
        rows = np.flatnonzero(counts < least)
        shown = ", ".join(f"{quoted(class_names[row])} ({counts[row]})" for row in rows[:20])
        raise DataError(f"{problem} of class {shown}" + (f" and {len(rows) - 20} more" if len(rows) > 20 else ""))


def _by_time(data: config.Data, key: str, ties: Ties, held: int) -> tuple[Array, Array]:
    """The rows before the latest, and about ``held`` that are the latest: the cut lies between two times."""
    order, ordered, cuts = _in_time(ties)
    if not len(cuts):
        raise DataError(
            f"data.split = time: data.{key} is cut from {len(order)} examples, which all have the time {ordered[0]}; "
            "name another column with data.time, or leave data.split out"
        )
    cut = cuts[np.abs(cuts - (len(order) - held)).argmin()]
    kept, held_out = order[:cut], order[cut:]
    if ties.ends is not None:
        kept = kept[ties.ends[kept] < ordered[cut]]
    return kept, held_out


def _by_group(data: config.Data, key: str, labels: Array, ties: Ties, held: int) -> tuple[Array, Array]:
    """The rows of the groups that stay and of those that are held out, at most ``held`` rows where the groups allow it.

    Groups are taken in an order by chance, each that still fits, but for the last one of each class. Of several orders the
    one is kept that holds out the most even shares of the classes.
    """
    assert ties.groups is not None
    groups = np.unique(ties.groups, return_inverse=True)[1]  # (N) in [0, G)
    sizes, total = np.bincount(groups), np.bincount(labels)
    of_class, of_group = np.divmod(np.unique(labels * len(sizes) + groups), len(sizes))  # each class of each group once
    # The raw stream of a bit generator is the same in every version of numpy.
    random = np.random.PCG64(data.seed)
    best, chosen = math.inf, np.zeros(len(groups), bool)
    for _ in range(max(1, min(ORDERS, 2**22 // len(groups)))):
        order = np.argsort(random.random_raw(len(sizes)), kind="stable")
        taken = _that_fit(order[~_last_of_a_class(order, of_class, of_group)[order]], sizes, held)
        out = np.isin(np.arange(len(sizes)), taken)[groups]  # (N)
        shares = np.bincount(labels[out], minlength=len(total)) / total
        uneven = float(((shares - held / len(labels)) ** 2).sum())
        if len(taken) and uneven < best:
            best, chosen = uneven, out
    if not chosen.any():
        what = _WHAT[key]
        raise DataError(
            f"data.split = group: too few groups to hold out data.{key}: what is held out, by whole groups, must leave "
            f"training examples of every class; there are {len(sizes)} groups in {len(groups)}{what} examples"
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _last_of_a_class(order: Array, of_class: Array, of_group: Array) -> Array:
    """(G) whether a group is the last one in ``order`` (G) that has examples of some class, which must stay."""
    rank = np.argsort(order)
    last = np.zeros(of_class.max() + 1, np.int64)
    np.maximum.at(last, of_class, rank[of_group])
    found = np.zeros(len(order), bool)
    found[order[last]] = True
    return found


def _that_fit(order: Array, sizes: Array, room: int) -> list[int]:
    """The groups of ``order`` that fit into ``room`` one after the other; the smallest one if none does."""
    taken: list[int] = []
    for group in order.tolist():
        if sizes[group] <= room:
            taken.append(group)
            room -= int(sizes[group])
        if not room:
            break
    return taken or order[sizes[order].argsort(kind="stable")][:1].tolist()
