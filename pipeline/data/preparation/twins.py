"""Examples that stand in two splits, found by hashes of their bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b

import numpy as np

from pipeline.data.series import Array, cuts, offsets_of, steps_of

CACHED = 2**15  # values that a processor keeps at hand
TRIED = 8  # examples of the same hash; by chance not two do differ, but a file may be made so that all have one hash


def hash_of(example: Array) -> int:
    """64 bits of the bytes of an example."""
    return int.from_bytes(blake2b(np.ascontiguousarray(example).data, digest_size=8).digest())


def hashes_of(values: Array, lengths: Array) -> Array:
    """(n) uint64, 64 bits of each of n series (S, F) float32 of so many steps, end to end.

    They are a sum modulo 2^64: the bits of each value times a number of its place in its series, and one of the length.
    """
    sizes = lengths * values.shape[1]
    words, factors = np.ascontiguousarray(values).view(np.uint32).reshape(-1), _factors(int(sizes.max()) + 1)
    found: Array = sizes.astype(np.uint64) * factors[0]
    if (sizes == sizes[0]).all():
        found += np.einsum("ij,j->i", words.reshape(len(sizes), -1), factors[1:], dtype=np.uint64)
        return found
    offsets = offsets_of(sizes)
    for piece in cuts(sizes, CACHED):
        begins, end = offsets[piece], offsets[piece.stop]
        mixed = words[begins[0] : end].astype(np.uint64)
        mixed *= factors[1 + steps_of(sizes[piece])]
        found[piece] += np.add.reduceat(mixed, begins - begins[0])
    return found


def _factors(count: int) -> Array:
    """(count) uint64, odd: what SplitMix64 (Steele, Lea and Flood, 2014) makes of 1, 2, 3 ..."""
    mixed = np.arange(1, count + 1, dtype=np.uint64)
    for factor, shift in ((0x9E3779B97F4A7C15, 30), (0xBF58476D1CE4E5B9, 27), (0x94D049BB133111EB, 31)):
        mixed *= np.uint64(factor)
        mixed ^= mixed >> np.uint64(shift)
    return mixed | np.uint64(1)


def pairs(known: Array, wanted: Array, same: Callable[[int, int], bool]) -> Iterator[tuple[int, int]]:
    """The number of each of ``wanted`` (n) that is one of ``known`` (N), and the first number that it has there.

    Both are hashes; ``same`` tells of a number of each whether they are really the same.
    """
    every = np.sort(np.concatenate([known, wanted]))
    twice = every[1:][every[1:] == every[:-1]]
    rows = np.flatnonzero(_among(known, twice))
    order = rows[np.argsort(known[rows], kind="stable")]
    ordered, numbers = known[order], np.flatnonzero(_among(wanted, twice))
    begins, ends = (np.searchsorted(ordered, wanted[numbers], side).tolist() for side in ("left", "right"))
    for number, begin, end in zip(numbers.tolist(), begins, ends, strict=True):
        twin = next((twin for twin in order[begin : min(end, begin + TRIED)].tolist() if same(number, twin)), None)
        if twin is not None:
            yield number, twin


def _among(hashes: Array, twice: Array) -> Array:
    """(n) whether each of ``hashes`` (n) is one of those in ``twice``, which ascend."""
    if not len(twice):
        return np.zeros(len(hashes), bool)
    found: Array = twice[np.searchsorted(twice, hashes).clip(max=len(twice) - 1)] == hashes
    return found
