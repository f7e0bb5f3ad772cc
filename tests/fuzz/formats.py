"""How the files of each format are made, read and prepared, and how what was read is compared with what is in them."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline import config
from pipeline.config import strict_yaml
from pipeline.data.prepared import Prepared
from pipeline.data.readers import formats
from pipeline.data.series import Columns, Series
from pipeline.data.sources import catalog
from tests.fuzz import shapes, valid
from tests.fuzz.damage import Random
from tests.support.raw_files import idx, put

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Format:
    """``make`` writes valid files into a folder, and returns what is in them and the one to damage. ``read`` reads them,
    ``compare`` fails where that is something else, ``data`` configures their preparation."""

    make: Callable[[Random, Path], tuple[Any, Path]]
    read: Callable[[Path, Any], Any]
    compare: Callable[[Any, Any], None]
    data: Callable[[Path, Any], config.Data] | None = None
    text: bool = False
    whole: Callable[[Any, Prepared], None] | None = None  # fails where what was prepared is not what is in the files


def of_series(source: str, write: Callable[[Random, Path], valid.Sheet], text: bool = False) -> Format:
    """A format of the user's own series, in one file."""

    def make(random: Random, folder: Path) -> tuple[valid.Sheet, Path]:
        path = folder / f"data.{source}"
        return write(random, path), path

    return of_shape(make, f"data.{source}", text)


def of_shape(make: Callable[[Random, Path], tuple[valid.Sheet, Path]], name: str, text: bool = False) -> Format:
    """A format of the user's own series, in what ``make`` leaves under ``name`` in a folder."""

    def source(made: valid.Sheet) -> str:
        return made.source or name.split(".")[1]

    def read(folder: Path, made: valid.Sheet) -> list[Series]:
        columns = {key: value for key, value in made.columns.items() if key in Columns.model_fields}
        return list(formats.read(source(made), folder / name, Columns(**columns)))

    def data(folder: Path, made: valid.Sheet) -> config.Data:
        keys = {"missing": "mean", "validation": 3, "test": 0.3, **made.columns}
        return config.Data(source=source(made), path=str(folder / name), prepared=str(folder / "prepared"), **keys)

    return Format(make, read, same_series, data, text, all_prepared)


def same_series(made: valid.Sheet, blocks: list[Series]) -> None:
    """``blocks`` hold what the sheet does, bit for bit."""
    found = [block.values[a:b].astype(np.float64) for block in blocks for a, b in pairwise(block.offsets.tolist())]
    assert [one.shape for one in found] == [one.shape for one in made.series]
    for one, wanted in zip(found, made.series, strict=True):
        np.testing.assert_array_equal(one, wanted)
    assert {block.channels for block in blocks} == {tuple(made.channels)}
    assert [word for block in blocks for word in block.ids] == made.ids
    assert [word for block in blocks for word in block.labels or ()] == made.labels


def all_prepared(made: valid.Sheet, prepared: Prepared) -> None:
    """Each series of the sheet stands in one split, with its class and its values; those that are missing are marked."""
    manifest, seen = prepared.manifest, []
    assert manifest.series is not None and manifest.series.channels == tuple(made.channels)
    masked, offset = list(manifest.series.masked), np.array(manifest.series.offset or [0.0] * len(made.channels))
    for name in manifest.parts:
        part = prepared.part(name)
        bounds = part.offsets.tolist() if part.offsets is not None else None
        for row, number in enumerate(part.index.tolist()):
            found = part.values[row] if bounds is None else part.values[bounds[row] : bounds[row + 1]]
            wanted = (made.series[number] - offset).astype(np.float32)
            there, measured = ~np.isnan(wanted), found[:, : len(made.channels)].numpy()
            np.testing.assert_array_equal(measured[there], wanted[there])
            assert np.isfinite(measured).all()
            np.testing.assert_array_equal(found[:, len(made.channels) :].numpy(), ~there[:, masked])
            assert manifest.class_names[part.labels[row]] == made.labels[number].strip()
            seen.append(number)
    assert sorted(seen) == list(range(len(made.series))), "not each series in one split"


KINDS = {".png": ("1", "L", "RGB", "P", "RGBA"), ".bmp": ("L", "RGB"), ".ppm": ("RGB",), ".pgm": ("L",), ".tif": ("L", "RGB")}
KINDS |= {".webp": ("RGB",), ".jpg": ("L", "RGB")}


