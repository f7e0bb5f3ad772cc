"""What split.py promises: what is held out is as large as asked for, and groups and times are respected."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.config import Data
from pipeline.data.split import class_order, cut
from pipeline.errors import DataError

NAMES = ("a", "b", "c")


def data(**keys) -> Data:
    return Data(source="csv", path="x", **keys)


def test_a_group_is_never_on_both_sides_and_classes_keep_their_shares():
    random = np.random.default_rng(0)
    groups = random.integers(0, 60, 900)
    labels = random.integers(0, 3, 900)
    kept, held = cut(data(split="group", group="g"), "test", labels, NAMES, groups)
    assert sorted([*kept, *held]) == list(range(900))
    assert not set(groups[kept]) & set(groups[held])
    shares = np.bincount(labels[held]) / np.bincount(labels)
    np.testing.assert_allclose(shares, 0.2, atol=0.02)
    other = cut(data(split="group", group="g", seed=1), "test", labels, NAMES, groups)[1]
    assert not np.array_equal(held, other)


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_few_groups_stays_in_training(seed):
    labels = np.array([0] * 20 + [1] * 20 + [2] * 4)
    groups = np.array([*range(20), *range(20), 40, 40, 40, 40])
    kept, held = cut(data(split="group", group="g", seed=seed), "test", labels, NAMES, groups)
    assert set(labels[kept]) == {0, 1, 2} and len(held)


def test_two_groups_are_enough_and_one_is_refused_with_a_count():
    labels, groups = np.array([0, 1, 2] * 4), np.array([0] * 6 + [1] * 6)
    kept, held = cut(data(split="group", group="g"), "test", labels, NAMES, groups)
    assert len(kept) == len(held) == 6
    with pytest.raises(DataError, match=r"too few groups to hold out data\.test: .* there are 1 groups in 12 examples"):
        cut(data(split="group", group="g"), "test", labels, NAMES, groups * 0)


def test_the_latest_are_held_out():
    times = np.array([5, 3, 9, 1, 7, 2, 8, 4, 6, 0.5])
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 1])
    kept, held = cut(data(split="time", test=3), "test", labels, NAMES, None, times)
    assert held.tolist() == [2, 4, 6] and times[kept].max() < times[held].min()


def test_a_class_that_only_the_latest_have_is_named():
    with pytest.raises(DataError, match=r"data\.test = 0\.2 leaves too few training examples of class 'c' \(0\)"):
        cut(data(split="time"), "test", np.array([0, 1, 0, 1, 0, 1, 0, 1, 1, 2]), NAMES, None, np.arange(10))


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
