"""Raw examples, and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.data.series import Array
from pipeline.data.sources.download import Download


class Images(Protocol):
    """Images (N, height, width) uint8: an array, or what reads them when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N, height, width."""

    def __getitem__(self, rows: Array, /) -> Array:
        """The images ``rows`` (n)."""


@dataclass(frozen=True)
class Raw:
    """Images (N, height, width) and labels (N) int64 in [0, C), as the source cuts them into train and test."""

    train_values: Images
    train_labels: Array
    test_values: Images
    test_labels: Array
    class_names: tuple[str, ...]
    value_range: tuple[int, int]


@dataclass(frozen=True)
class Source:
    """How a source is read from its files, each found as ``name`` or ``name.gz`` in root/``folder`` or in root."""

    read: Callable[[Mapping[str, Path]], Raw]
    names: tuple[str, ...] = ()
    folder: str = ""
    downloads: Callable[[], Iterable[Download]] = tuple
