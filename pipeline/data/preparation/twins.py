"""Examples that stand in two splits, found by hashes of their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np

from pipeline.data.series import Array


def hash_of(example: Array) -> int:
    """64 bits of the bytes of an example."""
    return int.from_bytes(blake2b(np.ascontiguousarray(example).data, digest_size=8).digest())


def pairs(known: Array, wanted: Array) -> Iterator[tuple[int, int]]:
    """The number of each of the hashes ``wanted`` (n) that is one of ``known`` (N), and the first number that it has there."""
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known[order], wanted).clip(max=len(order) - 1)
    found = np.flatnonzero(known[order[place]] == wanted)
    yield from zip(found.tolist(), order[place[found]].tolist(), strict=True)
