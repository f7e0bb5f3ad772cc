"""Images in the rows of a table: a column a pixel, as MNIST is passed on in CSV."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from pipeline.data.inspection.frame import Frame

PIXEL = re.compile(r"(?:.*[^a-z])?(?:pixel|pix|px)s?[^a-z0-9]*\d+", re.IGNORECASE)
PLACE = re.compile(r"(\d+)x(\d+)", re.IGNORECASE)  # row and column, as in 1x1 ... 28x28
FEWEST = 64  # pixels that are taken for an image if their names do not say so
LARGEST = 255
ALIKE = 3.0  # times, by which a pixel may differ more from the one below it than from the one beside it
LOOKED_AT = 1000  # rows


def height_of(frame: Frame, columns: Sequence[str]) -> tuple[int, str]:
    """The rows of pixels of an image whose pixels are ``columns``, 0 if they are no image, and why."""
    count = len(columns)
    side = math.isqrt(count)
    square = side * side == count and side > 1
    places = [PLACE.fullmatch(name) for name in columns]
    if count > 3 and all(places):
        heights = {int(found[1]) for found in places if found}
        if count % len(heights) == 0 and columns == sorted(columns, key=lambda name: [*map(int, name.lower().split("x"))]):
            return len(heights), _said(count, len(heights), "as their names say")
    if square and all(PIXEL.fullmatch(name) for name in columns):
        return side, _said(count, side, "as their names say")
    if square and count >= FEWEST and _look_alike(frame, columns, side):
        return side, _said(count, side, f"all are whole numbers from 0 to {LARGEST}, and as near to those {side} columns away")
    return 0, ""


def _said(count: int, height: int, why: str) -> str:
    return f"the {count} columns are images of {height} rows of {count // height} pixels: {why}; each row is a step"


def _look_alike(frame: Frame, columns: Sequence[str], side: int) -> bool:
    """Whether values are grey levels, and a pixel is about as near to the one below it as to the one beside it."""
    if not all(frame[name].dtype.is_integer() for name in columns):
        return False
    values = np.stack([frame[name][:LOOKED_AT].fill_null(0).to_numpy() for name in columns], 1).astype(np.float64)
    if values.min() < 0 or not 1 < values.max() <= LARGEST:
        return False
    made = values.reshape(-1, side, side)
    below, beside = (np.diff(made, axis=axis) ** 2 for axis in (1, 2))
    return bool(below.mean() <= ALIKE * beside.mean() and below.mean() < values.var())
