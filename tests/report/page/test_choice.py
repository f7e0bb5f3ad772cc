"""Which examples a page shows first."""

from __future__ import annotations

import numpy as np

from pipeline.report.page import choice, measured


def guesses(count: int, classes: int) -> measured.Guesses:
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    predictions = np.where(random.random(count) < 0.3, (labels + 1) % classes, labels)
    return measured.Guesses(np.arange(count), labels, predictions, random.random(count))


def test_the_most_confident_mistakes_come_first_then_each_class_then_all_other_mistakes() -> None:
    rows, classes = guesses(400, 7), 7
    found = choice.of_test(rows, classes)
    wrong = np.flatnonzero(rows.labels != rows.predictions)
    ordered = sorted(wrong.tolist(), key=lambda row: -rows.confidence[row])
    assert found[: choice.MISTAKES] == ordered[: choice.MISTAKES]
    assert len(found) == len(set(found)) and set(wrong.tolist()) <= set(found)
    right = found[choice.MISTAKES : choice.MISTAKES + choice.RIGHT * classes]
    assert np.bincount(rows.labels[right]).tolist() == [choice.RIGHT] * classes
    assert not set(right) & set(wrong.tolist())


def test_examples_of_the_train_split_are_spread_over_each_class() -> None:
    labels = np.repeat([0, 1, 2], [100, 2, 0])
    assert choice.of_train(labels, 3, 4) == [0, 100, 33, 101, 66, 99]


def test_a_split_that_is_predicted_right_throughout_has_no_mistake() -> None:
    rows = measured.Guesses(np.arange(3), np.zeros(3, int), np.zeros(3, int), np.ones(3))
    assert choice.of_test(rows, 2) == [0, 1]


def test_many_classes_have_a_list_of_mistakes_and_few_a_matrix() -> None:
    few, many = guesses(60, 5), guesses(400, 100)
    matrix = measured.confusion(few, [str(n) for n in range(5)])["matrix"]
    assert sum(cell["count"] for row in matrix for cell in row["cells"]) == 60
    assert all((cell["shade"] > 0) == (cell["count"] > 0) for row in matrix for cell in row["cells"])
    listed = measured.confusion(many, [str(n) for n in range(100)])["frequent"]
    assert 0 < len(listed) <= measured.FREQUENT and all(pair["label"] != pair["guess"] for pair in listed)
    bins = measured.reliability(many)
    assert sum(found["count"] for found in bins) == 400
    assert all(found["low"] <= found["accuracy"] <= found["high"] for found in bins)
