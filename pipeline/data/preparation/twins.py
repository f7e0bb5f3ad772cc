"""Examples that stand in two splits, found by hashes of their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np

from pipeline.data.series import Array, cuts, offsets_of, steps_of

CACHED = 2**15  # values that a processor keeps at hand


def hash_of(example: Array) -> int:
    """64 bits of the bytes of an example."""
    return int.from_bytes(blake2b(np.ascontiguousarray(example).data, digest_size=8).digest())


def hashes_of(values: Array, lengths: Array) -> Array:
    """(n) uint64, 64 bits of each of n series (S, F) float32 of so many steps, end to end.

    They are the sum of what SplitMix64 (Steele, Lea and Flood, 2014) makes of each value and its place in its series.
    """
    width = values.shape[1]
    words, offsets = np.ascontiguousarray(values).view(np.uint32), offsets_of(lengths)
    found = np.empty(len(lengths), np.uint64)
    for piece in cuts(lengths * width, CACHED):
        steps = steps_of(lengths[piece]).astype(np.uint64) * np.uint64(width)
        mixed = words[offsets[piece.start] : offsets[piece.stop]].astype(np.uint64)
        mixed += (steps << np.uint64(32))[:, np.newaxis] + (np.arange(width, dtype=np.uint64) << np.uint64(32))
        for factor, shift in ((0x9E3779B97F4A7C15, 30), (0xBF58476D1CE4E5B9, 27), (0x94D049BB133111EB, 31)):
            mixed *= np.uint64(factor)
            mixed ^= mixed >> np.uint64(shift)
        begins = (offsets[piece.start : piece.stop] - offsets[piece.start]) * width
        found[piece] = np.add.reduceat(mixed.reshape(-1), begins)
    return found


def pairs(known: Array, wanted: Array) -> Iterator[tuple[int, int]]:
    """The number of each of the hashes ``wanted`` (n) that is one of ``known`` (N), and the first number that it has there."""
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known[order], wanted).clip(max=len(order) - 1)
    found = np.flatnonzero(known[order[place]] == wanted)
    yield from zip(found.tolist(), order[place[found]].tolist(), strict=True)
