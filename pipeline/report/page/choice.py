"""Which examples are shown.

Shapes: N examples, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.report.page.measured import Guesses

MISTAKES = 24  # the most confident ones, which have a place of their own
RIGHT = 3  # of each class: the first, and those in most doubt


def of_test(rows: Guesses, classes: int) -> list[int]:
    """Rows of the test split in the order in which they are shown as long as there is room: the most confident mistakes, then
    the examples of each class that were predicted right, one of each class in turn, then the other mistakes."""
    wrong = np.flatnonzero(rows.labels != rows.predictions)
    wrong = wrong[np.argsort(-rows.confidence[wrong], kind="stable")].tolist()
    return list(dict.fromkeys([*wrong[:MISTAKES], *_right(rows, classes), *wrong[MISTAKES:]]))


def _right(rows: Guesses, classes: int) -> Iterator[int]:
    right = np.flatnonzero(rows.labels == rows.predictions)
    doubtful = right[np.argsort(rows.confidence[right], kind="stable")]
    for turn in range(RIGHT):
        for label in range(classes):
            mine = right[rows.labels[right] == label]
            unsure = doubtful[rows.labels[doubtful] == label]
            if turn < len(mine):
                yield int((unsure if turn else mine)[turn // 2])


def of_train(labels: NDArray[np.int64], classes: int, each: int) -> list[int]:
    """Rows of the train split: up to ``each`` of each class, at equal distances, one of each class in turn."""
    places = [np.flatnonzero(labels == label) for label in range(classes)]
    spread = [mine[np.unique(np.linspace(0, len(mine) - 1, each).astype(int))] for mine in places if len(mine)]
    return [int(mine[turn]) for turn in range(each) for mine in spread if turn < len(mine)]
