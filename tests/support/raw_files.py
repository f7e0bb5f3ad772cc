"""Small idx files, and a disk of a given size, for the tests of this folder."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

CODES = {"uint8": 0x08, "int32": 0x0C}
MNIST = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array: np.ndarray) -> bytes:
    header = bytes((0, 0, CODES[str(array.dtype)], array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def examples(train: int = 200, test: int = 40, classes: int = 10, first: int = 0, size=(5, 7)) -> list[np.ndarray]:
    """Images and labels of train, then of test; every class about equally often, in mixed order."""
    random = np.random.default_rng(7)
    arrays = []
    for count in (train, test):
        arrays.append(random.integers(0, 256, (count, *size), dtype=np.uint8))
        arrays.append(random.permutation(np.arange(count) % classes + first).astype(np.uint8))
    return arrays


def put(folder: Path, arrays: list[np.ndarray], names=MNIST, suffix: str = ".gz") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}{suffix}" for name in names]
    for path, array in zip(paths, arrays, strict=True):
        path.write_bytes(gzip.compress(idx(array), mtime=0) if suffix else idx(array))
    return paths


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own; the permissions of a folder would not stop root."""
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False).returncode:
        pytest.skip("NOT TESTED: a full and a read-only disk need root and the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
