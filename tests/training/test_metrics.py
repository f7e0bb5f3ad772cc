"""What metrics.py promises: the numbers of scikit-learn, from counts that add up."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from pipeline.training import metrics

CLASSES = 6
NAMES = [f"class {index}" for index in range(CLASSES)]


def example(seed: int, count: int = 500) -> tuple[np.ndarray, ...]:
    """Labels, predictions, confidence and losses; one class is never a label, another never predicted."""
    random = np.random.default_rng(seed)
    labels, guesses = random.integers(0, CLASSES, (2, count))
    labels[labels == 2] = 3
    guesses = np.where(random.random(count) < 0.6, labels, guesses)
    guesses[guesses == 4] = 0
    confidence = random.random(count)
    return labels, guesses, confidence, -np.log(confidence)


@pytest.mark.parametrize("seed", range(5))
def test_measures_are_those_of_scikit_learn_with_a_class_absent(seed: int) -> None:
    labels, guesses, confidence, losses = example(seed)
    summary = metrics.measures(labels, guesses, confidence, losses, NAMES)
    every = list(range(CLASSES))
    matrix = sklearn_metrics.confusion_matrix(labels, guesses, labels=every)
    np.testing.assert_array_equal(summary["confusion_matrix"], matrix)
    theirs = sklearn_metrics.precision_recall_fscore_support(labels, guesses, labels=every, zero_division=0)
    ours = [[row[key] for row in summary["per_class"].values()] for key in ("precision", "recall", "f1", "support")]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert list(summary["per_class"]) == NAMES
    assert summary["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, guesses))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        balanced = sklearn_metrics.balanced_accuracy_score(labels, guesses)
    assert summary["balanced_accuracy"] == pytest.approx(balanced)
    f1 = sklearn_metrics.f1_score(labels, guesses, labels=every, average="macro", zero_division=0)
    assert summary["macro_f1"] == pytest.approx(f1)
    assert (summary["count"], summary["loss"]) == (500, pytest.approx(losses.mean()))
    assert summary["per_class"]["class 2"] | {"precision": 0} == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    json.dumps(summary, allow_nan=False)


@pytest.mark.parametrize("count", [1, 2, 7, 500])
@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label was found")
def test_what_a_checkpoint_is_chosen_by_is_what_scikit_learn_says(count: int) -> None:
    labels, guesses, confidence, losses = example(count, count)
    every = list(range(CLASSES))
    found = metrics.selectable(labels, guesses, losses, CLASSES)
    assert found == {
        "loss": pytest.approx(losses.mean()),
        "accuracy": pytest.approx(sklearn_metrics.accuracy_score(labels, guesses)),
        "balanced_accuracy": pytest.approx(sklearn_metrics.balanced_accuracy_score(labels, guesses)),
        "macro_f1": pytest.approx(sklearn_metrics.f1_score(labels, guesses, labels=every, average="macro", zero_division=0)),
    }
    assert found.items() <= metrics.measures(labels, guesses, confidence, losses, NAMES).items(), "one number, one value"


def test_a_majority_does_not_hide_behind_balanced_measures() -> None:
    labels = np.array([0] * 98 + [1] * 2)
    found = metrics.selectable(labels, np.zeros(100, np.int64), np.ones(100), 2)
    assert found["accuracy"] == 0.98
    assert found["balanced_accuracy"] == 0.5
    assert found["macro_f1"] == pytest.approx((2 * 98 / (98 + 100) + 0) / 2)


def test_counts_of_parts_add_up_to_those_of_the_whole() -> None:
    labels, guesses, *_ = example(9)
    whole = metrics.confusion_matrix(labels, guesses, CLASSES)
    cuts = [0, 1, 1, 137, 500]
    parts = [metrics.confusion_matrix(labels[a:b], guesses[a:b], CLASSES) for a, b in pairwise(cuts)]
    np.testing.assert_array_equal(sum(parts), whole)
    assert whole.sum() == 500 and whole.dtype == np.int64


def test_cells_are_those_of_the_matrix_that_are_not_0_in_its_order() -> None:
    labels, guesses, *_ = example(4)
    matrix = metrics.confusion_matrix(labels, guesses, CLASSES)
    found = metrics.confusion_cells(labels, guesses, CLASSES)
    assert found.tolist() == [[*place, matrix[tuple(place)]] for place in np.argwhere(matrix).tolist()]
    assert metrics.all_cells(found, CLASSES).tolist() == [[*place, count] for place, count in np.ndenumerate(matrix)]
    assert metrics.confusion_cells(labels[:0], guesses[:0], CLASSES).shape == (0, 3)


def test_the_most_frequent_mistakes_come_first_and_those_that_are_as_frequent_in_order() -> None:
    cells = np.array([[0, 0, 9], [0, 2, 3], [1, 0, 5], [1, 1, 1], [2, 0, 5], [2, 1, 4]])
    assert metrics.mistakes(cells, 3).tolist() == [[1, 0, 5], [2, 0, 5], [2, 1, 4]]
    assert metrics.mistakes(cells, 10)[:, 2].tolist() == [5, 5, 4, 3]


def test_many_classes_cost_what_they_are_and_not_their_square() -> None:
    classes, count = 20_000, 30_000
    random = np.random.default_rng(0)
    labels, guesses = random.integers(0, classes, (2, count))
    names = [str(number) for number in range(classes)]
    tracemalloc.start()
    summary = metrics.measures(labels, guesses, np.ones(count), np.ones(count), names)
    text = json.dumps(summary, indent=2)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 200 * 2**20 and len(text) < 10 * 2**20, "the matrix would be 3 GB"
    cells = summary["confusion_cells"]
    assert sum(cells["count"]) == count and set(zip(cells["label"], cells["prediction"], strict=True)) == set(
        zip(labels.tolist(), guesses.tolist(), strict=True)
    )


def test_a_matrix_is_whole_up_to_200_classes() -> None:
    numbers = np.array([0, 1])
    for classes, there, absent in ((200, "confusion_matrix", "confusion_cells"), (201, "confusion_cells", "confusion_matrix")):
        summary = metrics.measures(numbers, numbers, np.ones(2), np.ones(2), [str(number) for number in range(classes)])
        assert there in summary and absent not in summary


def test_rows_are_labels_and_columns_predictions() -> None:
    matrix = metrics.confusion_matrix(np.array([0, 0, 2]), np.array([1, 1, 0]), 3)
    assert matrix.tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]


def test_calibration_error_of_an_example_done_by_hand() -> None:
    """15 bins. 0.95 and 0.97 fall into the last (14/15 = 0.933...), 0.5 into the 8th, 0.34 and 0.36 into the 6th."""
    confidence = np.array([0.95, 0.97, 0.5, 0.34, 0.36])
    correct = np.array([True, False, True, False, False])
    bins = metrics.calibration(correct, confidence)
    assert {index: count for index, count in enumerate(bins["counts"]) if count} == {5: 2, 7: 1, 14: 2}
    assert bins["confidence"][[5, 7, 14]].tolist() == pytest.approx([0.35, 0.5, 0.96])
    assert bins["accuracy"][[5, 7, 14]].tolist() == pytest.approx([0, 1, 0.5])
    error = 2 / 5 * 0.35 + 1 / 5 * 0.5 + 2 / 5 * 0.46
    assert metrics.expected_calibration_error(bins) == pytest.approx(error)
    summary = metrics.measures(np.array([0, 0, 0, 0, 0]), np.where(correct, 0, 1), confidence, confidence, ["a", "b"])
    assert summary["expected_calibration_error"] == pytest.approx(error)


def test_certainty_is_in_the_last_bin_and_perfect_certainty_has_no_error() -> None:
    bins = metrics.calibration(np.ones(7, bool), np.ones(7))
    assert bins["counts"].tolist() == [0] * 14 + [7]
    assert metrics.expected_calibration_error(bins) == 0


def test_bins_of_parts_add_up_by_their_counts() -> None:
    labels, guesses, confidence, _ = example(3)
    correct = labels == guesses
    whole = metrics.calibration(correct, confidence)
    halves = [metrics.calibration(correct[part], confidence[part]) for part in (slice(0, 200), slice(200, 500))]
    np.testing.assert_array_equal(halves[0]["counts"] + halves[1]["counts"], whole["counts"])
    for name in ("confidence", "accuracy"):
        total = sum(half[name] * half["counts"] for half in halves)
        np.testing.assert_allclose(total / np.maximum(whole["counts"], 1), whole[name], rtol=1e-12)


def test_a_single_example_has_every_measure() -> None:
    summary = metrics.measures(np.array([1]), np.array([1]), np.array([0.8]), np.array([0.2]), ["a", "b"])
    assert (summary["count"], summary["accuracy"], summary["balanced_accuracy"], summary["macro_f1"]) == (1, 1, 1, 0.5)
