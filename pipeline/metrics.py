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


def summary(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    confidence: NDArray[np.float64],
    losses: NDArray[np.float64],
    class_names: list[str],
) -> dict[str, Any]:
    """All measures of N examples as JSON-able numbers. The sum over examples has one order, so that the
    result does not depend on how many processes computed the rows."""
    matrix = confusion_matrix(labels, predictions, len(class_names))
    count = len(labels)
    classes = per_class(matrix, class_names)
    present = [row for row in classes.values() if row["support"]]
    return {
        "count": count,
        "loss": float(losses.sum()) / count,
        "accuracy": int(np.trace(matrix)) / count,
        "balanced_accuracy": sum(row["recall"] for row in present) / len(present),
        "macro_f1": sum(row["f1"] for row in classes.values()) / len(classes),
        "expected_calibration_error": expected_calibration_error(calibration(labels == predictions, confidence)),
        "per_class": classes,
        "confusion_matrix": matrix.tolist(),
    }


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else 0.0
