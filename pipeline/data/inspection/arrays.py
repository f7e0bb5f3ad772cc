"""Arrays that nobody has named: which are the values and the class, and which axis is that of the steps.

Neighbouring steps of a series are more alike than values a random number of steps apart; neighbouring channels need not be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from pipeline import config
from pipeline.data.inspection import names
from pipeline.data.inspection.keys import MOST_CLASSES
from pipeline.data.readers.arrays import axes
from pipeline.data.readers.arrays.archive import Archive
from pipeline.data.readers.arrays.described import LABELS
from pipeline.data.series import Array, Columns

LOOKED_AT = 2**22  # values
CLEARER = 2.0  # times, by which one axis must be smoother than the other to decide against their lengths


def find(path: Path) -> tuple[config.Columns, list[str], list[str]]:
    """The order of the axes of an .npz file, why, and what its owner should look at. Raises DataError for a damaged file."""
    with Archive(path) as archive:
        name, label = axes.values_of(archive, Columns(labelled=False)), ""
        if not {*LABELS} & {*archive.names}:
            name, label = _named(archive, name)
        if name is None:
            return config.Columns(), [], []
        header = archive.header(name)
        known = config.Columns(values=name, label=label) if label else config.Columns()
        said = [f"{name!r} of shape {header.shape} holds the series; the class is {label!r}"] if label else []
        if len(header.shape) != 3 or 0 in header.shape or header.dtype.kind not in "biuf" or "offsets" in archive.names:
            return known, said, []
        count = max(1, min(header.shape[0], LOOKED_AT * header.shape[0] // max(1, header.size // header.dtype.itemsize)))
        counts = [count, header.shape[0] - count] if count < header.shape[0] else [count]
        values = next(iter(archive.blocks(name, counts)))
        group = _group(archive, header.shape[0])
    columns, reasons, doubts = _of(name, header.shape, np.nan_to_num(values.astype(np.float64)))
    columns = columns.model_copy(update={"label": label, "values": name} if label else {})
    reasons = said + reasons
    if group:
        columns = columns.model_copy(update={"group": group})
        reasons.append(f"{group!r} says whom or what each is of")
    return columns, reasons, doubts


def _named(archive: Archive, values: str | None) -> tuple[str | None, str]:
    """The arrays of the values and of the class, where no usual name tells: one of two or three axes, and beside it one of few
    values, or words, of which each stands for one of its rows."""
    headers = {name: archive.header(name) for name in archive.names}
    several = [name for name, one in headers.items() if len(one.shape) in (2, 3) and one.dtype.kind in "biuf"]
    if len(several) != 1 or values not in (None, several[0]):
        return values, ""
    count = headers[several[0]].shape[0]
    flat = [name for name, one in headers.items() if one.shape == (count,) and one.dtype.kind in "biuSU"]
    flat = [name for name in flat if not names.means(name, f"{names.GROUP} {names.ID} {names.TIME}") and name != "lengths"]
    few = [name for name in flat if 2 <= len(np.unique(archive.array(name))) <= min(MOST_CLASSES, count // 2)]
    few = [name for name in few if names.means(name, names.LABEL)] or few
    return (several[0], few[0]) if len(few) == 1 else (values, "")


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
