"""The best evaluation is, of those that are equal, the one with the lowest loss; what is not a number is never better."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import TypeAdapter

from pipeline.training.selection import Selection


def chosen(monitor: str, values: list[float], losses: list[float]) -> Selection:
    """What the evaluations at the steps 1, 2 and so on make of none."""
    selection = Selection()
    for step, (value, loss) in enumerate(zip(values, losses, strict=True), 1):
        selection = selection.after(value, loss, step, monitor)
    return selection


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
    losses = values if monitor == "valid/loss" else [1.0] * len(values)
    selection = chosen(monitor, values, losses)
    assert selection == Selection(values[best - 1] if best else None, best, stale, losses[best - 1] if best else None)


@pytest.mark.parametrize(
    ("values", "losses", "best"),
    [
        ([1.0, 1.0, 1.0, 1.0], [1.1, 0.2, 0.3, 0.2], 2),
        ([1.0, 1.0, 0.9], [1.1, 0.2, 0.1], 2),
        ([1.0, 1.0], [0.2, math.nan], 1),
        ([0.5, 1.0, 1.0], [0.1, 0.9, 0.8], 3),
    ],
)
def test_of_equal_scores_the_lowest_loss_is_the_best_and_does_not_put_off_the_end(
    values: list[float], losses: list[float], best: int
) -> None:
    selection = chosen("valid/accuracy", values, losses)
    assert selection == Selection(max(values), best, len(values) - 1 - values.index(max(values)), losses[best - 1])


def test_a_selection_that_knows_of_no_loss_stays_until_a_score_is_better() -> None:
    """As it lies in a checkpoint of a version that kept none."""
    older = TypeAdapter(Selection).validate_json(json.dumps({"value": 0.5, "step": 3, "stale": 0}))
    assert older.after(0.5, 0.1, 4, "valid/accuracy") == Selection(0.5, 3, 1)
    assert older.after(0.6, 0.1, 4, "valid/accuracy") == Selection(0.6, 4, 0, 0.1)


def test_it_is_described_where_there_was_an_evaluation() -> None:
    assert Selection().describe("valid/loss") == ""
    assert Selection(0.25, 30, 2).describe("valid/loss") == "; best valid/loss 0.2500 at step 30"
