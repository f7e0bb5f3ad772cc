"""What a new configuration says of data of a certain size and shape, and of no other property."""

from __future__ import annotations

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
        groups=0,
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


def test_series_that_are_nearly_the_same_are_not_distorted_by_more_than_they_differ() -> None:
    said = chosen(profile(2, 20, differ=0.08))
    assert not any(key.removeprefix("data.") in SERIES_WARPS for key in said) and said["train.label_smoothing"]


def test_long_series_get_fewer_steps_within_the_limits() -> None:
    taken = []
    for steps in (50, 300, 1000, 3000):
        said = chosen(profile(5, 40, steps))
        taken.append(said["train.epochs"] * 200 / said["train.batch"])  # type: ignore[operator]
    assert taken == sorted(taken, reverse=True) and taken[0] > taken[-1]
    assert recipe.STEPS[0] <= taken[-1] and taken[0] <= 1.1 * recipe.STEPS[1]
