"""Arrays whose axes nobody has named: which one is that of the steps.

Neighbouring steps of a series are more alike than values a random number of steps apart; neighbouring channels need not be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from pipeline import config
from pipeline.data.inspection import names
from pipeline.data.readers.arrays import axes
from pipeline.data.readers.arrays.archive import Archive
from pipeline.data.series import Array, Columns

LOOKED_AT = 2**22  # values
CLEARER = 2.0  # times, by which one axis must be smoother than the other to decide against their lengths


def find(path: Path) -> tuple[config.Columns, list[str], list[str]]:
    """The order of the axes of an .npz file, why, and what its owner should look at. Raises DataError for a damaged file."""
    with Archive(path) as archive:
        name = axes.values_of(archive, Columns(labelled=False))
        if name is None:
            return config.Columns(), [], []
        header = archive.header(name)
        if len(header.shape) != 3 or 0 in header.shape or header.dtype.kind not in "biuf" or "offsets" in archive.names:
            return config.Columns(), [], []
        count = max(1, min(header.shape[0], LOOKED_AT * header.shape[0] // max(1, header.size // header.dtype.itemsize)))
        counts = [count, header.shape[0] - count] if count < header.shape[0] else [count]
        values = next(iter(archive.blocks(name, counts)))
        group = _group(archive, header.shape[0])
    columns, reasons, doubts = _of(name, header.shape, np.nan_to_num(values.astype(np.float64)))
    if group:
        columns = columns.model_copy(update={"group": group})
        reasons.append(f"no {group!r} stands on both sides of a split")
    return columns, reasons, doubts


def _group(archive: Archive, count: int) -> str:
    """The array that says whom or what each of ``count`` series is of, by its name; "" if there is none."""
    for name in archive.names:
        header = archive.header(name)
        if names.means(name, names.GROUP) and header.shape == (count,) and header.dtype.kind in "iuUS":
            return name
    return ""


def _of(name: str, shape: tuple[int, ...], values: Array) -> tuple[config.Columns, list[str], list[str]]:
    second, third = roughness(values, 1), roughness(values, 2)
    short = axes.look_exchanged(shape[1], shape[2])
    first = second >= third / CLEARER if short else shape[1] < shape[2] and second > CLEARER * third
    order: Literal["channels_first", "channels_last"] = "channels_first" if first else "channels_last"
    steps, channels = (shape[2], shape[1]) if first else (shape[1], shape[2])
    said = f"{name!r} of shape {shape} is read as {channels} channels of {steps} steps ({order})"
    measured = f"neighbours along the second axis differ by {second:.2g} of what is usual, along the third by {third:.2g}"
    sure = short == first and (third < second if first else second <= third)
    doubts = [] if sure else [f"{said}; if it is the other way round, change data.axes"]
    reasons = [f"{said}: {measured}"]
    columns = config.Columns(values=name, axes=order) if first or short else config.Columns(values=name)
    return columns, reasons, doubts


def roughness(values: Array, axis: int) -> float:
    """How far neighbours along an axis of (N, A, B) are apart: about 1 if they are as unlike as any two, 0 if equal."""
    if values.shape[axis] < 2:
        return 1.0
    spread = float(values.var()) or 1.0
    return float((np.diff(values, axis=axis) ** 2).mean()) / (2 * spread)
