"""How large the kernels' blocks are, and how many threads work on each, as measured on an H200.

A choice follows from the sizes of the layer alone, never from what is measured while training: it decides the order of sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

LARGEST = {torch.float32: 64, torch.bfloat16: 128, torch.float16: 128}  # hidden size, whose weights stay on the chip
TILES = 16 * 1024  # bytes of shared memory for what is no weight
SINGLE = 512  # series from which these kernels beat cuDNN's in single precision: 182 to 112 us for 64, 243 to 450 for 1,024
MANY = 2112  # series beyond which a program takes more of them: two programs of 8 for each of 132 multiprocessors
FUSED = 63  # features up to which the input's product is part of the forward kernel


@dataclass(frozen=True)
class Scan:
    """Of a kernel that goes from step to step: series a program, whether tiles are turned, warps a program, and whether
    activations in 16 bits are rough."""

    rows: int = 16
    turned: bool = False
    warps: int = 4
    rough: bool = True


@dataclass(frozen=True)
class Sums:
    """Of the weights' gradients: rows, columns and places a tile, warps, tiles in flight, and programs in all."""

    rows: int = 128
    columns: int = 64
    places: int = 32
    warps: int = 4
    stages: int = 3
    programs: int = 264


@dataclass(frozen=True)
class Choice:
    """Of a layer. ``fused``: whether the input's product is part of the forward kernel."""

    forward: Scan
    backward: Scan
    sums: Sums
    fused: bool


def padded(size: int) -> int:
    """The power of two, at least 16, that a tile of ``size`` takes."""
    return max(16, 1 << (size - 1).bit_length())


def fits(features: int, hidden: int, dtype: torch.dtype, shared: int) -> bool:
    """Whether the weights of one direction, the input's for ``features`` or none, stay in ``shared`` bytes with some tiles."""
    widths = padded(hidden) + (padded(features) if features else 0)
    bytes_each = 8 if dtype == torch.float32 else 2  # single precision as two shorter numbers
    return 4 * padded(hidden) * widths * bytes_each + TILES <= shared


def faster(series: int, hidden: int, dtype: torch.dtype) -> bool:
    """Whether these kernels are faster than cuDNN's for a layer that reads so many ``series`` at once, each direction
    counted. In 16 bits, where cuDNN has less to offer, they always were."""
    return dtype != torch.float32 or series >= SINGLE


def choice(sizes: tuple[int, int, int, int], dtype: torch.dtype, shared: int) -> Choice:
    """What is fastest for a layer; ``sizes``: B, F, H, D; ``shared``: the bytes on the chip that a program may have."""
    batch, features, hidden, directions = sizes
    wide, many = padded(hidden) > 64 or dtype == torch.float32, batch * directions > MANY
    scan = Scan(16, False, 8 if wide else 4) if many else Scan(8, True, 8 if padded(hidden) > 64 else 4)
    return Choice(scan, scan, Sums(), features <= FUSED and fits(features, hidden, dtype, shared))
