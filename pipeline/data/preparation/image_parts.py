"""Images -> the parts of a prepared folder: their view, examples that stand in two parts, statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from pipeline import config, files
from pipeline.data import split
from pipeline.data.manifest import Content, Name, PartInfo, Statistics
from pipeline.data.series import Array
from pipeline.data.sources.raw import Raw
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


def repeated(train: Array, test: Array) -> list[tuple[int, int]]:
    """Each row of ``test`` that equals a row of ``train`` byte for byte, with the first such row of ``train``."""
    wanted = {example.tobytes() for example in test}
    first: dict[bytes, int] = {}
    for row, example in enumerate(train):
        content = example.tobytes()
        if content in wanted:
            first.setdefault(content, row)
    pairs = ((row, first.get(example.tobytes())) for row, example in enumerate(test))
    return [(row, twin) for row, twin in pairs if twin is not None]


def statistics(values: Array) -> Statistics:
    """Of uint8 (N, T, F), exact up to one rounding."""
    total = np.zeros((2, values.shape[2]), np.int64)
    for start in range(0, len(values), 1024):
        block = values[start : start + 1024].reshape(-1, values.shape[2]).astype(np.int64)
        total += np.stack([block.sum(0), (block * block).sum(0)])
    sums, squares = total.tolist()
    moments = [_moments(values.shape[0] * values.shape[1], *pair) for pair in zip(sums, squares, strict=True)]
    mean, std = zip(*moments, strict=True)
    return Statistics(mean, std, *_moments(values.size, sum(sums), sum(squares)))


def _moments(count: int, total: int, squares: int) -> tuple[float, float]:
    return total / count, math.sqrt((count * squares - total * total) / (count * count))


def write(folder: Path, data: config.Data, raw: Raw) -> Content:
    """Write the parts of ``raw`` into ``folder``, and return what a manifest says of them."""
    _, height, width = raw.train_values.shape
    order, length, features = view(data, height, width)
    kept, held_out = split.cut(data, "validation", raw.train_labels, raw.class_names)
    everything = np.arange(len(raw.test_labels))
    chosen: Mapping[Name, tuple[Array, Array, Array]] = {
        "train": (raw.train_values, raw.train_labels, kept),
        "valid": (raw.train_values, raw.train_labels, held_out),
        "test": (raw.test_values, raw.test_labels, everything),
    }
    parts: dict[Name, PartInfo] = {}
    twins = repeated(raw.train_values, raw.test_values)
    for name, (images, labels, rows) in chosen.items():
        if name == "valid" and not len(rows):
            continue
        flat = images.reshape(len(images), -1)[rows]
        values = (flat if order is None else flat.take(order, axis=1)).reshape(-1, length, features)
        if name == "train":
            found = statistics(values)
        tensors = {"values": values, "labels": labels[rows], "index": rows}
        path = folder / f"{name}.safetensors"
        files.save_tensors(path, {key: torch.from_numpy(array) for key, array in tensors.items()})
        counts = np.bincount(labels[rows], minlength=len(raw.class_names))
        parts[name] = PartInfo(count=len(rows), class_counts=tuple(counts.tolist()), file=path.name, sha256=files.sha256(path))
    return Content(
        class_names=raw.class_names,
        length=length,
        features=features,
        value_range=raw.value_range,
        parts=parts,
        statistics=found,
        repeated=twins,
        image=(height, width),
        order=None if order is None else tuple(order.tolist()),
    )
