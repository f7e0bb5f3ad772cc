"""A prepared folder -> what the data is like."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.data.manifest import Manifest, Name
from pipeline.data.preparation.report import report
from pipeline.data.prepared import Prepared
from pipeline.data.store import Part

BINS = 30  # of lengths, at most
CHANNELS = 60  # rows of the table


def dataset(prepared: Prepared) -> dict[str, Any]:
    """Counts, lengths, channels, missing values, repeated examples and the warnings of ``prepare``."""
    manifest, found = prepared.manifest, report(prepared)
    constant = [channel["name"] for channel in found["channels"] if channel["constant"]]
    warnings = [*filter(None, [manifest.adapted]), *manifest.doubts]
    if constant:
        warnings.append(f"constant in the train split, so of no use: {', '.join(constant[:20])}")
    if manifest.left_out:
        warnings.append(f"{manifest.left_out:,} series are in no split, since they end when the time held out has begun")
    return {
        "source": manifest.source,
        "form": _form(manifest),
        "parts": [{"name": name, "count": count} for name, count in found["parts"].items()],
        "classes": [
            {"name": name, "counts": [found["classes"][part][name] for part in found["parts"]]} for name in manifest.class_names
        ],
        "lengths": [{"name": name} | numbers for name, numbers in found["lengths"].items()],
        "channels": found["channels"][:CHANNELS],
        "more_channels": max(0, len(found["channels"]) - CHANNELS),
        "repeated": manifest.repeated,
        "repeated_rows": [list(pair) for pair in manifest.repeated_rows],
        "warnings": warnings,
        "files": [{"name": name, "sha256": digest} for name, digest in list(manifest.source_files.items())[:40]],
        "folder": str(prepared.folder),
    }


def _form(manifest: Manifest) -> str:
    if manifest.image:
        height, width = manifest.image
        view = manifest.settings.get("view", "rows")
        return f"images of {height} × {width} pixels, read as {manifest.length} steps of {manifest.features} values ({view})"
    return f"series of up to {manifest.length:,} steps of {manifest.features} value{'s' * (manifest.features > 1)}"


def lengths(parts: dict[Name, Part]) -> dict[str, Any] | None:
    """Bins of whole numbers of steps, and the examples of each split in them; None where all lengths are equal."""
    steps = {name: part.lengths.numpy() for name, part in parts.items() if len(part.labels)}
    low, high = min(int(one.min()) for one in steps.values()), max(int(one.max()) for one in steps.values())
    if low == high:
        return None
    width = -(-(high - low + 1) // BINS)
    edges = np.arange(low, high + width + 1, width)
    counts = [{"name": name, "counts": np.histogram(one, edges)[0].tolist()} for name, one in steps.items()]
    return {"edges": edges.tolist(), "width": width, "parts": counts}
