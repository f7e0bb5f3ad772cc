"""What a prepared folder holds, in numbers: lengths, classes, channels, missing values, examples that stand in two parts."""

from __future__ import annotations

from typing import Any

from pipeline.data.manifest import Manifest
from pipeline.data.prepared import Prepared


def report(prepared: Prepared) -> dict[str, Any]:
    """The data report, as JSON values. Channels and lengths are there for series only; a channel's ``missing`` counts the
    values that the file lacks, in all parts, and its other numbers are of the training split as it was stored.
    """
    manifest = prepared.manifest
    counts = {name: dict(zip(manifest.class_names, info.class_counts, strict=True)) for name, info in manifest.parts.items()}
    return {
        "source": manifest.source,
        "parts": {name: info.count for name, info in manifest.parts.items()},
        "classes": counts,
        "lengths": {
            name: dict(zip(("least", "most", "mean"), info.lengths, strict=True))
            for name, info in manifest.parts.items()
            if info.lengths
        },
        "channels": list(_channels(manifest)),
        "repeated": {"count": manifest.repeated, "rows": [list(pair) for pair in manifest.repeated_rows]},
    }


def _channels(manifest: Manifest) -> list[dict[str, Any]]:
    if manifest.series is None:
        return []
    series = manifest.series
    missing = [sum(numbers) for numbers in zip(*(info.missing for info in manifest.parts.values()), strict=True)]
    missing += [0] * len(series.masked)
    columns = (series.features, series.low, manifest.mean, series.high, manifest.std, missing, series.offsets)
    return [
        {
            "name": name,
            "least": low + offset,
            "mean": mean + offset,
            "most": high + offset,
            "deviation": std,
            "missing": absent,
            "constant": std == 0,
            "offset": offset,
        }
        for name, low, mean, high, std, absent, offset in zip(*columns, strict=True)
    ]


def lines(found: dict[str, Any]) -> list[str]:
    """The report as lines of text, without the counts of the parts."""
    said = [
        f"  {name:5}  {numbers['least']} to {numbers['most']} steps, {numbers['mean']:.1f} on average"
        for name, numbers in found["lengths"].items()
    ]
    for channel in found["channels"][:SHOWN]:
        notes = f"  missing: {channel['missing']}" if channel["missing"] else ""
        notes += "  constant" if channel["constant"] else ""
        notes += f"  {channel['offset']:.15g} is subtracted before rounding to float32" if channel["offset"] else ""
        digits = 15 if channel["offset"] else 4
        least, most, mean = (f"{channel[name]:.{digits}g}" for name in ("least", "most", "mean"))
        said.append(
            f"  {channel['name']}: {least} to {most}, mean {mean}, standard deviation {channel['deviation']:.4g}{notes}"
        )
    if len(found["channels"]) > SHOWN:
        said.append(f"  ... and {len(found['channels']) - SHOWN} channels more")
    constant = [channel["name"] for channel in found["channels"] if channel["constant"]]
    if constant:
        said.append(f"warning: constant in the training split, so of no use: {', '.join(constant)}")
    return said


SHOWN = 12  # channels
