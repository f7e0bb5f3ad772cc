"""Images -> how thick, large and where a drawn one must be to look like them.

Shapes: N images, h x w pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[Any]
EMPTY = 0.3  # share of pixels that must be background: a photograph cannot be drawn
FAINT = 0.15  # of the range; what is darker is background


def ink(images: Images, low: float, high: float) -> dict[str, Any] | None:
    """The median larger side of what is drawn, its centre and the width of its strokes, all in pixels, of ``images`` (N, h, w)
    whose values go from ``low`` to ``high``; None where they are no drawings on an empty background.

    ``by_mass``: whether the centre of mass is nearer to one place in all images than the centre of the bounding box.
    """
    x = (images.astype(np.float64) - low) / (high - low or 1)
    x = x[(x > FAINT).reshape(len(x), -1).any(1)]
    there: NDArray[np.bool_] = x > FAINT
    if not len(x) or there.mean() > 1 - EMPTY:
        return None
    down, across = np.any(there, axis=2), np.any(there, axis=1)  # (N, h), (N, w)
    tops, lefts = down.argmax(1), across.argmax(1)
    bottoms, rights = (line.shape[1] - line[:, ::-1].argmax(1) for line in (down, across))
    mass = x.sum((1, 2))
    by_mass = np.stack(
        [(x.sum(2) * (np.arange(x.shape[1]) + 0.5)).sum(1) / mass, (x.sum(1) * (np.arange(x.shape[2]) + 0.5)).sum(1) / mass]
    )
    by_box = np.stack([(tops + bottoms) / 2, (lefts + rights) / 2])
    nearer = by_mass.std(1).sum() < by_box.std(1).sum()
    # a stroke of length L and width w has the area L w, and two sides of length L, whose total variation is 1.27 L each
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    sides = np.abs(np.diff(padded, axis=1)).sum((1, 2)) + np.abs(np.diff(padded, axis=2)).sum((1, 2))
    return {
        "side": float(np.median(np.maximum(bottoms - tops, rights - lefts))),
        "centre": (by_mass if nearer else by_box).mean(1).tolist(),
        "by_mass": bool(nearer),
        "stroke": float(np.median(2.54 * mass / sides)),
        "peak": float(np.median(x.max((1, 2)))),
    }
