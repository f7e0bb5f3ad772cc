"""Examples of a prepared folder, drawn as what they were made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.data.manifest import Name
from pipeline.data.prepared import Prepared
from pipeline.report.plots.canvas import Array
from pipeline.report.plots.data import image_grid
from pipeline.report.plots.series import CHANNELS, series_grid


def draw_examples(path: Path, prepared: Prepared, name: Name, rows: Sequence[int], titles: Sequence[str], caption: str) -> None:
    """Draw the examples ``rows`` of the part ``name``: as the images that they were made from, or as lines over the steps.

    Of many channels those that vary most over the train split are drawn, which the picture says below ``caption``.
    """
    manifest, examples = prepared.manifest, prepared.examples(name, rows)
    if manifest.image is not None:
        places = manifest.places
        image_grid(path, [values.ravel()[places].reshape(manifest.image) for values in examples], titles, caption)
        return
    assert manifest.series
    series = manifest.series
    names = series.channels
    spread = np.array(manifest.std[: len(names)])
    drawn = sorted(np.argsort(-spread, kind="stable")[:CHANNELS].tolist())
    if len(drawn) < len(names):
        caption += f"\n{len(drawn)} of {len(names):,} channels, those of the largest standard deviation in the train split"
    alone = len(names) == 1  # or the channel of the widest range would hide the others
    shift, factor = (-np.array(series.offsets), 1.0) if alone else prepared.manifest.normalization("feature")

    def each() -> Iterator[Array]:
        for stored in examples:
            values = stored.astype(np.float64)  # (T, F)
            one = (values - shift) * factor
            for place, channel in enumerate(series.masked):
                one[values[:, len(names) + place] > 0, channel] = np.nan  # it was missing, and filled
            yield one[:, drawn]

    kind = "value" if alone else "standard deviations from the mean"
    series_grid(path, each(), titles, [names[number] for number in drawn], caption, kind)
