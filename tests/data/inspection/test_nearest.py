"""What nearest.py promises: shape alone is chosen where it surely tells more, and for no other reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.data.inspection import nearest
from pipeline.data.inspection.nearest import Nearest
from pipeline.data.series import Array, Series, offsets_of

CLASSES, PERSONS = 3, 12


def series(values: list[Array], labels: list[str], groups: list[str] | None = None) -> Series:
    offsets, rows = offsets_of(np.array([len(one) for one in values])), np.arange(len(values))
    names, ids = tuple(f"c{number}" for number in range(values[0].shape[1])), tuple(map(str, rows))
    tied = None if groups is None else tuple(groups)
    return Series(Path("a"), np.concatenate(values), offsets, names, ids, tuple(labels), tied, None, "row", rows)


def of_persons(level: float, gain: float, steps: tuple[int, int] = (40, 40), each: int = 5) -> tuple[list, list, list]:
    """Series of two channels: waves as fast as their class, of persons, of which each has a level and a gain of its own."""
    random = np.random.default_rng(0)
    made, labels, groups = [], [], []
    for person in range(PERSONS):
        for number in range(each * CLASSES):
            scale, shift = np.exp(gain * random.normal(size=2)), level * random.normal(size=2)
            time = np.linspace(0, 1, int(random.integers(steps[0], steps[1] + 1)))[:, None]
            wave = np.sin(2 * np.pi * (1 + number % CLASSES) * time + [0, 1]) + 0.3 * random.normal(size=(len(time), 2))
            made.append(wave * scale + shift)
            labels.append(f"k{number % CLASSES}")
            groups.append(f"p{person}")
    return made, labels, groups


def told(*of: Series) -> tuple[float, float] | None:
    found = Nearest()
    for block in of:
        found.add(block)
    return found.by_shape()


@pytest.mark.parametrize("steps", [(40, 40), (20, 200)])
@pytest.mark.parametrize("channels", [1, 2])
def test_series_that_differ_in_level_and_gain_are_told_apart_by_shape(steps: tuple[int, int], channels: int) -> None:
    made, labels, groups = of_persons(5, 1, steps)
    found = told(series([one[:, :channels] for one in made], labels, groups))
    assert found is not None and found[1] > found[0] + 0.15 and found[1] > 0.8


def test_series_that_do_not_differ_so_are_left_as_they_are() -> None:
    assert told(series(*of_persons(0, 0))) is None


def test_a_class_that_is_a_level_or_a_gain_keeps_it() -> None:
    random = np.random.default_rng(0)
    labels = [f"k{number % CLASSES}" for number in range(90)]
    levels = [random.normal(size=(30, 1)) + 3 * (number % CLASSES) for number in range(90)]
    gains = [random.normal(size=(30, 1)) * 4.0 ** (number % CLASSES) for number in range(90)]
    assert told(series(levels, labels)) is None and told(series(gains, labels)) is None


def test_few_series_say_nothing_surely() -> None:
    made, labels, groups = of_persons(5, 1, each=1)
    assert told(series(made, labels, groups)) is not None
    assert told(series(made[:9], labels[:9], groups[:9])) is None


def test_the_nearest_is_one_of_another_group() -> None:
    """Each person's series are all but the same, whatever their class: as they are, only others tell the class."""
    made, labels, groups = of_persons(5, 1)
    twice = [one + 1e-6 for one in made]
    (alone, _), (both, _) = (told(series(made, labels, groups)), told(series(made + twice, labels * 2, groups * 2)))
    assert alone == both
    assert told(series(made + twice, labels * 2)) is None, "without groups, the copy of a series is the nearest"


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_blocks_say_what_the_whole_says(monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    made, labels, groups = of_persons(5, 1)
    for most in (nearest.MOST, 100):
        monkeypatch.setattr(nearest, "MOST", most)
        pieces = [slice(start, start + cut) for start in range(0, len(made), cut)]
        blocks = [series(made[piece], labels[piece], groups[piece]) for piece in pieces]
        assert told(*blocks) == told(series(made, labels, groups)) is not None


def test_of_many_series_some_that_lie_evenly_apart_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "MOST", 10)
    found = Nearest()
    found.add(series([np.full((3, 1), float(number)) for number in range(100)], ["a"] * 100))
    assert [points[0, 0, 0] for points, _, _ in found._kept] == [0, 16, 32, 48, 64, 80, 96]


def test_no_more_series_are_looked_at_than_are_kept_however_many_a_block_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, real = [], nearest._points
    monkeypatch.setattr(nearest, "_points", lambda values: looked.append(1) or real(values))
    found = Nearest()
    found.add(series([np.ones((1, 1))] * 20_000, ["a"] * 20_000))
    assert nearest.MOST / 2 < len(looked) == len(found._kept) <= nearest.MOST


def test_what_is_missing_constant_or_far_away_changes_nothing() -> None:
    made, labels, groups = of_persons(5, 1)
    plain = told(series(made, labels, groups))
    beside = [np.column_stack([one, np.full(len(one), 7.0), np.full(len(one), np.nan)]) for one in made]
    assert told(series(beside, labels, groups)) == plain
    far = told(series([one + 1e6 for one in made], labels, groups))
    assert far is not None and np.allclose(far, plain, atol=0.03)
    for one in made:
        one[5] = np.nan
    holes = told(series(made, labels, groups))
    assert holes is not None and np.allclose(holes, plain, atol=0.1)


def test_series_of_one_step_have_no_shape() -> None:
    random = np.random.default_rng(0)
    assert told(series(list(random.normal(size=(60, 1, 2))), ["a", "b"] * 30)) is None
    assert told(series([np.ones((1, 1))], ["a"])) is None
