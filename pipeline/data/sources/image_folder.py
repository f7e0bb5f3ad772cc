"""Images in a folder a class, as torchvision's ImageFolder reads them; grey, and all of one size."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

import numpy as np

from pipeline import config, files
from pipeline.data import split
from pipeline.data.series import Array, refuse_unfit
from pipeline.data.sources.checksums import Checksums
from pipeline.errors import DataError

EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV")  # PIL's modes that lose nothing but colour
# PIL's names of the formats of SUFFIXES. It goes by a file's content and knows forty more, some of which run other programs.
FORMATS = ("PNG", "JPEG", "PPM", "BMP", "TIFF", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's IMG_EXTENSIONS


def folders(data: config.Data) -> list[Path]:
    """The folder of the training split and, if there is one, that of the test split.

    Raises DataError if ``data.path`` has only one of ``train/`` and ``test/``, or ``data.test_path`` comes on top of both.
    """
    path = files.path(data.path).resolve()
    inner = [path / name for name in ("train", "test") if (path / name).is_dir()]
    if data.test_path and len(inner) == 2:
        raise DataError(f"{path}: holds train/ and test/, and data.test_path comes on top; leave it out, or name {path}/train")
    if data.test_path:
        return [path, files.path(data.test_path).resolve()]
    if len(inner) == 1 and any(entry.is_dir() for entry in inner[0].iterdir()):
        raise DataError(f"{path}: holds {inner[0].name}/ but not the other of train/ and test/; add it, or set data.test_path")
    if len(inner) == 1 or not inner:
        return [path]
    return inner


def read(data: config.Data) -> tuple[Array, Array, Array, Array, tuple[str, ...], tuple[int, int]]:
    """Images (N, height, width) uint8 and labels (N) of the training split, then of the test split; class names; and the range
    of values. Where there is no folder of the test split, it is cut from the other.

    Raises DataError, with the file, for an image that cannot be read, is not of 8 bits or of another size than the first.
    """
    found = folders(data)
    values, words = _images(found[0])
    names = split.class_order(set(words))
    ranks = {name: rank for rank, name in enumerate(names)}
    if len(names) == 1:
        raise DataError(f"{found[0]}: holds one class, {names[0]!r}; a classifier needs two: a folder of images for each")
    labels = np.array([ranks[word] for word in words])
    if len(found) == 2:
        test, words = _images(found[1], values.shape[1:])
        for word in sorted(set(words) - set(names)):
            raise DataError(f"{found[1] / word}: {found[0]} has no such class; rename the folder, or add it there")
        return values, labels, test, np.array([ranks[word] for word in words]), names, (0, 255)
    if not data.test:
        raise DataError(f"{found[0]}: there is no test split; set data.test_path, or data.test to a share or a count")
    kept, cut = split.cut(data, "test", labels, names)
    return values[kept], labels[kept], values[cut], labels[cut], names, (0, 255)


def _images(folder: Path, size: tuple[int, ...] | None = None) -> tuple[Array, list[str]]:
    """The images (N, height, width) and the name of each one's class, in the order of their paths."""
    paths = _files(folder)
    images = np.empty(0, np.uint8)
    for number, path in enumerate(paths):
        image = grey(path)
        if size is None:
            size = image.shape
        if image.shape != size:
            raise DataError(
                f"{path}: {image.shape[1]} x {image.shape[0]} pixels, but those before it have {size[1]} x {size[0]}; "
                "bring all images to one size"
            )
        if not number:
            images = np.empty((len(paths), *size), np.uint8)
        images[number] = image
    return images, [path.relative_to(folder).parts[0] for path in paths]


def checksum(folder: Path, known: Checksums) -> str:
    """One SHA-256 of the names and the content of all images below ``folder``."""
    images = _files(folder)

    def compute() -> str:
        total = hashlib.sha256()
        for path in images:
            total.update(os.fsencode(path.relative_to(folder)) + f"\0{files.sha256(path)}\n".encode())
        return total.hexdigest()

    return known.of_all(folder, images, compute)


def _files(folder: Path) -> list[Path]:
    try:
        classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}; data.path must name a folder with a folder of images a class") from error
    if not classes:
        raise DataError(f"{folder}: holds no folders; data.path must name a folder with a folder of images a class")
    refuse_unfit([entry.name for entry in classes], lambda _: f"{folder}: the name of folder")
    found: list[Path] = []
    for entry in classes:
        images = sorted(path for path in entry.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not images:
            raise DataError(f"{entry}: holds no images ({', '.join(SUFFIXES)}); put some there, or remove the folder")
        found += images
    return found


def grey(path: Path) -> Array:
    """An image (height, width) uint8. Raises DataError, with the file, if it cannot be read, is not of 8 bits, is in no format
    of ``FORMATS`` whatever its name says, or states more pixels than PIL thinks safe."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
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
