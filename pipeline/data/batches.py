"""prepared/ -> this process's batches, in an order that is a function of (seed, epoch).

Shapes: N examples of a part, B batch (global), b slice, T time steps, F features, P = T * F.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.data.augment import Warp, places
from pipeline.data.prepare import Manifest, Part


def mix(*numbers: int) -> int:
    """One 63-bit seed out of several numbers: the finaliser of SplitMix64 (Steele et al., 2014) over each in turn."""
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & (1 << 64) - 1
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
        state = (state ^ state >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
        state ^= state >> 31
    return state >> 1


@dataclass(frozen=True)
class Slice:
    """``number`` of the slice in its global batch, ``rows`` (b) of the part, ``values`` (b, T, F), ``labels`` (b),
    ``weights`` (b): 1, or 0 for the padding that gives the last batch of an epoch the shape of the others; ``padded``:
    whether there is any, which the host knows without asking the device."""

    number: int
    rows: Tensor
    values: Tensor
    labels: Tensor
    weights: Tensor
    padded: bool


class Store:
    """The values and labels of a part: on the device if they fit ``limit_mb``, else read through a memory map."""

    def __init__(self, part: Part, device: torch.device, limit_mb: int) -> None:
        self.device, self.count = device, len(part.labels)
        self.resident = part.values.nbytes <= limit_mb * 2**20
        self.home = device if self.resident else torch.device("cpu")
        self.values = part.values.to(self.home)  # (N, T, F)
        self.labels = part.labels.to(self.home)  # (N)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values (b, T, F) and labels (b) of ``rows`` (b), which lie where the store does, on the device."""
        return self.values.index_select(0, rows).to(self.device), self.labels.index_select(0, rows).to(self.device)


class Batches:
    """The training batches of one process.

    A global batch is cut into ``slices`` equal slices, of which this process computes those numbered ``mine``.
    Each example stands exactly once in an epoch, whatever the number of processes.
    """

    def __init__(
        self,
        store: Store,
        batch: int,
        slices: int,
        mine: range,
        seed: int,
        shift: Shift | None = None,
        warp: Warp | None = None,
    ) -> None:
        assert batch % slices == 0
        self.warp = warp
        self.store, self.batch, self.mine, self.seed, self.shift = store, batch, mine, seed, shift
        self.size = batch // slices
        self.steps_per_epoch = -(-store.count // batch)
        self._epoch = -1
        self._ones = torch.ones(self.size, device=store.device)

    def count(self, step: int) -> int:
        """The number of examples in the global batch of ``step``."""
        return min(self.batch, self.store.count - step % self.steps_per_epoch * self.batch)

    def rows(self, step: int) -> list[int]:
        """The rows of the part that make up the global batch of ``step``."""
        offset = self._begin(step) * self.batch
        return self._order[offset : offset + self.count(step)].tolist()

    def slices(self, step: int) -> Iterator[Slice]:
        """This process's slices of the global batch of ``step``."""
        begin, count = self._begin(step) * self.batch, self.count(step)
        mine = slice(begin + self.mine.start * self.size, begin + self.mine.stop * self.size)
        rows = self._order[mine]
        values, labels = self.shift.take(self.store, rows, self._shifts[mine]) if self.shift else self.store.take(rows)
        if self.warp:
            values = self.warp(values, self._warps[mine].to(values.device))
        columns = (rows, values, labels)
        pieces = (torch.split(column, self.size) for column in columns) if len(self.mine) > 1 else ((x,) for x in columns)
        for number, own, x, y in zip(self.mine, *pieces, strict=True):
            start, stop = number * self.size, (number + 1) * self.size
            weights = self._ones
            if padded := stop > count:
                weights = (torch.arange(start, stop, device=self.store.device) < count).to(torch.float32)
            yield Slice(number, own, x, y, weights, padded)

    def _begin(self, step: int) -> int:
        """The place of ``step`` in its epoch, whose order is made when it begins."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            random = torch.Generator().manual_seed(mix(self.seed, epoch))
            padding = torch.zeros(self.steps_per_epoch * self.batch - self.store.count, dtype=torch.int64)
            order = torch.cat([torch.randperm(self.store.count, generator=random), padding])
            self._order = order.to(self.store.home)
            if self.shift:
                self._shifts = torch.randint(self.shift.choices, order.shape, generator=random).to(self.store.home)
            if self.warp:
                self._warps = self.warp.draw(len(order), random).to(self.store.home)
            self._epoch = epoch
        return place


class Shift:
    """Random shift of images by up to ``pixels`` each way, in any view; what moves in is the background.

    A table holds, for each of the (2 * pixels + 1)^2 shifts, where each of the P values comes from: one gather
    both picks the examples and moves them.
    """

    def __init__(self, manifest: Manifest, pixels: int, home: torch.device) -> None:
        assert manifest.image is not None
        height, width = manifest.image
        order = torch.arange(height * width) if manifest.order is None else torch.tensor(manifest.order)  # (P)
        moves = torch.arange(-pixels, pixels + 1)
        self.choices = len(moves) ** 2
        down, right = (move.reshape(-1, 1) for move in torch.meshgrid(moves, moves, indexing="ij"))  # (choices, 1)
        row, column = order // width - down, order % width - right  # (choices, P)
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        self.source = places(manifest)[row.clamp(0, height - 1) * width + column.clamp(0, width - 1)].to(home)  # (choices, P)
        self.inside = inside.to(home)
        self.background = manifest.value_range[0]

    def take(self, store: Store, rows: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        """``Store.take`` with each example moved as ``shifts`` (b), numbers of shifts, say."""
        steps = self.source.shape[1]
        values = store.values.reshape(-1).take(rows[:, None] * steps + self.source[shifts])  # (b, P)
        values = values.where(self.inside[shifts], self.background).to(values.dtype)
        values = values.reshape(-1, *store.values.shape[1:])
        return values.to(store.device), store.labels.index_select(0, rows).to(store.device)


def block(count: int, size: int, number: int, device: torch.device) -> tuple[Tensor, int]:
    """The rows (size) of block ``number`` of ``count`` rows, and how many of them are real: the last block is padded.

    Blocks are of one shape whatever the number of processes, so that a row's logits are bit for bit the same.
    """
    rows = torch.arange(number * size, (number + 1) * size, device=device)
    return rows.clamp(max=count - 1), min(size, count - number * size)
