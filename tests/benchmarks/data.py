"""MNIST's four files as torchvision wants to find them: unpacked, in MNIST/raw/. Nothing is downloaded."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

PARTS = {"train": 60_000, "t10k": 10_000}


class DataFault(Exception):
    """The files are missing or wrong: what, where, and what to do."""


def unpack(source: Path, target: Path, limit: int = 0) -> None:
    """Write MNIST's files in ``source``, gzip or plain, to ``target``/MNIST/raw; with ``limit`` so many of each part.

    Raises DataFault.
    """
    raw = target / "MNIST/raw"
    raw.mkdir(parents=True)
    for part, count in PARTS.items():
        keep = min(limit or count, count)
        for kind, header, size in (("images-idx3", 16, 784), ("labels-idx1", 8, 1)):
            name = f"{part}-{kind}-ubyte"
            content = _content(source, name)
            if len(content) != header + count * size:
                raise DataFault(
                    f"{source / name}: holds {len(content)} bytes, not {header + count * size}; put a good copy there"
                )
            start = content[:4] + struct.pack(">I", keep) + content[8:header]
            (raw / name).write_bytes(start + content[header : header + keep * size])


def _content(source: Path, name: str) -> bytes:
    try:
        if (source / f"{name}.gz").exists():
            return gzip.decompress((source / f"{name}.gz").read_bytes())
        return (source / name).read_bytes()
    except FileNotFoundError:
        raise DataFault(f"{source}: has no {name}.gz; name the folder of MNIST's four files: --data FOLDER") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataFault(f"{source / name}: cannot be read ({error}); put a good copy there") from None
