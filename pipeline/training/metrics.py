"""Exact measures of a classifier from one row an example.

Shapes: N examples, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of the expected calibration error, as in Guo et al., 2017
MOST_DENSE = 200  # classes whose confusion matrix is stored whole; of more, the cells that are not 0


def confusion_matrix(labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(C, C) counts, row: label, column: prediction. Matrices of parts of a data set add up to that of the whole."""
    return np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)


def confusion_cells(labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(K, 3): label, prediction and count of the K cells of the confusion matrix that are not 0, in its order."""
    places, counts = np.unique(labels * classes + predictions, return_counts=True)
    return np.stack([*np.divmod(places, classes), counts], 1)


def all_cells(cells: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(C x C, 3): the ``confusion_cells`` and those that are 0, in the order of the matrix."""
    matrix = np.zeros((classes, classes), np.int64)
    matrix[cells[:, 0], cells[:, 1]] = cells[:, 2]
    return np.column_stack([*np.indices(matrix.shape).reshape(2, -1), matrix.ravel()])


def mistakes(cells: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """The ``confusion_cells`` off the diagonal, the most frequent first, and of as frequent ones in order; at most ``most``."""
    wrong: NDArray[np.int64] = cells[cells[:, 0] != cells[:, 1]]
    return wrong[np.argsort(-wrong[:, 2], kind="stable")[:most]]


@dataclass(frozen=True)
class ClassCounts:
    """Examples (C) of each class: those predicted right, those of the class, and those predicted to be of it."""

    hits: NDArray[np.int64]
    support: NDArray[np.int64]
    predicted: NDArray[np.int64]


def count_classes(labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: int) -> ClassCounts:
    """The ClassCounts of N examples, in N + C and without the C x C cells of their matrix."""
    right = labels[labels == predictions]
    return ClassCounts(*(np.bincount(rows, minlength=classes) for rows in (right, labels, predictions)))


def per_class(counts: ClassCounts, class_names: list[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of each class; a ratio with nothing below the line is 0."""
    rows = zip(class_names, counts.hits.tolist(), counts.support.tolist(), counts.predicted.tolist(), strict=True)
    return {
        name: {
            "precision": _ratio(hits, predicted),
            "recall": _ratio(hits, support),
            "f1": _ratio(2 * hits, support + predicted),
            "support": support,
        }
        for name, hits, support, predicted in rows
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


def selectable(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], losses: NDArray[np.float64], classes: int
) -> dict[str, float]:
    """What a checkpoint may be chosen by, of N examples: ``loss`` (the mean), ``accuracy``, ``balanced_accuracy`` (the mean
    recall of the classes that have examples) and ``macro_f1`` (the mean F1 of all C classes; 0 for one that is neither
    a label nor a prediction). The sum over examples has one order, so that the result does not depend on how many
    processes computed the rows."""
    counts = count_classes(labels, predictions, classes)
    present = counts.support > 0
    return {
        "loss": float(losses.sum()) / len(labels),
        "accuracy": int(counts.hits.sum()) / len(labels),
        "balanced_accuracy": float((counts.hits[present] / counts.support[present]).mean()),
        "macro_f1": float((2 * counts.hits / np.maximum(counts.support + counts.predicted, 1)).mean()),
    }


def measures(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    confidence: NDArray[np.float64],
    losses: NDArray[np.float64],
    class_names: list[str],
) -> dict[str, Any]:
    """All measures of N examples as JSON-able numbers: ``selectable``, and what is worth a look after training.

    ``confusion_matrix`` is there for up to MOST_DENSE classes; for more, ``confusion_cells``: the lists ``label``,
    ``prediction`` and ``count``.
    """
    classes = len(class_names)
    confusion: dict[str, Any] = {}
    if classes <= MOST_DENSE:
        confusion["confusion_matrix"] = confusion_matrix(labels, predictions, classes).tolist()
    else:
        columns = confusion_cells(labels, predictions, classes).T.tolist()
        confusion["confusion_cells"] = dict(zip(("label", "prediction", "count"), columns, strict=True))
    return {
        "count": len(labels),
        **selectable(labels, predictions, losses, classes),
        "expected_calibration_error": expected_calibration_error(calibration(labels == predictions, confidence)),
        "per_class": per_class(count_classes(labels, predictions, classes), class_names),
        **confusion,
    }


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else 0.0
