"""What ``split.cut`` promises of every table: parts that are disjoint, whole, balanced, and without a leak."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import numpy as np
from hypothesis import assume, event, given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from pipeline.config import Data
from pipeline.data.preparation import series_split
from pipeline.data.series import Array, Series, offsets_of
from pipeline.data.split import Ties, cut
from pipeline.errors import DataError
from tests.properties.inputs import path

Key = Literal["test", "validation"]
KEYS: st.SearchStrategy[Key] = st.sampled_from(["test", "validation"])
SHARES = st.floats(0.01, 0.9) | st.integers(1, 40)
SEEDS = st.integers(0, 2**32 - 1)


def data(**keys: object) -> Data:
    return Data(source="csv", path="x", **keys)  # type: ignore[arg-type]


def names(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


@st.composite
def classes(draw: st.DrawFn) -> Array:
    """(N) labels of 2 to 4 classes, each there at least once."""
    count = draw(st.integers(2, 4))
    more = draw(st.lists(st.integers(0, count - 1), max_size=80))
    return np.array(draw(st.permutations([*range(count), *more])))


def asked(share: float, count: int) -> int:
    return share if isinstance(share, int) else math.ceil(share * count)


def whole(count: int, kept: Array, held: Array) -> None:
    """Each row on one side, and both sides ascend."""
    assert (np.diff(kept) > 0).all() and (np.diff(held) > 0).all()
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(count))


def repeats(settings: Data, key: Key, labels: Array, ties: Ties | None) -> tuple[Array, Array]:
    """The cut, made twice."""
    first, again = (cut(settings, key, labels, names(labels.max() + 1), ties) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True)), "a function of the seed"
    return first


@given(labels=classes(), held=st.integers(2, 40), seed=SEEDS, times=st.integers(1, 5))
def test_a_stratified_cut_is_that_of_scikit_learn(labels: Array, held: int, seed: int, times: int) -> None:
    labels = np.repeat(labels, times)
    try:
        found = cut(data(seed=seed, test=held), "test", labels, names(labels.max() + 1), None)
    except DataError:
        assume(False)
    expected = train_test_split(np.arange(len(labels)), test_size=held, stratify=labels, random_state=seed)
    assert all(np.array_equal(part, np.sort(theirs)) for part, theirs in zip(found, expected, strict=True))


@given(labels=classes(), share=SHARES, seed=SEEDS, key=KEYS)
def test_a_stratified_cut_is_of_the_size_asked_for_and_holds_each_class_by_its_share(
    labels: Array, share: float, seed: int, key: Key
) -> None:
    count, held = np.bincount(labels), asked(share, len(labels))
    possible = count.min() >= 2 and len(count) <= held <= len(labels) - len(count)
    try:
        kept, out = repeats(data(seed=seed, **{key: share}), key, labels, None)
    except DataError as error:
        event("refused")
        # a share that leaves every class somewhere may still be cut so that a rare one is on one side alone
        assert not possible or "too few training examples" in str(error)
        return
    assert possible
    whole(len(labels), kept, out)
    assert len(out) == held
    assert np.bincount(labels[kept], minlength=len(count)).min() >= 1
    shares = np.bincount(labels[out], minlength=len(count))
    assert (abs(shares - held * count / len(labels)) <= 2).all(), "in proportion, but for roundings"


@given(labels=classes(), data_=st.data(), share=SHARES, seed=SEEDS, key=KEYS)
def test_a_cut_by_group_shares_no_group_and_is_refused_only_where_there_is_none(
    labels: Array, data_: st.DataObject, share: float, seed: int, key: Key
) -> None:
    groups = np.array(data_.draw(st.lists(st.integers(0, 7), min_size=len(labels), max_size=len(labels))))
    held = asked(share, len(labels))
    assume(1 <= held <= len(labels) - labels.max() - 1)
    sizes = np.bincount(groups, minlength=8)
    sets = [set(labels[groups == group]) for group in range(8)]
    # those that may be held out alone: the others hold every class
    alone = [g for g in range(8) if sizes[g] and len(set().union(*sets[:g], *sets[g + 1 :])) == labels.max() + 1]
    try:
        kept, out = repeats(data(seed=seed, split="group", group="g", **{key: share}), key, labels, Ties(groups))
    except DataError as error:
        event("refused")
        assert not alone and "too few groups" in str(error)
        return
    whole(len(labels), kept, out)
    assert len(out) and not set(groups[kept]) & set(groups[out])
    assert set(labels[kept]) == set(labels)
    if any(sizes[group] <= held for group in alone) and len(out) > held:
        event("more than asked for")
    if all(sizes[group] <= held for group in alone):
        assert len(out) <= held, "no more than asked for where the groups allow it"


@given(labels=classes(), data_=st.data(), share=SHARES, key=KEYS, dated=st.booleans(), ended=st.booleans())
def test_a_cut_by_time_has_no_time_on_both_sides_and_nothing_that_ends_in_the_held_out_time(
    labels: Array, data_: st.DataObject, share: float, key: Key, dated: bool, ended: bool
) -> None:
    size = len(labels)
    times = np.array(data_.draw(st.lists(st.integers(0, 12), min_size=size, max_size=size)))
    ends = times + np.array(data_.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
    held = asked(share, size)
    assume(1 <= held <= size - labels.max() - 1)

    def stored(array: Array) -> Array:
        made: Array = (array * 10**6).astype("datetime64[us]") if dated else array + 1.7e9
        return made

    ties = Ties(times=stored(times), ends=stored(ends) if ended else None)
    cuts = [(times < time).sum() for time in set(times) - {times.min()}]  # how many rows may come before the held-out ones
    try:
        kept, out = repeats(data(split="time", **{key: share}), key, labels, ties)
    except DataError as error:
        event("refused")
        assert "all have the time" in str(error) if not cuts else "too few training examples" in str(error)
        return
    first = times[out].min()
    assert (ends if ended else times)[kept].max() < first
    assert set(out) == set(np.flatnonzero(times >= first)), "the latest, all of them"
    before = np.flatnonzero((ends if ended else times) < first)
    assert set(kept) == set(before), "and all that end before"
    assert abs(len(out) - held) == min(abs(size - begin - held) for begin in cuts), "as near to what was asked for as can be"


def series(labels: Array, groups: Array, times: Array) -> Series:
    """One step each."""
    rows = np.arange(len(labels))
    words = tuple(f"c{label}" for label in labels)
    return Series(
        *(path, np.zeros((len(rows), 1)), offsets_of(np.ones(len(rows), np.int64)), ("a",), tuple(map(str, rows)), words),
        *(tuple(f"g{group}" for group in groups), times, "row", rows, times),
    )


@given(labels=classes(), data_=st.data(), seed=SEEDS, kind=st.sampled_from(["stratified", "group", "time"]))
def test_no_two_of_three_parts_share_a_row_a_group_or_a_time(
    labels: Array, data_: st.DataObject, seed: int, kind: Literal["stratified", "group", "time"]
) -> None:
    size = len(labels)
    groups = np.array(data_.draw(st.lists(st.integers(0, 12), min_size=size, max_size=size)))
    times = np.array(data_.draw(st.lists(st.integers(0, 30), min_size=size, max_size=size)), float)
    settings = data(seed=seed, split=kind, group="g", validation=0.2, test=0.25)
    try:
        found, parts, _ = series_split.choose([series(labels, groups, times)], settings)
    except DataError:
        event("refused")
        return
    rows = [parts[name].rows for name in ("train", "valid", "test")]
    assert sum(map(len, rows)) == len(set(np.concatenate(rows).tolist())), "no row twice"
    assert kind == "time" or sum(map(len, rows)) == size
    for name in parts:
        assert [found[label] for label in parts[name].labels] == [f"c{label}" for label in labels[parts[name].rows]]
    assert {f"c{label}" for label in labels[rows[0]]} == set(found)
    for one, other in pairwise([*rows, rows[0]]):
        assert kind != "group" or not set(groups[one]) & set(groups[other])
    if kind == "time":
        assert times[rows[0]].max() < times[rows[1]].min() and times[rows[1]].max() < times[rows[2]].min()
