"""The first rows of one table, or of several part files of one, by the names of its columns; and what is found in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import config
from pipeline.data.inspection import sample

MOST_ROWS = 200_000  # that are looked at


@dataclass
class Found:
    """What is what in a table, and why, in lines for people."""

    columns: config.Columns
    reasons: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)  # what its owner should look at


class Frame:
    """The first rows of a table: its columns under their names, which polars does not see, since it takes some for patterns."""

    def __init__(self, frame: pl.DataFrame, names: Sequence[str], file: pl.Series | None = None) -> None:
        self._columns = {name: frame[:, place].alias("column") for place, name in enumerate(names)}
        self._rows = len(frame)
        self.file = file  # of several files, the number of the one that a row stands in

    @property
    def columns(self) -> list[str]:
        """The names, in the order of the file."""
        return list(self._columns)

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, name: str) -> pl.Series:
        return self._columns[name]

    def with_column(self, name: str, values: pl.Series | None = None) -> Frame:
        """The same with a column ``name`` besides, of empty words if it is not given."""
        made = Frame(pl.DataFrame([pl.Series(name, [""] * len(self)) if values is None else values]), [name], self.file)
        made._columns |= self._columns
        return made


def counts_rows(values: pl.Series) -> bool:
    """Whether whole numbers count rows: each is the one before, and one more."""
    return values.dtype.is_integer() and len(values) > 1 and bool((values.diff().drop_nulls() == 1).all())


def joined(source: str, files: Sequence[Path]) -> tuple[Frame, dict[str, Any]]:
    """The first rows of several files, together at most MOST_ROWS, and how they are written, as ``sample.of`` gives it."""
    frame, columns, written = sample.of(source, files[0], MOST_ROWS // len(files) + 1)
    frames = [frame]
    for file in files[1:]:
        other, names, _ = sample.of(source, file, MOST_ROWS // len(files) + 1)
        if {*names} == {*columns}:
            order = [names.index(name) for name in columns]
            frames.append(pl.DataFrame([other[:, place].alias(word) for place, word in zip(order, frame.columns, strict=True)]))
    number = pl.concat([pl.repeat(place, len(one), eager=True) for place, one in enumerate(frames)])
    whole = pl.concat(frames, how="vertical_relaxed")
    return Frame(whole, columns, number if frames[1:] else None), written
