"""torchvision's MNIST family, from idx files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import numpy as np

from pipeline import config
from pipeline.data.series import Array
from pipeline.data.sources import idx
from pipeline.data.sources.download import Download
from pipeline.data.sources.raw import Raw, Source
from pipeline.errors import DataError, needs

FILE, ARCHIVE = 2**26, 2**30  # bytes that a download may have: of a gzip file (the largest has 10 MB), of a zip (562 MB)


def mnist(name: str, data: config.Data) -> Source:
    """MNIST and those of its layout; ``name`` is the class in torchvision.datasets and its folder."""

    def downloads() -> Iterator[Download]:
        dataset = _torchvision(name)
        for file, md5 in dataset.resources:
            yield Download(file, md5, FILE, tuple(mirror + file for mirror in dataset.mirrors), (file,))

    names = _names("train", "t10k")
    return Source(partial(_read_idx, name, names), names, f"{name}/raw", downloads)


def qmnist(data: config.Data) -> Source:
    """QMNIST's 60,000 training and 60,000 test digits; labels are int (N, 8) with the class in the first column."""

    def downloads() -> Iterator[Download]:
        resources = _torchvision("QMNIST").resources
        for url, md5 in resources["train"] + resources["test"]:
            file = PurePosixPath(url).name
            yield Download(file, md5, FILE, (url,), (file,))

    names = _names("qmnist-train", "qmnist-test", "labels-idx2-int")
    return Source(partial(_read_idx, "QMNIST", names), names, "QMNIST/raw", downloads)


def emnist(data: config.Data) -> Source:
    """EMNIST: one archive holds every split; images are stored transposed; the labels of ``letters`` begin at 1."""

    def names(split: str) -> tuple[str, ...]:
        return _names(f"emnist-{split}-train", f"emnist-{split}-test")

    def downloads() -> Iterator[Download]:
        dataset = _torchvision("EMNIST")
        every = (f"{name}.gz" for split in get_args(config.EMNIST_SPLITS) for name in names(split))
        yield Download(PurePosixPath(dataset.url).name, dataset.md5, ARCHIVE, (dataset.url,), tuple(every))

    split = data.emnist_split
    read = partial(_read_idx, "EMNIST", names(split), split=split, first_label=int(split == "letters"), transposed=True)
    return Source(read, names(split), "EMNIST/raw", downloads)


def _torchvision(name: str) -> Any:
    with needs(f"data.source: {name.lower()}", "torchvision"):
        import torchvision

    return getattr(torchvision.datasets, name)


def _names(train: str, test: str, labels: str = "labels-idx1-ubyte") -> tuple[str, ...]:
    return tuple(f"{part}-{kind}" for part in (train, test) for kind in ("images-idx3-ubyte", labels))


def _read_idx(
    name: str,
    names: tuple[str, ...],
    found: Mapping[str, Path],
    split: str = "",
    first_label: int = 0,
    transposed: bool = False,
) -> Raw:
    dataset = _torchvision(name)
    classes = dataset.classes_split_dict[split] if split else dataset.classes
    class_names = tuple(text.split(" - ")[0] for text in classes[first_label:])  # "0 - zero" -> "0"
    arrays = []
    for images, labels in (names[:2], names[2:]):
        values = idx.read(found[images])
        arrays += [values, _labels(found[labels], found[images], len(values), first_label, len(class_names))]
    train, test = arrays[0], arrays[2]
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{found[names[2]]}: images of {test.shape[1:]}, but {found[names[0]]} has {train.shape[1:]}; "
            "put the files of one dataset together"
        )
    if transposed:
        train, test = (values.swapaxes(1, 2) for values in (train, test))
    return Raw(train, arrays[1], test, arrays[3], class_names, (0, 255))


def _labels(path: Path, images: Path, count: int, first: int, classes: int) -> Array:
    stored = idx.read(path)
    labels = (stored if stored.ndim == 1 else stored[:, 0]).astype(np.int64) - first
    if len(labels) != count:
        raise DataError(
            f"{path}: {len(labels)} labels, but {images} holds {count} images; put the files of one dataset together"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        label = labels[wrong[0]] + first
        raise DataError(
            f"{path}: row {wrong[0]} (from 0): label {label} is not in {first}..{first + classes - 1}; put a good copy there"
        )
    return labels
