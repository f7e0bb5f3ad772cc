"""The best evaluation is the first of those that are equal, and what is not a number is never better."""

from __future__ import annotations

import math

import pytest

from pipeline.training.selection import Selection


@pytest.mark.parametrize(
    ("monitor", "values", "best", "stale"),
    [
        ("valid/loss", [3.0, 2.0, 2.5], 2, 1),
        ("valid/loss", [2.0, 2.0, 2.0], 1, 2),
        ("valid/loss", [math.nan, 2.0, math.nan, 3.0], 2, 2),
        ("valid/loss", [math.inf, math.nan], 0, 2),
        ("valid/loss", [-math.inf, 1.0], 2, 0),
        ("valid/loss", [0.0, 1.0], 1, 1),
        ("valid/accuracy", [0.0, 0.5, 0.5, 0.4, 0.6], 5, 0),
        ("valid/accuracy", [0.5, 0.5], 1, 1),
        ("valid/accuracy", [math.inf, 0.5, math.nan], 2, 1),
        ("valid/macro_f1", [0.2, 0.4, 0.3], 2, 1),
    ],
)
def test_the_best_is_the_first_of_the_least_losses_or_of_the_largest_scores(
    monitor: str, values: list[float], best: int, stale: int
) -> None:
    selection = Selection()
    for step, value in enumerate(values, 1):
        selection = selection.after(value, step, monitor)
    assert selection == Selection(values[best - 1] if best else None, best, stale)


def test_it_is_described_where_there_was_an_evaluation() -> None:
    assert Selection().describe("valid/loss") == ""
    assert Selection(0.25, 30, 2).describe("valid/loss") == "; best valid/loss 0.2500 at step 30"
