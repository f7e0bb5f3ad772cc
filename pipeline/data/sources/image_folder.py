"""Images in a folder a class, as torchvision's ImageFolder reads them; grey, and all of one size."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NoReturn

import numpy as np

from pipeline import config, files
from pipeline.data import split
from pipeline.data.readers.folders import IMAGES, refuse_splits, walk
from pipeline.data.readers.held import held
from pipeline.data.series import Array, class_order, refuse_unfit
from pipeline.data.sources.checksums import Digests
from pipeline.data.sources.raw import Raw
from pipeline.errors import DataError

EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV")  # PIL's modes that lose nothing but colour
# PIL's names of the formats of IMAGES. It goes by a file's content and knows forty more, some of which run other programs.
FORMATS = ("PNG", "JPEG", "PPM", "BMP", "TIFF", "WEBP")
RANGE = (0, 255)  # of their values
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else what it says of a damaged file stands on the screen too


def folders(data: config.Data) -> list[Path]:
    """The folder of the training split and, if there is one, that of the test split.

    Raises DataError if ``data.path`` has only one of ``train/`` and ``test/``, or other splits, or if ``data.test_path`` comes
    on top of both.
    """
    path = files.path(data.path).resolve()
    inner = [path / name for name in ("train", "test") if (path / name).is_dir()]
    if data.test_path and len(inner) == 2:
        raise DataError(f"{path}: holds train/ and test/, and data.test_path comes on top; leave it out, or name {path}/train")
    if data.test_path:
        return [path, files.path(data.test_path).resolve()]
    refuse_splits(path, sorted(entry.name for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else ())
    if len(inner) == 1 and any(entry.is_dir() for entry in inner[0].iterdir()):
        raise DataError(f"{path}: holds {inner[0].name}/ but not the other of train/ and test/; add it, or set data.test_path")
    if len(inner) == 1 or not inner:
        return [path]
    return inner


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Images (N, height, width) uint8 in files, each of which is read when it is asked for: ``names`` (N), below ``folder``."""

    folder: Path
    names: Sequence[str]
    size: tuple[int, int]  # height, width: those of the first of the training split

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, height, width."""
        return len(self.names), *self.size

    def __getitem__(self, rows: Array) -> Array:
        """The images ``rows`` (n). Raises DataError, with the file, for one that cannot be read or is of another size."""
        images = np.empty((len(rows), *self.size), np.uint8)
        for number, row in enumerate(rows.tolist()):
            path = self.folder / self.names[row]
            image = grey(path)
            if image.shape != self.size:
                raise DataError(
                    f"{path}: {image.shape[1]} x {image.shape[0]} pixels, but those before it have {self.size[1]} x "
                    f"{self.size[0]}; bring all images to one size"
                )
            images[number] = image
        return images

    def of(self, rows: Array) -> ImageFiles:
        """The images ``rows`` (n) alone."""
        return replace(self, names=[self.names[row] for row in rows.tolist()])


def read(data: config.Data) -> Raw:
    """Images and labels of the training split, then of the test split. Where there is no folder of the test split, it is cut
    from the other.

    Raises DataError, with the file, for what is wrong with the folders. An image that is not readable, not of 8 bits or of
    another size than the first raises it when it is asked for.
    """
    found = folders(data)
    train = _files(found[0])
    names = class_order(train)
    if len(names) == 1:
        raise DataError(f"{found[0]}: holds one class, {names[0]!r}; a classifier needs two: a folder of images for each")
    first = next(iter(train.values()))[0]
    height, width = grey(found[0] / first).shape
    images, labels = ImageFiles(found[0], list(chain(*train.values())), (height, width)), _labels(train, names)
    if len(found) == 2:
        test = _files(found[1])
        for word in sorted(set(test) - set(names)):
            raise DataError(f"{found[1] / word}: {found[0]} has no such class; rename the folder, or add it there")
        other = ImageFiles(found[1], list(chain(*test.values())), images.size)
        return Raw(images, labels, other, _labels(test, names), names, RANGE)
    if not data.test:
        raise DataError(f"{found[0]}: there is no test split; set data.test_path, or data.test to a share or a count")
    kept, cut = split.cut(data, "test", labels, names)
    return Raw(images.of(kept), labels[kept], images.of(cut), labels[cut], names, RANGE)


def _labels(classes: Mapping[str, Sequence[str]], names: Sequence[str]) -> Array:
    """(N) int64: the place in ``names`` of each file's class."""
    return np.repeat([names.index(word) for word in classes], [len(found) for found in classes.values()])


def checksum(folder: Path, known: Digests) -> str:
    """One SHA-256 of the names and the content of all images below ``folder``."""
    return checksum_of(folder, list(chain(*_files(folder).values())), known)


def checksum_of(folder: Path, names: Sequence[str], known: Digests) -> str:
    """One SHA-256 of the files ``names`` below ``folder``, and of their names."""

    def compute() -> str:
        total = hashlib.sha256()
        for name in names:
            total.update(os.fsencode(name) + f"\0{files.sha256(folder / name)}\n".encode())
        return total.hexdigest()

    return known.of_all(folder, names, compute)


def _files(folder: Path) -> dict[str, list[str]]:
    """The images of each class, in the order of their paths, which begin below ``folder``: words, since a million objects of
    a path would take more memory than the images do."""
    try:
        classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}; data.path must name a folder with a folder of images a class") from error
    if not classes:
        raise DataError(f"{folder}: holds no folders; data.path must name a folder with a folder of images a class")
    refuse_unfit([entry.name for entry in classes], lambda _: f"{folder}: the name of folder")
    found: dict[str, list[str]] = {}
    for entry in classes:
        found[entry.name] = sorted(_below(folder, entry.name), key=lambda name: name.split("/"))
        if not found[entry.name]:
            raise DataError(f"{entry}: holds no images ({', '.join(IMAGES)}); put some there, or remove the folder")
    return found


def _below(folder: Path, name: str) -> Iterator[str]:
    """The images below the folder ``name`` of ``folder``: their paths from there on. Raises DataError for what cannot be looked
    at, or images would be left out without a word; a link to nothing is no image."""
    for place, _, names in walk(folder / name):
        inner = Path(place).relative_to(folder).as_posix()
        for file in names:  # by words alone: a path is an object with each of its parts
            if os.path.splitext(file)[1].lower() in IMAGES and _is_file(f"{place}/{file}"):  # noqa: PTH122  # of a million images
                yield f"{inner}/{file}"


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116  # likewise
    except FileNotFoundError:
        return False
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename}: cannot be looked at ({error.strerror}); put that right, or remove it") from error


def grey(path: Path) -> Array:
    """An image (height, width) uint8. Raises DataError, with the file, if it cannot be read, is not of 8 bits, is in no format
    of ``FORMATS`` whatever its name says, or states more pixels than PIL thinks safe."""
    from PIL import Image

    quiet = held(Exception) if path.suffix.lower() in (".tif", ".tiff") else nullcontext()  # libtiff's own lines
    try:
        with quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damage beside the pixels, as in the EXIF data
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                if image.mode not in EIGHT_BIT:
                    raise DataError(f"{path}: its pixels are of mode {image.mode}; save it with 8 bits a channel")
                return np.asarray(image.convert("L"))
    except DataError:
        raise
    except Exception as error:  # decoders raise whatever they like: RuntimeError, MemoryError, struct.error ...
        known, why = ", ".join(FORMATS), str(error) or type(error).__name__
        raise DataError(
            f"{path}: is not readable as an image of {known} ({why}); put a good copy there, or remove it"
        ) from error
