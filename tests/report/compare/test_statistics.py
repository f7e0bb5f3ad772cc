"""Tests and intervals give the numbers of their sources, and of counting by hand."""

from __future__ import annotations

import itertools
import math
import random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.compare import statistics


def by_hand(first: int, second: int) -> float:
    """The probability, under a fair coin, of what is at most as probable as so many heads and tails."""
    count = first + second
    ways = [math.comb(count, heads) for heads in range(count + 1)]
    return sum(way for way in ways if way <= ways[first]) / 2**count


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (5, 1), (8, 1), (12, 12), (59, 31), (0, 9)])
def test_mcnemar_is_exact(first: int, second: int) -> None:
    assert statistics.mcnemar(100, first, second, 7).p == pytest.approx(by_hand(first, second))


def test_mcnemar_of_a_published_table() -> None:
    """Agresti, Categorical Data Analysis: approval of a prime minister by 1,600 people in two surveys; z = -4.17 squared."""
    found = statistics.mcnemar(794, 150, 86, 570)
    assert found.p == pytest.approx(3.7e-5, rel=0.05)
    assert found.difference == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [((36, 12, 2, 0), 0.0569, 0.3404), ((794, 150, 86, 570), 0.0214, 0.0586)],  # Newcombe, 1998, table II; Wald's of the other
)
def test_newcombe_of_published_tables(table: tuple[int, int, int, int], low: float, high: float) -> None:
    interval = statistics.mcnemar(*table).interval
    assert interval and interval == pytest.approx((low, high), abs=5e-4)


@given(st.tuples(*[st.integers(0, 60)] * 4).filter(lambda table: sum(table) > 0))
def test_exchanging_the_models_turns_the_difference_round_and_leaves_p(table: tuple[int, int, int, int]) -> None:
    both, first, second, neither = table
    one, other = statistics.mcnemar(*table), statistics.mcnemar(both, second, first, neither)
    assert one.interval and other.interval
    assert one.p == pytest.approx(other.p) and one.difference == -other.difference
    assert (one.interval.low, one.interval.high) == pytest.approx((-other.interval.high, -other.interval.low))
    assert one.interval.low - 1e-12 <= one.difference <= one.interval.high + 1e-12
    assert 0 <= one.p <= 1 and one.interval.low >= -1 and one.interval.high <= 1


def test_the_interval_holds_the_true_difference_in_95_of_100_samples() -> None:
    chance = random.Random(0)
    kinds, weights, held = range(4), (0.7, 0.12, 0.08, 0.1), 0
    for _ in range(400):
        drawn = chance.choices(kinds, weights, k=200)
        interval = statistics.mcnemar(*(drawn.count(kind) for kind in kinds)).interval
        assert interval
        held += interval.low <= 0.04 <= interval.high
    assert 0.92 < held / 400 < 0.99


def test_welch_of_a_published_example() -> None:
    """Ruxton, 2006, and Wikipedia's first example of Welch's test: t = -2.46, 25.0 degrees of freedom, p = 0.021."""
    first = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
    second = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4]
    found = statistics.over_seeds(first, second)
    assert found.p == pytest.approx(0.021, abs=5e-4) and found.interval and found.interval.high < 0


def test_one_seed_against_several_counts_their_spread() -> None:
    """t = (x - mean) / (s * sqrt((n + 1) / n)), of 3 degrees of freedom: for 4 values of mean 0 and s = sqrt(2 / 3), x = 2."""
    found = statistics.over_seeds([2.0], [-1.0, 0.0, 0.0, 1.0])
    t = 2 / math.sqrt(2 / 3 * 5 / 4)
    density = 2 / (math.pi * math.sqrt(3))  # of Student's t with 3 degrees of freedom at 0
    steps = 200_000
    inner = sum(density * (1 + (t * (k + 0.5) / steps) ** 2 / 3) ** -2 for k in range(steps)) * t / steps
    assert found.p == pytest.approx(1 - 2 * inner, abs=1e-6)
    turned = statistics.over_seeds([-1.0, 0.0, 0.0, 1.0], [2.0])
    assert (turned.p, turned.difference) == (pytest.approx(found.p), -found.difference)


@pytest.mark.parametrize(("first", "second"), [([1.0] * 3, [0.0] * 3), ([1.0], [0.0] * 4), ([0.5] * 2, [0.5] * 2)])
def test_without_a_spread_all_ways_to_name_the_values_are_counted(first: list[float], second: list[float]) -> None:
    values, distance = first + second, abs(mean(first) - mean(second))
    ways = list(itertools.combinations(range(len(values)), len(first)))
    as_far = sum(
        abs(mean(values[i] for i in way) - mean(values[i] for i in range(len(values)) if i not in way)) >= distance - 1e-12
        for way in ways
    )
    found = statistics.over_seeds(first, second)
    assert found.name == "permutation test" and found.p == pytest.approx(as_far / len(ways))


def test_holm_of_a_published_example() -> None:
    """Aickin and Gensler, 1996, as in R's p.adjust: sorted p, times how many are left, never falling."""
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == [] and statistics.holm([0.6]) == [0.6] and statistics.holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_between_the_p_value_and_bonferronis_and_keeps_the_order(values: list[float]) -> None:
    found = statistics.holm(values)
    assert all(p <= q <= min(1.0, len(values) * p) + 1e-12 for p, q in zip(values, found, strict=True))
    assert sorted(range(len(values)), key=lambda place: (values[place], place)) == sorted(
        range(len(values)), key=lambda place: (found[place], values[place], place)
    )


def test_student_of_three_values() -> None:
    interval = statistics.student([1.0, 2.0, 3.0])
    assert interval and interval == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), abs=1e-5)
    assert statistics.student([1.0]) is None
