"""What split.py promises: what is held out is as large as asked for, and groups and times are respected."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from pipeline.config import Data
from pipeline.data.series import class_order
from pipeline.data.split import Ties, cut
from pipeline.errors import DataError

NAMES = ("a", "b", "c")


def data(**keys) -> Data:
    return Data(source="csv", path="x", **keys)


def test_a_group_is_never_on_both_sides_and_classes_keep_their_shares():
    random = np.random.default_rng(0)
    groups = random.integers(0, 60, 900)
    labels = random.integers(0, 3, 900)
    kept, held = cut(data(split="group", group="g"), "test", labels, NAMES, Ties(groups))
    assert sorted([*kept, *held]) == list(range(900))
    assert not set(groups[kept]) & set(groups[held])
    shares = np.bincount(labels[held]) / np.bincount(labels)
    np.testing.assert_allclose(shares, 0.2, atol=0.02)
    other = cut(data(split="group", group="g", seed=1), "test", labels, NAMES, Ties(groups))[1]
    assert not np.array_equal(held, other)


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_few_groups_stays_in_training(seed):
    labels = np.array([0] * 20 + [1] * 20 + [2] * 4)
    groups = np.array([*range(20), *range(20), 40, 40, 40, 40])
    kept, held = cut(data(split="group", group="g", seed=seed), "test", labels, NAMES, Ties(groups))
    assert set(labels[kept]) == {0, 1, 2} and len(held)


def test_two_groups_are_enough_and_one_is_refused_with_a_count():
    labels, groups = np.array([0, 1, 2] * 4), np.array([0] * 6 + [1] * 6)
    kept, held = cut(data(split="group", group="g"), "test", labels, NAMES, Ties(groups))
    assert len(kept) == len(held) == 6
    with pytest.raises(DataError, match=r"too few groups to hold out data\.test: .* there are 1 groups in 12 examples"):
        cut(data(split="group", group="g"), "test", labels, NAMES, Ties(groups * 0))


def random_groups(seed: int, groups: int = 30, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and groups of examples: groups of lognormal sizes, each with shares of three classes of its own."""
    random = np.random.default_rng(seed)
    sizes = np.maximum(1, random.lognormal(2, spread, groups).round().astype(int))
    labels = [random.choice(3, size, p=random.dirichlet([1, 1, 1])) for size in sizes]
    return np.concatenate([*labels, [0, 1, 2]]), np.concatenate([np.repeat(np.arange(groups), sizes), [groups] * 3])


def unevenness(labels: np.ndarray, held: np.ndarray) -> float:
    """How far the share of a class that is held out is from a fifth, at most."""
    return float(np.abs(np.bincount(labels[held], minlength=3) / np.bincount(labels) - 0.2).max())


def test_groups_that_are_held_out_are_as_many_as_asked_and_more_balanced_than_those_of_scikit_learn():
    ours, theirs, sizes = [], [], []
    for seed in range(60):
        labels, groups = random_groups(seed)
        _, held = cut(data(split="group", group="g"), "test", labels, NAMES, Ties(groups))
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(labels, labels, groups)
        ours.append(unevenness(labels, held))
        theirs.append(unevenness(labels, next(folds)[1]))
        sizes.append(np.bincount(groups)[np.unique(groups[held])].mean() / np.bincount(groups).mean())
        assert 0.19 * len(labels) < len(held) <= 0.2 * len(labels) + 1
    assert np.mean(ours) < 0.03 < np.mean(theirs) and np.max(ours) < 0.1
    assert 0.5 < np.mean(sizes) < 1.5, "small and large groups alike"


def test_another_seed_holds_out_other_groups_and_each_group_has_its_turn():
    labels, groups = random_groups(0, spread=0.3)
    chosen = [
        set(groups[cut(data(split="group", group="g", seed=s), "test", labels, NAMES, Ties(groups))[1]]) for s in range(40)
    ]
    assert len(set(map(frozenset, chosen))) > 30
    assert set.union(*chosen) == set(range(31))
    again = cut(data(split="group", group="g", seed=3), "test", labels, NAMES, Ties(groups))[1]
    assert set(groups[again]) == chosen[3]


