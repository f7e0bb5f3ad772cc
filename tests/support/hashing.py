"""Which files are hashed, seen where each of them is: at ``hashlib.file_digest``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock


@contextmanager
def files_hashed(under: Path = Path("/")) -> Iterator[list[Path]]:
    """The files below ``under`` that are hashed in this block, in their order."""
    found: list[Path] = []
    plain = hashlib.file_digest

    def digest(file: Any, *arguments: Any) -> Any:
        path = Path(file.name).absolute()
        if path.is_relative_to(under):
            found.append(path)
        return plain(file, *arguments)

    with mock.patch.object(hashlib, "file_digest", digest):
        yield found
