"""What preparing derives from raw examples, as pure functions: the view, the split, the statistics."""

from __future__ import annotations

import math

import numpy as np

from pipeline import config
from pipeline.data.sources import Array
from pipeline.errors import DataError


def view(data: config.Data, height: int, width: int) -> tuple[Array | None, int, int]:
    """The order of the pixels (None: as they lie), T and F of a height x width image as a sequence."""
    pixels = np.arange(height * width)
    if data.view == "rows":
        return None, height, width
    if data.view == "columns":
        return pixels.reshape(height, width).T.ravel(), width, height
    if data.view == "rows_columns":
        if height != width:
            raise DataError(f"data.view=rows_columns needs square images, and these have {height} x {width} pixels; use rows")
        square = pixels.reshape(height, width)
        return np.concatenate([square, square.T], 1).ravel(), height, 2 * height
    if data.view == "pixels":
        return pixels, height * width, 1
    # The raw stream of a bit generator is the same in every version of numpy; `permutation` is not promised to be.
    return np.argsort(np.random.PCG64(data.seed).random_raw(height * width), kind="stable"), height * width, 1


def split(labels: Array, class_names: tuple[str, ...], data: config.Data) -> tuple[Array, Array]:
    """Ascending rows of the training and of the validation part, stratified by label.

    Raises DataError if a class has too few examples or the share leaves a part without every class.
    """
    rows, classes = np.arange(len(labels)), len(class_names)
    _every_class(labels, class_names, 1, "the source's training part has too few examples")
    if not data.validation:
        return rows, rows[:0]
    _every_class(labels, class_names, 2, "to hold out data.validation, each class needs 2 training examples; too few")
    share, count = data.validation, len(labels)
    held = share if isinstance(share, int) else math.ceil(share * count)
    if not classes <= held <= count - classes:
        raise DataError(
            f"data.validation = {share}: holds out {held} of {count} training examples; "
            f"with {classes} classes hold out {classes} to {count - classes}, or 0 for no validation part"
        )
    from sklearn.model_selection import train_test_split

    kept, held_out = train_test_split(rows, test_size=held, stratify=labels, random_state=data.seed)
    _every_class(labels[kept], class_names, 1, f"data.validation = {share} leaves too few training examples")
    return np.sort(kept), np.sort(held_out)


def _every_class(labels: Array, class_names: tuple[str, ...], least: int, problem: str) -> None:
    counts = np.bincount(labels, minlength=len(class_names))
    if (counts < least).any():
        scarce = ", ".join(f"{class_names[row]!r} ({counts[row]})" for row in np.flatnonzero(counts < least))
        raise DataError(f"{problem} of class {scarce}")


def repeated(train: Array, test: Array) -> list[tuple[int, int]]:
    """Each row of ``test`` that equals a row of ``train`` byte for byte, with the first such row of ``train``."""
    rows: dict[bytes, list[int]] = {}
    for row, example in enumerate(test):
        rows.setdefault(example.tobytes(), []).append(row)
    return sorted((twin, row) for row, example in enumerate(train) for twin in rows.pop(example.tobytes(), ()))


def statistics(values: Array) -> tuple[tuple[float, ...], tuple[float, ...], float, float]:
    """Mean and population deviation of each feature of uint8 (N, T, F), then of all values; exact up to one rounding."""
    total = np.zeros((2, values.shape[2]), np.int64)
    for start in range(0, len(values), 1024):
        block = values[start : start + 1024].reshape(-1, values.shape[2]).astype(np.int64)
        total += np.stack([block.sum(0), (block * block).sum(0)])
    sums, squares = total.tolist()
    moments = [_moments(values.shape[0] * values.shape[1], *pair) for pair in zip(sums, squares, strict=True)]
    mean, std = zip(*moments, strict=True)
    return mean, std, *_moments(values.size, sum(sums), sum(squares))


def _moments(count: int, total: int, squares: int) -> tuple[float, float]:
    return total / count, math.sqrt((count * squares - total * total) / (count * count))
