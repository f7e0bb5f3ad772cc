"""Raw examples: torchvision's MNIST family from idx files, and scikit-learn's embedded digits.

A new source is one function that returns a ``Source`` and one entry in ``SOURCES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from pipeline import config, files
from pipeline.data.readers import folders
from pipeline.data.sources import download, image_folder
from pipeline.data.sources.checksums import Digests
from pipeline.data.sources.mnist_family import emnist, mnist, qmnist
from pipeline.data.sources.raw import Raw, Source
from pipeline.errors import DataError


def read(data: config.Data) -> Raw:
    """The source's examples, from files in ``data.root`` where they are, else downloaded to it.

    Raises DataError for a file that is missing or wrong, and UserError for a disk that cannot be written.
    """
    source, root = SOURCES[data.source](data), root_of(data)
    found = _find(source, root)
    if len(found) < len(source.names):
        with files.disk_errors("downloaded data", root), download.one_at_a_time(root):
            found = _complete(source, root, data)
    return source.read(found)


def checksums(data: config.Data, known: Digests) -> dict[str, tuple[Path, str]]:
    """Each raw file, or folder of images, that would be read now, and the word that ``known`` has for it, by the name that a
    manifest gives it: its path if it is the user's own, else its name. Those that are absent are left out.
    """
    if data.series:
        return {str(path): (path, _checksum(path, known)) for path in own_files(data) if path.exists()}
    if data.source == "images":
        found = (folder for folder in image_folder.folders(data) if folder.is_dir())
        return {str(folder): (folder, image_folder.checksum(folder, known)) for folder in found}
    return {path.name: (path, known.of(path)) for path in _find(SOURCES[data.source](data), root_of(data)).values()}


def _checksum(path: Path, known: Digests) -> str:
    """The word for a file of series, or for all files of a folder of them."""
    if not path.is_dir():
        return known.of(path)
    return image_folder.checksum_of(path, folders.data_files(path), known)


def own_files(data: config.Data) -> list[Path]:
    """The user's file and, if there is one, that of the test split, as absolute paths."""
    return [files.path(text).resolve() for text in (data.path, data.test_path) if text]


def root_of(data: config.Data) -> Path:
    """``data.root`` as an absolute path."""
    return files.path(data.root).resolve()


def _digits(data: config.Data) -> Source:
    return Source(_read_digits)


def _read_digits(found: Mapping[str, Path]) -> Raw:
    """The 1,797 8x8 digits of ``sklearn.datasets.load_digits``, values 0 to 16.

    The source has no test split: a stratified fifth (360) is held out by a seed of its own,
    so that every configuration is measured on the same examples.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    values, labels = digits.images.astype(np.uint8), digits.target.astype(np.int64)
    rows = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    train, test = (np.sort(part) for part in rows)
    return Raw(values[train], labels[train], values[test], labels[test], tuple("0123456789"), (0, 16))


def _images(data: config.Data) -> Source:
    """Images of the user's own, in a folder a class."""
    return Source(lambda found: image_folder.read(data))


SOURCES: dict[str, Callable[[config.Data], Source]] = {
    "digits": _digits,
    "mnist": partial(mnist, "MNIST"),
    "fashion_mnist": partial(mnist, "FashionMNIST"),
    "kmnist": partial(mnist, "KMNIST"),
    "emnist": emnist,
    "qmnist": qmnist,
    "images": _images,
}


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
