"""The columns that say what a row of a table is: its class, its series, its time, its group.

What is measured decides: which column tells series apart, what is constant within them, what grows in each. A usual name in
any of several languages counts beside that.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pipeline.data.inspection import names
from pipeline.data.inspection.frame import Frame
from pipeline.errors import DataError

MOST_CLASSES = 50
LONG = 20  # rows that a recording has at least, where columns have no names
LOOKED_AT = 20  # columns that may be the time
SURE = 30  # steps that grow, of all series together, from which on that is no chance
EVEN = 0.9  # of the steps of a time, the share that are equally long
GROUPS = 5  # that there are at least, where their column has no usual name
FEW = 5  # series of each value: one with fewer names persons, and no classes, if it tells another column
NEAR = 2.0  # between two columns that may be the class
STEP = pl.col("time").diff().over("id")


def label_of(frame: Frame, path: Path, rows: Sequence[str]) -> tuple[str, list[str]]:
    """The column of the class: few values that come again, the same within a series, by a usual name, or as words, or as the
    last column; and what its owner should look at. Raises DataError if there is none, or if it would be ids or times."""
    scores: dict[str, float] = {}
    sizes = {name: frame[name].n_unique() for name in frame.columns}
    for name in (name for name in sizes if frame[name].dtype.is_numeric()):
        sizes[name] = frame[name].drop_nulls().n_unique()  # a number that is missing is no class
    for place, name in enumerate(frame.columns):
        values = frame[name]
        said = values.dtype == pl.String and names.means(name, names.LABEL)  # of words so called there may be many
        few = 2 <= sizes[name] <= min(len(frame) if said else MOST_CLASSES, len(frame) // 2)
        whole = not values.dtype.is_float() or bool((values.drop_nulls() % 1 == 0).all())
        if name in rows or not (few and whole) or values.dtype.is_temporal():
            continue
        words = not (values.dtype.is_numeric() or values.dtype == pl.Boolean)
        edge = place in (0, len(frame.columns) - 1)
        scores[name] = 4 * names.means(name, names.LABEL) + 2 * words + edge - sizes[name] / MOST_CLASSES
        scores[name] -= 3 * (names.means(name, names.GROUP) or names.means(name, names.ID) or names.means(name, names.TIME))
    if not scores:
        raise _no_class(frame, path, sizes, "")
    apart = [name for name in frame.columns if name not in rows and _tells_apart(frame, name)]
    finest = max(apart, key=lambda name: sizes[name], default="")
    for name in scores if finest else ():
        constant = most_within(frame, name, finest) == 1  # within each series; that of the series' own names is, too
        scores[name] += 2 * (constant and name != finest)
        coarser = (other for other in scores if sizes[other] < sizes[name])
        if constant and sizes[finest] < FEW * sizes[name] and any(most_within(frame, other, name) == 1 for other in coarser):
            scores[name] -= 6  # it names series of a class, or persons
    best = max(scores, key=lambda name: scores[name])
    if names.means(best, f"{names.ID} {names.TIME}") and not names.means(best, names.LABEL):
        raise _no_class(frame, path, sizes, best)
    others = [name for name in scores if name != best and scores[name] > max(0.0, scores[best] - NEAR)]
    if names.means(best, names.LABEL) or not others:
        return best, []
    return best, [
        f"{best!r} is taken for the class, for its values; it may also be {' or '.join(map(repr, others))}: data.label"
    ]


def _no_class(frame: Frame, path: Path, sizes: dict[str, int], best: str) -> DataError:
    """The error about a table in which nothing is the class, or nothing but ``best``, which is called as ids or times are."""
    said = [f"{name!r} has one value" for name in sizes if sizes[name] == 1 and names.means(name, names.LABEL)]
    floats = [name for name in sizes if frame[name].dtype.is_float() and names.means(name, names.LABEL)]
    floats = [name for name in floats if name.lower() != "y" or not {"x", "X"} & {*sizes}]  # of x, y and z it is no label
    said += [f"{name!r} holds numbers that are not whole, as of a regression, which is not trained" for name in floats]
    needed = f"one is needed of 2 to {MOST_CLASSES} values, each of them several times"
    needed += f"; if {best!r} is it, call it 'label'" if best else ""
    told = (
        "; if the name of a file says its class, data.recordings describes it, such as LABEL_ANY (docs/data.md), or move it "
        f"into a folder of that name: {path}/CLASS/FILE"
    ) * path.is_dir()
    return DataError(f"{path}: no column can be the class: {'; '.join([*said, needed])}{told}")


def id_of(frame: Frame, left: Sequence[str], label: str) -> str | None:
    """The column whose values come again, in rows that stand together or grow in time, and are of one class; of several the
    finest; else one of which the class changes. None for a wide table."""
    best, score, mixed = None, 0.0, None
    for name in left:
        if not _comes_again(frame, name):
            continue
        distinct = frame[name].n_unique()
        one_class, apart = most_within(frame, label, name) == 1, _tells_apart(frame, name)
        own: float = (4 * names.means(name, names.ID) + 3 * apart + 3 * one_class) - 2 * names.means(name, names.TIME)
        own -= 2 * (names.means(name, names.GROUP) and not names.means(name, names.ID))
        own += distinct / len(frame)  # of several, the finest
        if one_class and own > score:
            best, score = name, own
        elif not one_class and mixed is None and _together(frame, name):
            few = distinct * LONG <= len(frame) and (name.isdecimal() or _clock_restarts(frame, name))
            mixed = name if few or names.means(name, f"{names.ID} {names.GROUP}") else None
    return best if score >= 4 else mixed


def time_of(frame: Frame, left: Sequence[str], id_: str) -> tuple[str | None, list[str]]:
    """The column that orders the steps of each series, and what its owner should look at: dates; or numbers of a usual name;
    or that are evenly apart in each series; or, with a warning, that grow in each, since a measurement may grow too."""
    grows = ""
    for name in sorted(left, key=lambda name: not frame[name].dtype.is_temporal()):
        kind = frame[name].dtype
        if not (kind.is_numeric() or kind.is_temporal()) or frame[name].null_count():
            continue
        steps = pl.DataFrame({"time": frame[name], "id": frame[id_]})
        rises = bool(steps.select((STEP > 0).all()).item())
        named = names.means(name, names.TIME) or kind.is_temporal()
        if name.isdecimal():  # a place is no name
            named = kind.is_integer() and rises
        if named and steps.select((pl.col("time") != pl.col("time").shift().over("id")).mean()).item() > 0.9:
            return name, []
        if kind.is_temporal() or len(steps) - steps["id"].n_unique() < SURE:
            continue
        if is_even(steps if rises else steps.sort("time")):
            return name, []
        grows = grows or (name if rises and not name.isdecimal() else "")
    if grows:
        return grows, [
            f"{grows!r} grows in each series and is taken for the time; if it is measured: data.time='', and into data.channels"
        ]
    return None, []


def group_of(frame: Frame, left: Sequence[str], id_: str, label: str) -> tuple[str | None, list[str]]:
    """The column of whom or what a series is of, and what its owner should look at: constant within series, and there for
    several; of a usual name, or with many values and not told by the class."""
    ids, found = frame[id_].n_unique(), ""
    for name in left:
        values = frame[name]
        if values.dtype.is_float() or values.dtype.is_temporal() or not 1 < values.n_unique() < ids:
            continue
        if most_within(frame, name, id_) > 1:
            continue
        if names.means(name, names.GROUP):
            return name, []
        several = max(GROUPS, 2 * frame[label].n_unique()) <= values.n_unique() <= ids // 2
        if several and values.dtype == pl.String and values.n_unique() > (frame[found].n_unique() if found else 0):
            found = name
    if not found:
        return None, []
    return found, [
        f"{found!r} is the same within series and in several: taken for whom they are of; if not: data.split=stratified"
    ]


def group_of_rows(frame: Frame, left: Sequence[str], label: str) -> str | None:
    """The column of whom or what a series is of, in a table with a row per series: of a usual name, or words of which there are
    many, several times each, in several classes."""
    for name in left:
        values = frame[name]
        if names.means(name, names.GROUP) and not values.dtype.is_float():
            return name
    for name in left:
        many = max(GROUPS, 2 * frame[label].n_unique()) <= frame[name].n_unique() <= len(frame) // 2
        if many and frame[name].dtype == pl.String and most_within(frame, label, name) > 1:
            return name
    return None


def most_within(frame: Frame, of: str, by: str) -> int:
    """The most different values of the column ``of`` in rows of one value of ``by``."""
    pairs = pl.DataFrame({"of": frame[of], "by": frame[by]})
    return int(pairs.group_by("by").agg(pl.col("of").n_unique())["of"].max())  # type: ignore[arg-type]  # a number of rows


def decides(frame: Frame, name: str, label: str) -> bool:
    """Whether each value of a column with few of them belongs to one class only."""
    distinct = frame[name].n_unique()
    if not 1 < distinct <= max(MOST_CLASSES, frame[label].n_unique()):
        return False
    return most_within(frame, label, name) == 1


def counts_steps(frame: Frame, name: str, id_: str) -> bool:
    """Whether whole numbers rise by one from each row of a series to the next."""
    if not frame[name].dtype.is_integer() or frame[name].null_count():
        return False
    steps = pl.DataFrame({"time": frame[name].cast(pl.Int64), "id": frame[id_]}).select(STEP.alias("apart"))["apart"]
    return len(frame) - steps.null_count() >= SURE and bool((steps.drop_nulls() == 1).all())


def is_even(steps: pl.DataFrame) -> bool:
    """Whether the ``time`` of each ``id``, once sorted, has no value twice and steps of one length."""
    apart = steps.select(STEP.alias("apart")).drop_nulls()["apart"]
    usual = apart.median()
    assert isinstance(usual, float)
    close = int(((apart - usual).abs() <= abs(usual) / 100).sum())
    return bool((apart > 0).all()) and close >= EVEN * len(apart)


def _comes_again(frame: Frame, name: str) -> bool:
    values = frame[name]
    return not values.dtype.is_float() and not values.null_count() and 1 < values.n_unique() <= len(frame) / 1.5


def _together(frame: Frame, name: str) -> bool:
    values = frame[name]
    return int((values != values.shift()).fill_null(True).sum()) == values.n_unique()


def _tells_apart(frame: Frame, name: str) -> bool:
    """Whether a column's values may name series: rows of one stand together, or something grows in each and begins anew."""
    return _comes_again(frame, name) and (_together(frame, name) or _clock_restarts(frame, name))


def _clock_restarts(frame: Frame, id_: str) -> bool:
    """Whether some column grows within the rows of each word of ``id_``, and not from the first row of all to the last; or is
    a time that no word has twice, and several have.

    Of numbers that is not asked: those of series grow within each time, too.
    """
    if frame[id_].dtype.is_numeric():
        return False
    columns = ((name, frame[name]) for name in frame.columns[:LOOKED_AT] if name != id_)
    for values_name, values in columns:
        if not (values.dtype.is_numeric() or values.dtype.is_temporal()):
            continue
        steps = pl.DataFrame({"time": values, "id": frame[id_]})
        once = values.is_sorted() and values.n_unique() == len(values)  # one clock, which does not restart
        if not values.null_count() and not once and steps.select((STEP > 0).all()).item():
            return True
        clock = names.means(values_name, names.TIME) or values.dtype.is_temporal()
        if clock and values.n_unique() < len(values) == steps.n_unique():  # rows in any order: no time twice for one word
            return True
    return False