def test_a_large_group_is_not_held_out_where_small_ones_make_up_the_share():
    groups = np.concatenate([[0] * 190, np.arange(1, 82).repeat(10)])
    labels = np.arange(1000) % 3
    for seed in range(10):
        _, held = cut(data(split="group", group="g", seed=seed, test=0.1), "test", labels, NAMES, Ties(groups))
        assert len(held) == 100 and 0 not in groups[held]


def test_a_group_split_takes_no_longer_a_group_where_there_are_many():
    def seconds(count: int) -> float:
        groups = np.arange(count).repeat(3)
        begin = time.process_time()
        _, held = cut(data(split="group", group="g"), "test", np.arange(3 * count) % 3, NAMES, Ties(groups))
        assert len(held) == math.ceil(0.6 * count) // 3 * 3
        return time.process_time() - begin

    seconds(1000)
    assert seconds(200_000) < 60 * seconds(20_000)


@pytest.mark.parametrize("held", [0.25, 20, 29, 0.5, 1])
def test_series_of_one_time_stand_on_one_side(held):
    random = np.random.default_rng(0)
    times = random.permutation(np.arange(10).repeat(10))
    kept, out = cut(data(split="time", test=held), "test", random.permutation(np.arange(100) % 3), NAMES, Ties(times=times))
    assert times[kept].max() < times[out].min()
    asked = held if isinstance(held, int) else 100 * held
    assert abs(len(out) - asked) <= 5 or len(out) == 10


def test_times_that_are_all_the_same_are_refused():
    with pytest.raises(DataError, match=r"data\.split = time: data\.test is cut from 12 examples, which all have the time 7"):
        cut(data(split="time"), "test", np.arange(12) % 3, NAMES, Ties(times=np.full(12, 7)))


@pytest.mark.parametrize("seconds", [1.7e9, 1.7e9 * 1e6])
@pytest.mark.parametrize("kind", ["f8", "M8[us]"])
def test_times_that_differ_by_a_second_since_1970_are_told_apart(seconds, kind):
    times = (seconds + np.random.default_rng(0).permutation(30)).astype("i8").astype(kind)
    kept, held = cut(data(split="time", test=3), "test", np.arange(30) % 3, NAMES, Ties(times=times))
    assert len(held) == 3 and times[kept].max() < times[held].min()


def test_series_that_reach_into_the_time_that_is_held_out_are_on_neither_side():
    begins = np.arange(100)  # windows of 30 steps, one apart
    kept, held = cut(data(split="time", test=0.2), "test", begins % 3, NAMES, Ties(times=begins, ends=begins + 29))
    assert held.tolist() == list(range(80, 100)) and kept.tolist() == list(range(51))


def test_series_that_all_reach_into_the_time_that_is_held_out_are_refused_with_their_number():
    begins = np.arange(20)
    with pytest.raises(DataError, match=r"besides 16 that end when the held-out time has begun, leaves too few .* 'a' \(0\)"):
        cut(data(split="time"), "test", begins % 3, NAMES, Ties(times=begins, ends=begins + 100))


def test_the_latest_are_held_out():
    times = np.array([5, 3, 9, 1, 7, 2, 8, 4, 6, 0.5])
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 1])
    kept, held = cut(data(split="time", test=3), "test", labels, NAMES, Ties(times=times))
    assert held.tolist() == [2, 4, 6] and times[kept].max() < times[held].min()


def test_a_class_that_only_the_latest_have_is_named():
    with pytest.raises(DataError, match=r"data\.test = 0\.2 leaves too few training examples of class 'c' \(0\)"):
        cut(data(split="time"), "test", np.array([0, 1, 0, 1, 0, 1, 0, 1, 1, 2]), NAMES, Ties(times=np.arange(10)))


@pytest.mark.parametrize(
    ("words", "order"),
    [
        (["10", "9", "-1.5"], ("-1.5", "9", "10")),
        (["b", "10", "9"], ("10", "9", "b")),
        (["nan", "2", "10"], ("10", "2", "nan")),
        (["1.0", "1", "01"], ("01", "1", "1.0")),
        (["no", "Yes"], ("Yes", "no")),
    ],
)
def test_classes_are_in_the_order_of_their_numbers_if_all_are_numbers_else_of_their_text(words, order):
    assert class_order(words) == class_order(reversed(words)) == order
