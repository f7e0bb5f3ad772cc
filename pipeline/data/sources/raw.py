"""Raw examples, and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.series import Array
from pipeline.data.sources.download import Download


@dataclass(frozen=True)
class Raw:
    """Images (N, height, width) uint8 and labels (N) int64 in [0, C), as the source cuts them into train and test."""

    train_values: Array
    train_labels: Array
    test_values: Array
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
