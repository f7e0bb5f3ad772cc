"""The idx format of the MNIST family, read strictly: a file is exactly what its header announces, or an error.

Two zero bytes, the code of the type, the number of dimensions, each dimension as a big-endian uint32,
then the values with the last dimension fastest.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError

TYPES: dict[str, tuple[int, np.dtype[Any]]] = {"ubyte": (0x08, np.dtype("u1")), "int": (0x0C, np.dtype(">i4"))}
LIMIT = 2**31  # bytes; four times the largest file of the family
DEFLATE = 1032  # the largest ratio that deflate can reach (zlib technical details)


def read(path: Path) -> npt.NDArray[Any]:
    """The array in an idx file, plain or gzip. The file's name, such as ``x-idx3-ubyte``, states dimensions and type.

    Never unpacks more bytes than the header announces, nor trusts an announcement that the file cannot hold.
    Raises DataError, which names the file, for a file that is empty, cut short, too long, damaged or of another kind.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return _parse(unpacked, path, DEFLATE * size)
            return _parse(file, path, size)
    except EOFError:
        raise _fault(path, "the gzip file is cut short") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _fault(path, f"the gzip file is damaged ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _parse(file: io.BufferedIOBase, path: Path, available: int) -> npt.NDArray[Any]:
    kind = re.search(r"idx(\d)-(ubyte|int)", path.name)
    assert kind, path
    dimensions, (code, dtype) = int(kind[1]), TYPES[kind[2]]
    magic = bytes((0, 0, code, dimensions))
    start = file.read(4)
    if not start:
        raise _fault(path, "the file is empty")
    if start != magic:
        raise _fault(path, f"wrong magic number 0x{start.hex()}, expected 0x{magic.hex()} ({kind[0]})")
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise _fault(path, "cut short inside the header")
    shape = struct.unpack(f">{dimensions}I", header)
    if 0 in shape:
        raise _fault(path, f"holds no examples: its shape is {shape}")
    size = math.prod(shape) * dtype.itemsize
    if size > LIMIT:
        raise _fault(path, f"the header announces {shape}, more than the limit of {LIMIT} bytes")
    body = file.read(size) if size <= available else b""
    if len(body) < size:
        raise _fault(path, f"cut short: the header announces {shape}, {size} bytes, which the file does not hold")
    if file.read(1):
        raise _fault(path, f"too long: bytes follow the {size} that the header announces")
    return np.frombuffer(body, dtype).reshape(shape)


def _fault(path: Path, problem: str) -> DataError:
    return DataError(f"{path}: {problem}; delete it and prepare again to download it, or put a good copy there")
