"""Raw examples: torchvision's MNIST family from idx files, and scikit-learn's embedded digits.

A new source is one function that returns a ``Source`` and one entry in ``SOURCES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from pipeline import config, files
from pipeline.data import download, idx, imagefolder
from pipeline.data.download import Download
from pipeline.errors import DataError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Raw:
    """Images (N, height, width) uint8 and labels (N) int64 in [0, C), as the source cuts them into train and test."""

    train_values: Array
    train_labels: Array
    test_values: Array
    test_labels: Array
    class_names: tuple[str, ...]
    value_range: tuple[int, int]
    files: Mapping[str, str] = field(default_factory=dict)  # name of a raw file -> sha256


@dataclass(frozen=True)
class Source:
    """How a source is read from its files, each found as ``name`` or ``name.gz`` in root/``folder`` or in root."""

    read: Callable[[Mapping[str, Path]], Raw]
    names: tuple[str, ...] = ()
    folder: str = ""
    downloads: Callable[[], Iterable[Download]] = tuple


def read(data: config.Data) -> Raw:
    """The source's examples, from files in ``data.root`` where they are, else downloaded to it.

    Raises DataError for a file that is missing or wrong, and UserError for a disk that cannot be written.
    """
    source, root = SOURCES[data.source](data), root_of(data)
    found = _find(source, root)
    if len(found) < len(source.names):
        with files.disk_errors("downloaded data", root), download.one_at_a_time(root):
            found = _complete(source, root, data)
    raw = source.read(found)
    return replace(raw, files={**raw.files, **{path.name: files.sha256(path) for path in found.values()}})


def checksums(data: config.Data) -> dict[Path, str]:
    """The SHA-256 of each raw file, or folder of images, that would be read now; those that are absent are left out."""
    if data.series:
        return {path: files.sha256(path) for path in own_files(data) if path.is_file()}
    if data.source == "images":
        return {folder: imagefolder.checksum(folder) for folder in imagefolder.folders(data) if folder.is_dir()}
    return {path: files.sha256(path) for path in _find(SOURCES[data.source](data), root_of(data)).values()}


def own_files(data: config.Data) -> list[Path]:
    """The user's file and, if there is one, that of the test part, as absolute paths."""
    return [files.path(text).resolve() for text in (data.path, data.test_path) if text]


def root_of(data: config.Data) -> Path:
    """``data.root`` as an absolute path."""
    return files.path(data.root).resolve()


def _digits(data: config.Data) -> Source:
    return Source(_read_digits)


def _read_digits(found: Mapping[str, Path]) -> Raw:
    """The 1,797 8x8 digits of ``sklearn.datasets.load_digits``, values 0 to 16.

    The source has no test part: a stratified fifth (360) is held out by a seed of its own,
    so that every configuration is measured on the same examples.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    values, labels = digits.images.astype(np.uint8), digits.target.astype(np.int64)
    rows = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    train, test = (np.sort(part) for part in rows)
    return Raw(values[train], labels[train], values[test], labels[test], tuple("0123456789"), (0, 16))


def _mnist(name: str, data: config.Data) -> Source:
    """MNIST and those of its layout; ``name`` is the class in torchvision.datasets and its folder."""

    def downloads() -> Iterator[Download]:
        dataset = _torchvision(name)
        for file, md5 in dataset.resources:
            yield Download(file, md5, tuple(mirror + file for mirror in dataset.mirrors), (file,))

    names = _names("train", "t10k")
    return Source(partial(_read_idx, name, names), names, f"{name}/raw", downloads)


def _qmnist(data: config.Data) -> Source:
    """QMNIST's 60,000 training and 60,000 test digits; labels are int (N, 8) with the class in the first column."""

    def downloads() -> Iterator[Download]:
        resources = _torchvision("QMNIST").resources
        for url, md5 in resources["train"] + resources["test"]:
            file = PurePosixPath(url).name
            yield Download(file, md5, (url,), (file,))

    names = _names("qmnist-train", "qmnist-test", "labels-idx2-int")
    return Source(partial(_read_idx, "QMNIST", names), names, "QMNIST/raw", downloads)


def _emnist(data: config.Data) -> Source:
    """EMNIST: one archive holds every split; images are stored transposed; the labels of ``letters`` begin at 1."""

    def names(split: str) -> tuple[str, ...]:
        return _names(f"emnist-{split}-train", f"emnist-{split}-test")

    def downloads() -> Iterator[Download]:
        dataset = _torchvision("EMNIST")
        every = (f"{name}.gz" for split in get_args(config.EMNIST_SPLITS) for name in names(split))
        yield Download(PurePosixPath(dataset.url).name, dataset.md5, (dataset.url,), tuple(every))

    split = data.emnist_split
    read = partial(_read_idx, "EMNIST", names(split), split=split, first_label=int(split == "letters"), transposed=True)
    return Source(read, names(split), "EMNIST/raw", downloads)


def _images(data: config.Data) -> Source:
    """Images of the user's own, in a folder a class."""
    return Source(lambda found: Raw(*imagefolder.read(data)))


SOURCES: dict[str, Callable[[config.Data], Source]] = {
    "digits": _digits,
    "mnist": partial(_mnist, "MNIST"),
    "fashion_mnist": partial(_mnist, "FashionMNIST"),
    "kmnist": partial(_mnist, "KMNIST"),
    "emnist": _emnist,
    "qmnist": _qmnist,
    "images": _images,
}


def _torchvision(name: str) -> Any:
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
        train, test = (np.ascontiguousarray(values.swapaxes(1, 2)) for values in (train, test))
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


def _find(source: Source, root: Path) -> dict[str, Path]:
    """The files that are there. Of a pair the .gz is used: it has a checksum, and unpacking may have been cut short."""
    found: dict[str, Path] = {}
    if source.names:
        for folder in (root / source.folder, root):
            try:
                present = {path.name for path in folder.iterdir()}
            except FileNotFoundError:
                continue
            except OSError as error:
                raise DataError(f"{folder}: {error.strerror}; data.root must name the folder of the raw files") from error
            for name in source.names:
                for file in (f"{name}.gz", name):
                    if file in present:
                        found.setdefault(name, folder / file)
    return {name: found[name] for name in source.names if name in found}


def _complete(source: Source, root: Path, data: config.Data) -> dict[str, Path]:
    """Download what is missing and find all of it."""
    missing = [name for name in source.names if name not in _find(source, root)]
    failure = "the download does not hold them"
    try:
        wanted = [f"{name}.gz" for name in missing]
        download.fetch(source.downloads(), wanted, root, root / source.folder, data.mirrors)
    except DataError as error:
        failure = str(error)
    found = _find(source, root)
    missing = [name for name in source.names if name not in found]
    if missing:
        raise DataError(
            f"data.root = {root} holds {len(found)} of the {len(source.names)} files of {data.source}. "
            f"Missing: {', '.join(missing)}.\n{failure}\n"
            f"Put the missing files (plain or .gz) into {root} by hand, or name another folder with data.root=FOLDER, "
            "or another address with data.mirrors=[URL]; data.source=digits needs no files."
        )
    return found
