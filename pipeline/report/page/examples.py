"""Rows of a split -> what the page draws and computes with.

Shapes: T time steps, F features.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from pipeline.data.manifest import Manifest, Name
from pipeline.data.store import Part, Store
from pipeline.report.page.measured import Guesses
from pipeline.report.page.shown import encoded

LARGEST = 48_000  # bytes of one example that is embedded


class Album:
    """The examples of a page, as many as there is room for: ``items`` by their names, in the order in which they came."""

    def __init__(self, room: int) -> None:
        self.room = room  # characters that are left
        self.items: dict[str, dict[str, Any]] = {}
        self.left_out = 0

    def add(self, name: Name, part: Part, rows: Iterable[int], guesses: Guesses | None = None) -> list[str]:
        """Embed ``rows`` of a split while there is room; the names of those that are in."""
        store, names = Store(part, torch.device("cpu"), 0), []
        for row in rows:
            key = f"{name}-{row}"
            if key not in self.items:
                values = store.take(torch.tensor([row]))[0][0].numpy()  # (T, F)
                text = encoded(values)
                if values.nbytes > LARGEST or len(text) > self.room:
                    self.left_out += 1
                    continue
                self.room -= len(text)
                self.items[key] = {
                    "split": name,
                    "index": int(part.index[row]),
                    "label": int(part.labels[row]),
                    "steps": len(values),
                    "bytes": values.dtype == np.uint8,
                    "values": text,
                }
                if guesses is not None:
                    self.items[key] |= {
                        "guess": int(guesses.predictions[row]),
                        "sure": round(float(guesses.confidence[row]), 6),
                    }
            names.append(key)
        return names


def form(manifest: Manifest) -> dict[str, Any]:
    """How the values of an example are drawn: as an image, or as a line per channel over its steps."""
    low, high = manifest.value_range
    if manifest.image:
        order = None if manifest.order is None else list(manifest.order)
        return {"kind": "image", "image": list(manifest.image), "order": order, "low": low, "high": high}
    assert manifest.series
    series = manifest.series
    return {
        "kind": "series",
        "channels": list(series.channels),
        "masked": list(series.masked),
        "offset": list(series.offset),
        "mean": list(manifest.mean),
        "std": list(manifest.std),
        "low": list(series.low),
        "high": list(series.high),
    }
