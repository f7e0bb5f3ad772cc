"""What a new configuration says of data of a certain size and shape, and of no other property."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.config.data_section import SERIES_WARPS
from pipeline.data.inspection.profile import Profile
from pipeline.tuning import recipe


def profile(classes: int, each: int, steps: int = 100, differ: float = 0.7) -> Profile:
    return Profile(
        count=classes * each,
        shortest=steps,
        longest=steps,
        mean_length=float(steps),
        channels=("x",),
        classes={str(number): each for number in range(classes)},
        missing=0.0,
        constant=(),
        groups=frozenset(),
        spread=1.0,
        differ=differ,
    )


def chosen(data: Profile) -> dict[str, object]:
    return {choice.key: choice.value for choice in recipe.for_series(data, data.count)}


@pytest.mark.parametrize(("classes", "each", "distorts"), [(2, 20, True), (2, 200, False), (4, 10, True), (10, 10, False)])
@pytest.mark.parametrize("steps", [24, 100])
def test_series_of_many_steps_are_distorted_where_all_labels_together_say_little(
    classes: int, each: int, distorts: bool, steps: int
) -> None:
    said, distorts = chosen(profile(classes, each, steps)), distorts and steps == 100
    assert any(key.removeprefix("data.") in SERIES_WARPS for key in said) == distorts
    assert ("train.label_smoothing" in said) == distorts


def test_series_are_distorted_by_no_more_than_they_differ() -> None:
    usual, alike, same = (chosen(profile(2, 20, differ=differ)) for differ in (0.7, 0.1, 0.0))
    assert (usual["data.jitter"], usual["data.scaling"], usual["data.crop"]) == (0.1, 0.2, 0.1)
    assert (alike["data.jitter"], alike["data.scaling"], alike["data.crop"]) == (0.02, 0.04, 0.02)
    assert same["data.jitter"] == same["data.scaling"] == same["data.crop"] == 0 and same["train.label_smoothing"]


@pytest.mark.parametrize(("count", "batch"), [(2, 2), (6, 4), (12, 8), (28, 8), (32, 8), (64, 16), (1000, 32)])
def test_the_statistics_of_a_batch_are_of_eight_series_or_as_many_as_there_are(count: int, batch: int) -> None:
    data = profile(2, count // 2)
    assert chosen(data)["train.batch"] == batch


def test_series_whose_padding_is_masked_out_get_fewer_steps_for_the_same_time() -> None:
    equal = profile(5, 40, 600)
    few, many = (chosen(data)["train.epochs"] for data in (replace(equal, shortest=599), equal))
    assert few < many, (few, many)  # type: ignore[operator]


def test_long_series_get_fewer_steps_within_the_limits() -> None:
    taken = []
    for steps in (50, 300, 1000, 3000):
        said = chosen(profile(5, 40, steps))
        taken.append(said["train.epochs"] * 200 / said["train.batch"])  # type: ignore[operator]
    assert taken == sorted(taken, reverse=True) and taken[0] > taken[-1]
    assert recipe.STEPS[0] <= taken[-1] and taken[0] <= 1.1 * recipe.STEPS[1]


def test_series_that_only_their_shape_tells_apart_are_standardised_and_the_reason_is_said() -> None:
    plain = profile(5, 40)
    assert "data.z_norm" not in chosen(plain)
    (choice,) = (one for one in recipe.for_series(replace(plain, by_shape=(0.728, 0.855)), 200) if one.key == "data.z_norm")
    assert choice.value is True and choice.why == "the nearest series of others is of the same class in 86% so, else in 73%"
    both = recipe.for_series(replace(plain, by_shape=(0.7, 0.9), spread=100.0), 200)
    assert [one.key for one in both].count("data.z_norm") == 1
