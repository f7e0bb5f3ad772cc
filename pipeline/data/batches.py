"""prepared/ -> this process's batches, in an order that is a function of (seed, epoch).

Shapes: N examples of a part, B batch (global), b slice, T time steps, S steps of all series of a part, F features, P = T * F,
E steps of an epoch, m examples that this process computes in each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pipeline.data.augment import SeriesWarp, Shift, Warp
from pipeline.data.store import Store, sent

POOL = 50  # batches whose examples are sorted by length together


def mix(*numbers: int) -> int:
    """One 63-bit seed out of several numbers: the finaliser of SplitMix64 (Steele et al., 2014) over each in turn."""
    state = 0
    for number in numbers:
        state = ((state ^ number) + 0x9E3779B97F4A7C15) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        state ^= state >> 31
    return state >> 1


@dataclass(frozen=True)
class Slice:
    """``number`` of the slice in its global batch, ``rows`` (b) of the part, ``values`` (b, T, F), ``labels`` (b),
    ``weights`` (b): 1, or 0 for the padding that gives the last batch of an epoch the shape of the others; ``padded``:
    whether there is any, which the host knows without asking the device; ``lengths`` (b): the valid steps, None if all are."""

    number: int
    rows: Tensor
    values: Tensor
    labels: Tensor
    weights: Tensor
    padded: bool
    lengths: Tensor | None = None


class Batches:
    """The training batches of one process.

    A global batch is cut into ``slices`` equal slices, of which this process computes those numbered ``mine``.
    Each example stands exactly once in an epoch, whatever the number of processes. With ``bucket``, where lengths differ,
    the batches of an epoch are of similar lengths. ``balanced``: an epoch holds each class equally often instead.
    """

    def __init__(
        self,
        store: Store,
        batch: int,
        slices: int,
        mine: range,
        seed: int,
        shift: Shift | None = None,
        warp: Warp | SeriesWarp | None = None,
        bucket: bool = False,
        balanced: bool = False,
    ) -> None:
        assert batch % slices == 0
        self.warp = warp
        self.store, self.batch, self.mine, self.seed, self.shift = store, batch, mine, seed, shift
        self.bucket, self.balanced = bucket and store.lengths is not None, balanced
        self.size = batch // slices
        self.steps_per_epoch = -(-store.count // batch)
        self._epoch = -1
        self._ones = torch.ones(self.size, device=store.device)

    def count(self, step: int) -> int:
        """The number of examples in the global batch of ``step``."""
        return min(self.batch, self.store.count - step % self.steps_per_epoch * self.batch)

    def rows(self, step: int) -> list[int]:
        """The rows of the part that make up the global batch of ``step``."""
        return self.padded_rows(step)[: self.count(step)].tolist()

    def padded_rows(self, step: int) -> Tensor:
        """``rows`` as a tensor (B), with row 0 for what the last batch of an epoch lacks."""
        offset = self._begin(step) * self.batch
        return self._order[offset : offset + self.batch]

    @property
    def augmented(self) -> bool:
        """Whether examples are changed at random."""
        return self.shift is not None or self.warp is not None

    def slices(self, step: int) -> Iterator[Slice]:
        """This process's slices of the global batch of ``step``, each padded to its own longest series."""
        begin, count = self._begin(step) * self.batch, self.count(step)
        mine = slice(begin + self.mine.start * self.size, begin + self.mine.stop * self.size)
        rows = self._order[mine]
        for number, taken in zip(self.mine, self._taken(rows, mine), strict=True):
            start, stop = number * self.size, (number + 1) * self.size
            weights = self._ones
            if padded := stop > count:
                weights = (torch.arange(start, stop, device=self.store.device) < count).to(torch.float32)
            own, x, y, lengths = taken
            yield Slice(number, own, x, y, weights, padded, lengths)

    def _taken(self, rows: Tensor, mine: slice) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
        """Rows, values, labels and lengths of each slice. One gather is for all slices where all lengths are equal."""
        drawn = self._warps[mine] if self.warp else rows
        if self.store.lengths is not None:
            for own, seeds in zip(torch.split(rows, self.size), torch.split(drawn, self.size), strict=True):
                values, labels, lengths = self.store.take(own)
                if self.warp:
                    values = self.warp(values, sent(seeds, values.device), lengths)
                yield own, values, labels, lengths
            return
        values, labels = self.shift.take(self.store, rows, self._shifts[mine]) if self.shift else self.store.take(rows)[:2]
        if self.warp:
            values = self.warp(values, sent(drawn, values.device))
        if len(self.mine) == 1:
            yield rows, values, labels, None
            return
        for own, x, y in zip(*(torch.split(column, self.size) for column in (rows, values, labels)), strict=True):
            yield own, x, y, None

    def drawn(self, step: int) -> tuple[list[Tensor], list[int]]:
        """Of the epoch of ``step``: tables (E, m, ...) of this process's rows in each step and of the random numbers that
        change them; and the most time steps (E) of each global batch."""
        self._begin(step)
        columns = [self._order, *([self._shifts] if self.shift else []), *([self._warps] if self.warp else [])]
        own = slice(self.mine.start * self.size, self.mine.stop * self.size)
        tables = [column.reshape(-1, self.batch, *column.shape[1:])[:, own] for column in columns]
        lengths, longest = self.store.lengths, [self.store.longest] * self.steps_per_epoch
        if lengths is not None:
            longest = lengths[self._order.to(lengths.device)].reshape(-1, self.batch).amax(1).tolist()
        return tables, longest

    def take(self, rows: Tensor, drawn: list[Tensor], steps: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values (m, T, F), labels (m) and lengths of ``rows`` (m) changed as ``drawn`` says, columns of the tables of
        ``drawn``; all on the device, as is the store."""
        if self.shift:
            values, labels = self.shift.gathered(self.store, rows, drawn[0])
            return self.warped(values, None, drawn), labels, None
        values, labels, lengths = self.store.take_near(rows, steps)
        return self.warped(values, lengths, drawn), labels, lengths

    def gathering(self, step: int, steps: int) -> Callable[[], tuple[Tensor, Tensor, Tensor | None]]:
        """What gives, whenever and in whatever thread it is called, what ``take`` gives for ``step`` but for the warp, on the
        host, of a store that is mapped."""
        begin = self._begin(step) * self.batch
        mine = slice(begin + self.mine.start * self.size, begin + self.mine.stop * self.size)
        if self.shift:
            gather = partial(self.shift.gathered, self.store, self._order[mine], self._shifts[mine])
            return lambda: (*gather(), None)
        return partial(self.store.gathered, self._order[mine], steps)

    def warped(self, values: Tensor, lengths: Tensor | None, drawn: list[Tensor]) -> Tensor:
        """``values`` (m, T, F), which are moved already, warped as ``drawn`` says."""
        return self.warp(values, drawn[-1], lengths) if self.warp else values

    def padding(self, bucket: bool) -> float:
        """The share of padding among the steps that the first epoch computes, over all processes; 0 for equal lengths."""
        if self.store.lengths is None:
            return 0.0
        order = self._order_of(torch.Generator().manual_seed(mix(self.seed, 0)), bucket)
        longest = self.store.lengths[self._with_last(order)].reshape(-1, self.size).amax(1)
        return 1 - float(self.store.lengths[order].sum()) / (float(longest.sum()) * self.size)

    def remarks(self) -> Iterator[str]:
        """What costs time in how a model is fed, a sentence each."""
        if not self.store.resident:
            yield f"the training split is read batch by batch: {self.store.excess}"
        if self.store.lengths is not None:
            other = f", {self.padding(False):.0%} without buckets" if self.bucket else "; train.bucket=true lessens it"
            yield f"padding: {self.padding(self.bucket):.0%} of the steps{other}"

    def _begin(self, step: int) -> int:
        """The place of ``step`` in its epoch, whose order is made when it begins."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            random = torch.Generator().manual_seed(mix(self.seed, epoch))
            self._order = sent(self._with_last(self._order_of(random, self.bucket)), self.store.home)
            if self.shift:
                shifts = torch.randint(self.shift.choices, self._order.shape, generator=random)
                self._shifts = sent(shifts, self.store.home)
            if self.warp:
                self._warps = sent(self.warp.draw(len(self._order), random), self.store.home)
            self._epoch = epoch
        return place

    def _with_last(self, order: Tensor) -> Tensor:
        """``order`` and the padding of the last batch."""
        return torch.cat([order, torch.zeros(self.steps_per_epoch * self.batch - len(order), dtype=torch.int64)])

    def _balanced(self, random: torch.Generator) -> Tensor:
        """N rows in which each class occurs equally often, or once more; a row is taken again when its class is used up."""
        labels, chosen = self.store.labels.cpu(), []
        counts = labels.bincount()
        classes = torch.split(labels.argsort(stable=True), counts[counts > 0].tolist())
        for number, rows in enumerate(classes):
            share = (len(labels) + number) // len(classes)
            rounds = [rows[torch.randperm(len(rows), generator=random)] for _ in range(-(-share // len(rows)))]
            chosen.append(torch.cat([*rounds, rows[:0]])[:share])
        return torch.cat(chosen)[torch.randperm(len(labels), generator=random)]

    def _order_of(self, random: torch.Generator, bucket: bool) -> Tensor:
        """An epoch's permutation (N). With ``bucket``, pools of it are sorted by length and cut into batches, which are
        shuffled; the incomplete last batch stays what and where it is."""
        order = self._balanced(random) if self.balanced else torch.randperm(self.store.count, generator=random)
        if not bucket:
            return order
        assert self.store.lengths is not None
        whole = len(order) // self.batch
        sorted_ = [
            pool[self.store.lengths[pool].argsort(stable=True)]
            for pool in torch.split(order[: whole * self.batch], POOL * self.batch)
        ]
        full = torch.cat([*sorted_, order[:0]]).reshape(whole, self.batch)
        return torch.cat([full[torch.randperm(whole, generator=random)].reshape(-1), order[whole * self.batch :]])
