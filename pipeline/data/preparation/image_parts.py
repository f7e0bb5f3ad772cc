"""Images -> the parts of a prepared folder: their view, examples that stand in two parts, statistics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline import config, files
from pipeline.data import split
from pipeline.data.manifest import Content, Name, PartInfo, Statistics
from pipeline.data.preparation import part_files, twins
from pipeline.data.series import Array, cuts
from pipeline.data.sources import progress
from pipeline.data.sources.raw import Images, Raw
from pipeline.errors import DataError

BLOCK = 2**22  # bytes of pixels that are in memory at a time, about


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


class Sums:
    """Sums and sums of squares of F columns over a stream of blocks of uint8: whole numbers, so exact up to one rounding."""

    def __init__(self, features: int) -> None:
        self._count, self._sums = 0, np.zeros((2, features), np.int64)

    def seen(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """Hand on the blocks (n, T, F), each taken in."""
        for block in blocks:
            flat = block.reshape(-1, block.shape[2]).astype(np.uint16)  # which holds the square of the largest
            self._count += len(flat)
            self._sums += np.stack([flat.sum(0, dtype=np.int64), (flat * flat).sum(0, dtype=np.int64)])
            yield block

    @property
    def statistics(self) -> Statistics:
        """What a manifest says of them."""
        sums, squares = self._sums.tolist()
        moments = [_moments(self._count, *pair) for pair in zip(sums, squares, strict=True)]
        mean, std = zip(*moments, strict=True)
        return Statistics(mean, std, *_moments(self._count * len(sums), sum(sums), sum(squares)))


def _moments(count: int, total: int, squares: int) -> tuple[float, float]:
    return total / count, math.sqrt((count * squares - total * total) / (count * count))


@dataclass(frozen=True, eq=False)
class Part:
    """Some of a source's images (N): their ``rows`` (n), ascending. ``labels`` (N) are of all of them, and so are ``hashes``
    (N), which are entered when an image is read."""

    images: Images
    labels: Array
    hashes: Array
    rows: Array

    def blocks(self, order: Array | None) -> Iterator[Array]:
        """The pixels (n, P) of the images, in ``order`` if it is given, some MB at a time."""
        _, height, width = self.images.shape
        for piece in cuts(np.full(len(self.rows), height * width), BLOCK):
            rows = self.rows[piece]
            pixels = self.images[rows].reshape(len(rows), -1)
            self.hashes[rows] = [twins.hash_of(image) for image in pixels]
            yield pixels if order is None else pixels.take(order, axis=1)


def write(folder: Path, data: config.Data, raw: Raw) -> Content:
    """Write the parts of ``raw`` into ``folder``, and return what a manifest says of them.

    Some MB of images are in memory at a time. Each is asked for once, and again if it seems to stand in both splits.
    """
    _, height, width = raw.train_values.shape
    order, length, features = view(data, height, width)
    kept, held_out, adapted = split.validation(data, raw.train_labels, raw.class_names)
    train = Part(raw.train_values, raw.train_labels, np.zeros(len(raw.train_labels), np.uint64), kept)
    every = np.arange(len(raw.test_labels))
    test = Part(raw.test_values, raw.test_labels, np.zeros(len(every), np.uint64), every)
    chosen: Mapping[Name, Part] = {"train": train, "valid": replace(train, rows=held_out), "test": test}
    parts: dict[Name, PartInfo] = {}
    sums = Sums(features)
    for name, part in chosen.items():
        if name == "valid" and not len(held_out):
            continue
        count, labels, path = len(part.rows), part.labels[part.rows], folder / f"{name}.safetensors"
        values: Iterable[Array] = (block.reshape(-1, length, features) for block in part.blocks(order))
        values = sums.seen(values) if name == "train" else values
        with progress.Bar(f"writing the {name} split", count, " images") as bar:
            shape = count, length, features
            part_files.write(path, {"index": part.rows, "labels": labels}, shape, bar.over(values), "uint8")
        counts = np.bincount(labels, minlength=len(raw.class_names))
        parts[name] = PartInfo(count=count, class_counts=tuple(counts.tolist()), file=path.name, sha256=files.sha256(path))
    found = list(twins.pairs(train.hashes, test.hashes, lambda row, twin: _same(test, row, train, twin)))
    return Content(
        class_names=raw.class_names,
        length=length,
        features=features,
        value_range=raw.value_range,
        parts=parts,
        statistics=sums.statistics,
        repeated=found,
        image=(height, width),
        order=None if order is None else tuple(order.tolist()),
        adapted=adapted,
    )


def _same(one: Part, row: int, other: Part, twin: int) -> bool:
    return np.array_equal(one.images[np.array([row])], other.images[np.array([twin])])
