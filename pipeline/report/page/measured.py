"""eval/ -> the headline, the confusion matrix, the measures of each class, reliability.

Shapes: N examples, C classes, K cells of the confusion matrix that are not 0.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline import files
from pipeline.errors import RunError
from pipeline.run import advice
from pipeline.training import baselines, metrics

MOST_CELLS = 30  # classes whose matrix is shown whole; of more, the most frequent mistakes are listed
FREQUENT = 60  # of those
WARNED = 5  # warnings of prepare that stand beside the accuracy; the section on the data has all
SHADES = 10  # of a cell, by the square root of its share


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]


class ClassMeasures(BaseModel):
    """The measures of one class."""

    precision: Share
    recall: Share
    f1: Share
    support: Count


class Evaluation(BaseModel):
    """eval/metrics.json, as this version and earlier ones wrote it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    split: str = "test"
    step: Count
    count: Annotated[int, Field(ge=1, le=2**53)]
    accuracy: Share
    loss: float
    macro_f1: Share | None = None
    balanced_accuracy: Share | None = None
    expected_calibration_error: Share | None = None
    accuracy_low: Share | None = None
    accuracy_high: Share | None = None
    largest_class: str | None = None
    largest_class_accuracy: Share | None = None
    nearest_neighbour_accuracy: Share | None = None
    per_class: dict[str, ClassMeasures]
    warnings: tuple[str, ...] = ()
    remedy: str = ""


@dataclass(frozen=True)
class Guesses:
    """eval/predictions.csv, in the order of the split: ``index``, ``labels``, ``predictions``, ``confidence``, each (N)."""

    index: NDArray[np.int64]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    confidence: NDArray[np.float64]


def evaluation(folder: Path) -> Evaluation | None:
    """What the evaluation of a run on the test split gave; None if there was none. Raises RunError if it is damaged."""
    path = folder / "eval" / "metrics.json"
    try:
        return files.read_json(path, Evaluation, limit=2**28)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); type: {advice.of_run('evaluate', folder)}") from None


def guesses(folder: Path, found: Evaluation) -> Guesses:
    """Every prediction of that evaluation. Raises RunError if the file is missing or does not belong to it."""
    path, again = folder / "eval" / "predictions.csv", advice.of_run("evaluate", folder)
    numbers = {name: number for number, name in enumerate(found.per_class)}
    try:
        rows = [
            (int(row["index"]), numbers[row["label"]], numbers[row["prediction"]], _probability(row["probability"]))
            for row in islice(csv.DictReader(files.lines(path)), found.count + 1)
        ]
        if len(rows) != found.count:
            raise RunError(f"{path}: has other rows than the {found.count} examples that metrics.json is of; type: {again}")
        index, labels, predictions = np.array([row[:3] for row in rows], np.int64).T
        if not math.isclose(float((labels == predictions).mean()), found.accuracy):
            raise RunError(f"{path}: is of another evaluation than metrics.json; type: {again}")
    except RunError:
        raise
    except (OSError, ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read ({type(error).__name__}: {error}); type: {again}") from None
    return Guesses(index, labels, predictions, np.array([row[3] for row in rows]))


def _probability(text: str) -> float:
    found = float(text)
    if not 0 <= found <= 1:
        raise ValueError(f"{text[:20]!r} is no probability")
    return found


def headline(found: Evaluation) -> dict[str, Any]:
    """The accuracy with its interval, beside what it is held against."""
    low, high = found.accuracy_low, found.accuracy_high
    if low is None or high is None:
        low, high = baselines.interval(round(found.accuracy * found.count), found.count)
    bars = [{"name": "this model", "value": found.accuracy, "low": low, "high": high}]
    if found.nearest_neighbour_accuracy is not None:
        bars.append({"name": "label of the nearest training example", "value": found.nearest_neighbour_accuracy})
    if found.largest_class_accuracy is not None:
        bars.append({"name": f"always “{found.largest_class}”, the largest class", "value": found.largest_class_accuracy})
    said = ""
    if found.largest_class is not None and found.largest_class_accuracy is not None:
        said = baselines.said(found.largest_class, found.largest_class_accuracy, found.nearest_neighbour_accuracy)
    return found.model_dump(exclude={"per_class", "warnings", "remedy"}) | {
        "low": low,
        "high": high,
        "bars": bars,
        "said": said,
    }


def warnings(found: Evaluation | None, data: Mapping[str, Any] | None) -> tuple[list[str], int]:
    """What is to be known before an accuracy is believed: the warnings of ``evaluate``, then the first of ``prepare``, which
    ``data`` holds as ``dataset`` gives it; and how many more there are."""
    prepared = data["warnings"] if data else []
    return [*(found.warnings if found else ()), *prepared[:WARNED]], max(0, len(prepared) - WARNED)


def per_class(found: Evaluation) -> list[dict[str, Any]]:
    """A row for each class, in the order of the classes."""
    return [{"name": name} | row.model_dump() for name, row in found.per_class.items()]


def confusion(rows: Guesses, names: list[str]) -> dict[str, Any]:
    """The confusion matrix: ``matrix``, a row per label, for few classes; for more ``frequent``, the most frequent mistakes."""
    cells = metrics.confusion_cells(rows.labels, rows.predictions, len(names))
    if len(names) > MOST_CELLS:
        worst = metrics.mistakes(cells, FREQUENT).tolist()
        return {"frequent": [{"label": label, "guess": guess, "count": count} for label, guess, count in worst]}
    counts = metrics.confusion_matrix(rows.labels, rows.predictions, len(names))
    totals = counts.sum(1)
    shades = np.ceil(SHADES * np.sqrt(counts / np.maximum(totals, 1)[:, None])).astype(int)
    return {
        "matrix": [
            {
                "label": label,
                "recall": float(counts[label, label] / totals[label]) if totals[label] else None,
                "cells": [{"guess": guess, "count": n, "shade": int(shades[label, guess])} for guess, n in enumerate(row)],
            }
            for label, row in enumerate(counts.tolist())
        ]
    }


def reliability(rows: Guesses) -> list[dict[str, Any]]:
    """The bins of confidence that hold something: examples, mean confidence, accuracy and its 95 % interval."""
    bins = metrics.calibration(rows.labels == rows.predictions, rows.confidence)
    found = []
    for count, confidence, accuracy in zip(*(bins[key] for key in ("counts", "confidence", "accuracy")), strict=True):
        if count:
            low, high = baselines.interval(round(accuracy * count), int(count))
            found.append({"count": int(count), "confidence": confidence, "accuracy": accuracy, "low": low, "high": high})
    return found
