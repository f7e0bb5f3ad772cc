"""All series of one of the user's files, in a temporary file: what is read once, block by block, and then used in any order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.data.series import Array, Series
from pipeline.errors import DataError

BLOCK = 2**23  # bytes of values that are in memory at a time


@dataclass(frozen=True, eq=False)
class Spool:
    """N series of C channels of the file ``source``. ``labels`` and ``groups`` (N) are numbers of ``words`` and of
    ``group_words``, which stand in the order of their first use. ``values`` (S, C) float32 are memory-mapped."""

    source: Path
    channels: tuple[str, ...]
    values: Array
    offsets: Array  # (N + 1)
    labels: Array
    words: tuple[str, ...]
    groups: Array | None
    group_words: tuple[str, ...]
    times: Array | None
    unit: str
    rows: Array  # (N)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> Array:
        """(N) the steps of each series."""
        return np.diff(self.offsets)

    def place(self, number: int) -> str:
        """The file and the row of a series, as a message says them."""
        return f"{self.source}: {self.unit} {self.rows[number]}"

    def blocks(self, rows: Array) -> Iterator[tuple[Array, Array, Array]]:
        """The series ``rows``, in that order, in blocks: their rows (n), values (S', C) end to end, and lengths (n)."""
        lengths = self.lengths[rows]
        number = (np.cumsum(lengths) - lengths) * self.values.shape[1] * 4 // BLOCK
        for piece in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(number)) + 1):
            chosen, steps = rows[piece], lengths[piece]
            start = np.repeat(self.offsets[chosen] - (np.cumsum(steps) - steps), steps)
            yield chosen, self.values[start + np.arange(len(start))], steps

    def hashes(self, rows: Array) -> Array:
        """(n) uint64: of the bytes of each of the series ``rows``."""
        found = []
        for _, values, lengths in self.blocks(rows):
            content, width = values.data.cast("B") if len(values) else memoryview(b""), values.shape[1] * 4
            ends = (np.cumsum(lengths) * width).tolist()
            found += [
                int.from_bytes(blake2b(content[start:stop], digest_size=8).digest()) for start, stop in pairwise([0, *ends])
            ]
        return np.array(found, np.uint64)

    def series(self, number: int) -> Array:
        """(T, C) the values of one series."""
        return self.values[self.offsets[number] : self.offsets[number + 1]]


def spool(source: Path, blocks: Iterable[Series], path: Path) -> Spool:
    """Read all ``blocks`` of the file ``source``; their values go to the new file ``path``.

    Raises DataError for a file without series and for a series without steps.
    """
    words: dict[str, int] = {}
    group_words: dict[str, int] = {}
    lengths: list[Array] = []
    labels: list[Array] = []
    groups: list[Array] = []
    times: list[Array] = []
    rows: list[Array] = []
    with path.open("wb") as file:
        for block in blocks:
            if not block.lengths.all():
                raise DataError(f"{source}: {block.place(int(block.lengths.argmin()))}: the series has no steps; leave it out")
            file.write(np.ascontiguousarray(block.values, np.float32).data)
            assert block.labels is not None
            lengths.append(block.lengths)
            labels.append(_numbers(block.labels, words))
            rows.append(block.rows)
            if block.groups is not None:
                groups.append(_numbers(block.groups, group_words))
            if block.times is not None:
                times.append(block.times)
            channels, unit = block.channels, block.unit
    if not sum(map(len, lengths)):
        raise DataError(f"{source}: holds no series")
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    values = np.memmap(path, np.float32, "r", shape=(int(offsets[-1]), len(channels)))
    return Spool(
        source,
        channels,
        values,
        offsets,
        np.concatenate(labels),
        tuple(words),
        np.concatenate(groups) if groups else None,
        tuple(group_words),
        np.concatenate(times) if times else None,
        unit,
        np.concatenate(rows),
    )


def _numbers(texts: Sequence[str], known: dict[str, int]) -> Array:
    return np.array([known.setdefault(text, len(known)) for text in texts], np.int64)


def repeated(train: Spool, train_rows: Array, test: Spool, test_rows: Array) -> list[tuple[int, int]]:
    """Each of ``test_rows`` whose series equals one of ``train_rows`` byte for byte, with the first such row."""
    hashes = train.hashes(train_rows)
    order = np.argsort(hashes, kind="stable")
    wanted = test.hashes(test_rows)
    place = np.searchsorted(hashes[order], wanted).clip(max=len(order) - 1)
    found = np.flatnonzero(hashes[order[place]] == wanted)
    pairs = [(int(test_rows[number]), int(train_rows[order[place[number]]])) for number in found]
    return [(row, twin) for row, twin in pairs if test.series(row).tobytes() == train.series(twin).tobytes()]
