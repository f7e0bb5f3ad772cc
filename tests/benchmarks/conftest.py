"""What the benchmark's test files share: MNIST's files with few examples."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

EXAMPLES, TESTED = 640, 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MNIST/raw: few noisy images whose brightness says their class."""
    folder = tmp_path_factory.mktemp("mnist")
    raw = folder / "MNIST/raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part, count in (("train", EXAMPLES), ("t10k", TESTED)):
        labels = random.permutation(np.arange(count, dtype=np.uint8) % 10)
        images = random.integers(0, 30, (count, 28, 28), np.uint8) + labels[:, None, None] * 20
        header = bytes((0, 0, 8, 3)) + struct.pack(">III", count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.astype(np.uint8).tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1)) + struct.pack(">I", count) + labels.tobytes())
    return folder
