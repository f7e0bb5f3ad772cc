"""Exact measures of a classifier from one row an example.

Shapes: N examples, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of the expected calibration error, as in Guo et al., 2017


def confusion_matrix(labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(C, C) counts, row: label, column: prediction. Matrices of parts of a data set add up to that of the whole."""
    return np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)


def per_class(matrix: NDArray[np.int64], class_names: list[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of each class; a ratio with nothing below the line is 0."""
    hits, support, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    return {
        name: {
            "precision": _ratio(hits[index], predicted[index]),
            "recall": _ratio(hits[index], support[index]),
            "f1": _ratio(2 * hits[index], support[index] + predicted[index]),
            "support": int(support[index]),
        }
        for index, name in enumerate(class_names)
    }


def calibration(correct: NDArray[np.bool_], confidence: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """``counts``, mean ``confidence`` and ``accuracy`` of the predictions in each of BINS equal bins of confidence."""
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    below = np.maximum(count, 1)
    return {
        "counts": count.astype(np.float64),
        "confidence": np.bincount(bins, confidence, BINS) / below,
        "accuracy": np.bincount(bins, correct.astype(np.float64), BINS) / below,
    }


def expected_calibration_error(bins: dict[str, NDArray[np.float64]]) -> float:
    """Mean distance of accuracy from confidence over ``calibration`` bins, weighted by count (Guo et al., 2017)."""
    return _ratio(float(np.sum(bins["counts"] * np.abs(bins["accuracy"] - bins["confidence"]))), float(np.sum(bins["counts"])))


def scores(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], losses: NDArray[np.float64], classes: int
) -> dict[str, float]:
    """What a checkpoint may be chosen by, of N examples: ``loss`` (the mean), ``accuracy``, ``balanced_accuracy`` (the mean
    recall of the classes that have examples) and ``macro_f1`` (the mean F1 of all C classes; 0 for one that is neither
    a label nor a prediction). The sum over examples has one order, so that the result does not depend on how many
    processes computed the rows."""
    matrix = confusion_matrix(labels, predictions, classes)
    hits, support, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    present = support > 0
    return {
        "loss": float(losses.sum()) / len(labels),
        "accuracy": int(hits.sum()) / len(labels),
        "balanced_accuracy": float((hits[present] / support[present]).mean()),
        "macro_f1": float((2 * hits / np.maximum(support + predicted, 1)).mean()),
    }


def summary(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    confidence: NDArray[np.float64],
    losses: NDArray[np.float64],
    class_names: list[str],
) -> dict[str, Any]:
    """All measures of N examples as JSON-able numbers: ``scores``, and what is worth a look after training."""
    matrix = confusion_matrix(labels, predictions, len(class_names))
    return {
        "count": len(labels),
        **scores(labels, predictions, losses, len(class_names)),
        "expected_calibration_error": expected_calibration_error(calibration(labels == predictions, confidence)),
        "per_class": per_class(matrix, class_names),
        "confusion_matrix": matrix.tolist(),
    }


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else 0.0
