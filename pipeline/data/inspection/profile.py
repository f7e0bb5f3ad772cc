"""How many series there are, how long, of which classes, and what is missing.

Shapes: N series, C channels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import config
from pipeline.data.readers import formats
from pipeline.data.series import Array, Columns


@dataclass(frozen=True)
class Profile:
    """What a file holds, as far as a recipe depends on it."""

    count: int  # N
    shortest: int
    longest: int
    mean_length: float
    channels: tuple[str, ...]  # (C)
    classes: dict[str, int]  # examples of each
    missing: float  # the share of values that are missing
    constant: tuple[str, ...]  # channels with one value
    groups: int  # 0: none are named

    @property
    def rarest(self) -> int:
        """Examples of the class that has the fewest."""
        return min(self.classes.values())


def of_series(source: str, path: Path, columns: config.Columns) -> Profile:
    """The profile of a file. Raises DataError for what the reader refuses."""
    lengths, classes, groups = [], Counter[str](), set[str]()
    absent = total = 0
    ranges: list[Array] = []
    for block in formats.read(source, path, Columns(**columns.model_dump())):
        lengths.append(block.lengths)
        classes.update(block.labels or ())
        groups.update(block.groups or ())
        absent += int(np.isnan(block.values).sum())
        total += block.values.size
        channels = block.channels
        ranges.append(np.stack([np.fmin.reduce(block.values, 0), np.fmax.reduce(block.values, 0)]))
    steps = np.concatenate(lengths)
    every = np.stack(ranges)  # (blocks, 2, C)
    same = np.fmin.reduce(every[:, 0], 0) == np.fmax.reduce(every[:, 1], 0)
    return Profile(
        count=len(steps),
        shortest=int(steps.min()),
        longest=int(steps.max()),
        mean_length=float(steps.mean()),
        channels=channels,
        classes=dict(classes),
        missing=absent / max(1, total),
        constant=tuple(name for name, one in zip(channels, same, strict=True) if one),
        groups=len(groups),
    )
