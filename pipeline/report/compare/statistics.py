"""Tests and intervals for accuracies on the same test examples, and over seeds.

Sources: McNemar, 1947, Psychometrika 12 (its exact form is a binomial test of the examples on which two models differ;
Dietterich, 1998, Neural Computation 10, recommends it for two models trained once). Newcombe, 1998, Statistics in Medicine 17,
2635-2650, method 10. Welch, 1947, Biometrika 34 (for seeds: Colas, Sigaud and Oudeyer, 2019, arXiv 1904.06979). Crawford and
Howell, 1998, The Clinical Neuropsychologist 12. Fisher, 1935, The Design of Experiments (permutation). Holm, 1979,
Scandinavian Journal of Statistics 6. Student, 1908, Biometrika 6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import NamedTuple

LEVEL = 0.05  # of a test; intervals hold with 1 - LEVEL


class Interval(NamedTuple):
    """Where a value lies with 95 % confidence."""

    low: float
    high: float


@dataclass(frozen=True)
class Test:
    """What a test says of a difference."""

    name: str
    p: float
    difference: float
    interval: Interval | None  # of the difference


def mcnemar(both: int, first: int, second: int, neither: int) -> Test:
    """McNemar's exact test of two models on the same examples: those that ``both`` predict right, the ``first`` alone, the
    ``second`` alone, and ``neither``. The difference is that of accuracies, first minus second."""
    from scipy.stats import binomtest

    count = both + first + second + neither
    p = float(binomtest(first, first + second, 0.5).pvalue) if first + second else 1.0
    return Test("McNemar's exact test", p, (first - second) / count, _newcombe(both, first, second, neither))


def _newcombe(both: int, first: int, second: int, neither: int) -> Interval:
    """The interval of a difference of two shares of the same examples, of those of each share (Wilson's)."""
    from scipy.stats import binomtest

    count = both + first + second + neither
    one, other = (both + first) / count, (both + second) / count
    own = [binomtest(hits, count).proportion_ci(1 - LEVEL, "wilson") for hits in (both + first, both + second)]
    product = (both + first) * (second + neither) * (both + second) * (first + neither)
    excess = both * neither - first * second
    phi = (max(excess - count / 2, 0) if excess > 0 else excess) / math.sqrt(product) if product else 0.0
    below, above = one - own[0].low, own[0].high - one
    other_below, other_above = other - own[1].low, own[1].high - other
    return Interval(
        one - other - math.sqrt(max(0.0, below**2 - 2 * phi * below * other_above + other_above**2)),
        one - other + math.sqrt(max(0.0, above**2 - 2 * phi * above * other_below + other_below**2)),
    )


def over_seeds(first: Sequence[float], second: Sequence[float]) -> Test:
    """Whether the means of two recipes differ, of what each gave with some seeds, at least three in all: Welch's test; that of
    Crawford and Howell where a recipe has one seed only; a permutation test where no recipe has a spread."""
    difference = mean(first) - mean(second)
    if min(len(first), len(second)) == 1:
        return _one_against_many(first, second, difference)
    if stdev(first) == stdev(second) == 0:
        return Test("permutation test", _permuted(first, second), difference, None)
    from scipy.stats import ttest_ind

    found = ttest_ind(first, second, equal_var=False)
    interval = found.confidence_interval(1 - LEVEL)
    return Test(
        "Welch's t-test over seeds", float(found.pvalue), difference, Interval(float(interval.low), float(interval.high))
    )


def _one_against_many(first: Sequence[float], second: Sequence[float], difference: float) -> Test:
    """Whether one value is likely to come from where several others do: their spread counts, and how few they are."""
    name = "Crawford and Howell's test of one seed against several"
    many = first if len(first) > 1 else second
    scale = stdev(many) * math.sqrt(1 + 1 / len(many))
    if scale == 0:
        return Test("permutation test", _permuted(first, second), difference, None)
    from scipy.stats import t

    half = float(t.ppf(1 - LEVEL / 2, len(many) - 1)) * scale
    p = 2 * float(t.sf(abs(difference) / scale, len(many) - 1))
    return Test(name, p, difference, Interval(difference - half, difference + half))


def _permuted(first: Sequence[float], second: Sequence[float]) -> float:
    """The share of all ways to name the values anew in which the means differ at least as much, for values that are the same
    within each recipe: only the two ways that part them differ as much."""
    if mean(first) == mean(second):
        return 1.0
    return (1 + (len(first) == len(second))) / math.comb(len(first) + len(second), len(first))


def holm(values: Sequence[float]) -> list[float]:
    """p values of several tests, each such that all decisions at a level together err with at most that probability."""
    found, least = [0.0] * len(values), 0.0
    for number, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        least = max(least, min(1.0, (len(values) - number) * values[place]))
        found[place] = least
    return found


def student(values: Sequence[float]) -> Interval | None:
    """Student's interval of the mean; None of a single value."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    half = float(t.ppf(1 - LEVEL / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return Interval(mean(values) - half, mean(values) + half)