def make_images(random: Random, folder: Path) -> tuple[Any, Path]:
    """Five images of each of two classes, all of one size, in every format."""
    size, grey, paths = tuple(random.integers(1, 10, 2).tolist()), [], []
    for number in range(10):
        suffix = list(KINDS)[random.integers(len(KINDS))]
        mode = KINDS[suffix][random.integers(len(KINDS[suffix]))]
        image = Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).convert(mode)
        path = folder / "images" / "ab"[number // 5] / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **({"lossless": True} if suffix == ".webp" else {}))
        if suffix == ".jpg":  # which loses something
            image = Image.open(path)
        grey.append(np.asarray(image.convert("L")))
        paths.append(path)
    return np.stack(grey), paths[random.integers(len(paths))]


def image_data(folder: Path, made: Any) -> config.Data:
    return config.Data(source="images", path=str(folder / "images"), prepared=str(folder / "prepared"), validation=2, test=2)


def read_images(folder: Path, made: Any) -> Any:
    raw = catalog.read(image_data(folder, made))
    values = [images[np.arange(images.shape[0])] for images in (raw.train_values, raw.test_values)]
    return np.concatenate(values), [*raw.train_labels, *raw.test_labels]


def same_images(made: Any, found: Any) -> None:
    values, labels = found
    assert sorted(one.tobytes() for one in values) == sorted(one.tobytes() for one in made) and sum(labels) == 5


def make_idx(random: Random, folder: Path) -> tuple[Any, Path]:
    """The four files of MNIST, small, packed or not."""
    size = tuple(random.integers(1, 9, 2).tolist())
    arrays = []
    for count in (30, 20):
        arrays.append(random.integers(0, 256, (count, *size), dtype=np.uint8))
        arrays.append((np.arange(count) % 10).astype(np.uint8))
    paths = put(folder / "raw", arrays, suffix=("", ".gz")[random.integers(2)])
    assert idx(arrays[0])[:4] == b"\0\0\x08\x03"
    return arrays, paths[random.integers(4)]


def idx_data(folder: Path, made: Any) -> config.Data:
    return config.Data(source="mnist", root=str(folder / "raw"), prepared=str(folder / "prepared"), validation=10)


def read_idx(folder: Path, made: Any) -> Any:
    raw = catalog.read(idx_data(folder, made))
    return [raw.train_values, raw.train_labels, raw.test_values, raw.test_labels]


def same_arrays(made: Any, found: Any) -> None:
    for one, other in zip(made, found, strict=True):
        np.testing.assert_array_equal(one, other)


def make_yaml(random: Random, folder: Path) -> tuple[Any, Path]:
    """A document, or a configuration, of which the values are not compared."""
    path = folder / "any.yaml"
    if random.integers(2):
        return valid.yaml(random, path), path
    shipped = sorted(path for path in (ROOT / "configs").glob("*.yaml") if path.name != "sweep.yaml")
    path.write_bytes(shipped[random.integers(len(shipped))].read_bytes())
    return None, path


def read_yaml(folder: Path, made: Any) -> Any:
    if made is None:
        return config.load(folder / "any.yaml")
    return strict_yaml.read(folder / "any.yaml")[0]


def same_yaml(made: Any, found: Any) -> None:
    assert made is None or (found == made and repr(found) == repr(made))


FORMATS = {
    "csv_long": of_series("csv", valid.long_csv, text=True),
    "csv_wide": of_series("csv", valid.wide_csv, text=True),
    "parquet_long": of_series("parquet", valid.long_parquet),
    "parquet_wide": of_series("parquet", valid.wide_parquet),
    "npz": of_series("npz", valid.npz),
    "ts": of_series("ts", valid.ts, text=True),
    "arff": of_series("arff", valid.arff, text=True),
    "recordings": of_shape(shapes.recordings, "data", text=True),
    "parts": of_shape(shapes.parts, "data", text=True),
    "lists": of_shape(shapes.lists, "data.parquet"),
    "windows": of_shape(shapes.windows, "data.csv", text=True),
    "pixels": of_shape(shapes.pixels, "data.csv", text=True),
    "axes": of_shape(shapes.exchanged, "data.npz"),
    "images": Format(make_images, read_images, same_images, image_data),
    "idx": Format(make_idx, read_idx, same_arrays, idx_data),
    "yaml": Format(make_yaml, read_yaml, same_yaml, text=True),
}


def inside(random: Random, content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """``content`` with a change in what is packed in it, and packed again, so that no checksum tells of it."""
    if content[:2] == b"\x1f\x8b":
        return gzip.compress(change(gzip.decompress(content)), mtime=0)
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        chosen = list(members)[random.integers(len(members))]
        members[chosen] = change(members[chosen])
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[random.integers(2)]) as archive:
            for name, member in members.items():
                archive.writestr(name, member)
        return out.getvalue()
    if content[:4] == b"\x89PNG":
        chunks, place = [], 8
        while place < len(content):
            (size,) = struct.unpack(">I", content[place : place + 4])
            chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
            place += 12 + size
        chosen = int(random.integers(len(chunks)))
        chunks[chosen] = (chunks[chosen][0], change(chunks[chosen][1]))
        packed = [
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
        ]
        return content[:8] + b"".join(packed)
    return change(content)
