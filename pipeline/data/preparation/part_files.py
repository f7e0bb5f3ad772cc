"""Prepared parts on disk: safetensors files, written as a stream."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.data.series import Array

_TYPES = {"int64": "I64", "float32": "F32", "uint8": "U8"}
Kind = Literal["float32", "uint8"]


def write(
    path: Path, small: dict[str, Array], shape: tuple[int, ...], blocks: Iterable[Array], dtype: Kind = "float32"
) -> None:
    """Write arrays as safetensors: those of ``small``, and ``values`` of ``shape``, which come in ``blocks``.

    Only a block is in memory at a time. The header says where each tensor lies, so everything but the values must be known.
    """
    header: dict[str, Any] = {}
    end = 0
    # 8-byte numbers first: a memory map of each is then aligned
    for name, kind, size in [(name, str(a.dtype), a.shape) for name, a in small.items()] + [("values", dtype, shape)]:
        start, end = end, end + int(np.prod(size)) * np.dtype(kind).itemsize
        header[name] = {"dtype": _TYPES[kind], "shape": list(size), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in small.values():
            file.write(np.ascontiguousarray(array).data)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)
        assert file.tell() == 8 + len(text) + end
