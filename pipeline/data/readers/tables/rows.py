"""Rows of a table as arrays: what all readers of tables hand on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import polars as pl

from pipeline.data.series import WORD, Array, Words, steps_of

FEW, COLUMNS = 8, 512  # columns that are written one by one; of more, so many together


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows (n) of a table.

    Words change seldom from one row to the next: ``heads`` has a line for each run of rows of the same words (h of them), with
    ``first``, the number of the first of these rows, and a column for each role but the time: words, null where there is none.
    """

    places: Array  # (n) int64, where each row stands in the file
    heads: pl.DataFrame
    time: pl.Series | None  # (n) numbers, dates or text
    values: Array  # (n, K) float64, or float32 as the file has them; NaN where a value is missing
    empty: Array | None = None  # (n, K) which cells are empty; None where none is
    lists: tuple[pl.Series, ...] = ()  # (n) each: columns whose cells are lists, in the place of ``values``

    def __len__(self) -> int:
        return len(self.places)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        time = 0 if self.time is None else self.time.estimated_size()
        return self.places.nbytes + self.values.nbytes + int(self.heads.estimated_size() + time)

    @property
    def first(self) -> Array:
        """(h) the first row of each head."""
        return self.heads["first"].to_numpy()

    @property
    def lengths(self) -> Array:
        """(h) the rows of each head."""
        lengths: Array = np.diff(self.first, append=len(self))
        return lengths

    def words(self, role: str) -> pl.Series:
        """(n) the words of a role, row by row."""
        return self.heads[role][np.repeat(np.arange(len(self.heads)), self.lengths)]

    def cut(self, start: int, end: int) -> Rows:
        """The rows from ``start``, the first of a head, to ``end``."""
        low, high = np.searchsorted(self.first, (start, end)).tolist()
        return Rows(
            self.places[start:end],
            self.heads[low:high].with_columns(pl.col("first") - start),
            None if self.time is None else self.time[start:end],
            self.values[start:end],
            None if self.empty is None else self.empty[start:end],
        )

    def ordered(self, heads: Array) -> Rows:
        """The rows of the ``heads``, in that order of theirs."""
        lengths = self.lengths[heads]
        rows = np.repeat(self.first[heads], lengths) + steps_of(lengths)
        first = pl.Series("first", np.cumsum(lengths) - lengths)
        return Rows(
            self.places[rows],
            self.heads[heads].with_columns(first),
            None if self.time is None else self.time[rows],
            np.take(self.values, rows, axis=0),
        )


def joined(blocks: Sequence[Rows]) -> Rows:
    """Blocks one after the other, without ``empty``."""
    if len(blocks) == 1:
        return blocks[0]
    starts = np.cumsum([0, *map(len, blocks)]).tolist()
    heads = [block.heads.with_columns(pl.col("first") + start) for block, start in zip(blocks, starts, strict=False)]
    times = [block.time for block in blocks if block.time is not None]
    return Rows(
        np.concatenate([block.places for block in blocks]),
        pl.concat(heads),
        pl.concat(times) if times else None,
        np.concatenate([block.values for block in blocks]),
    )


def dense(numbers: pl.DataFrame, masked: bool, count: int) -> tuple[Array, Array | None]:
    """``count`` rows of K columns of float64 as ``values`` and, if it is ``masked``, ``empty`` of ``Rows``."""
    if not numbers.width:
        return np.empty((count, 0)), None
    values = np.empty((count, numbers.width))
    fill(values, numbers)
    absent = masked and any(numbers.null_count().row(0))
    return values, numbers.select(pl.all().is_null()).to_numpy() if absent else None


def fill(values: Array, numbers: pl.DataFrame) -> None:
    """Write the cells of a frame, whose columns lie one after the other in memory, into ``values``, whose rows do.

    NumPy goes through both in the order of ``values``: from many columns at once it would read each time from another page.
    """
    if numbers.width >= FEW:
        for first in range(0, numbers.width, COLUMNS):
            values[:, first : first + COLUMNS] = numbers[:, first : first + COLUMNS].to_numpy()
        return
    for place, column in enumerate(numbers):
        begin = 0
        for piece in column.get_chunks():  # as a column of one piece it would be copied once more
            values[begin : (begin := begin + len(piece)), place] = piece.to_numpy()


def shared(words: pl.Series) -> Words:
    """Words of which equal ones are the same object: a million labels take the memory of a few."""
    known = Numbers()
    numbers = known.of(words)
    return Words(numbers, known.words().to_list())


class Ids(Sequence[str]):
    """The words of a column (N), most of which nobody asks for: each is made when it is asked for."""

    def __init__(self, column: pl.Series) -> None:
        self._column = column

    @property
    def plain(self) -> bool:
        """Whether all are short and of printable ASCII; False, too, where that takes long to say."""
        text = str(self._column.str.join("").item())
        return text.isascii() and text.isprintable() and not (self._column.str.len_bytes() > WORD).any()

    def __len__(self) -> int:
        return len(self._column)

    def __iter__(self) -> Iterator[str]:
        return iter(self._column.to_list())

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...
    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        return tuple(self._column[place].to_list()) if isinstance(place, slice) else str(self._column[int(place)])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids | tuple) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # of what is equal to tuples


class Numbers:
    """Words as numbers from 0, in the order in which they first came."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, words: pl.Series) -> Array:
        """(n) uint32, the number of each of ``words`` (n)."""
        different = words.unique(maintain_order=True)
        numbers = [self._known.setdefault(word, len(self._known)) for word in different.to_list()]
        if len(different) == len(words):
            return np.array(numbers, np.uint32)
        local = words.cast(pl.Enum(different)).to_physical().to_numpy()
        known: Array = np.array(numbers, np.uint32)[local]
        return known

    def words(self) -> pl.Series:
        """The words, by their numbers."""
        return pl.Series(list(self._known), dtype=pl.String)
