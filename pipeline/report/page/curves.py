"""metrics.jsonl -> lines over the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.report.plots.series import thinned
from pipeline.run import record

POINTS = 800  # of a line
DRAWN = ("train/loss", "valid/loss", "train/accuracy", "valid/accuracy", "train/lr")


def curves(folder: Path, best: int | None) -> dict[str, Any] | None:
    """``lines``: steps and values of each of DRAWN that was recorded; ``best``: the step of the best checkpoint, if known.

    Of very long ones the least and the greatest value of each stretch are kept. None if nothing was recorded. Raises RunError
    for a damaged record.
    """
    path = folder / "metrics.jsonl"
    if not path.exists():
        return None
    found: dict[str, list[tuple[int, float]]] = {}
    per_epoch = 0.0
    for row in record.each(path):
        for name in DRAWN:
            if row.get(name) is not None:
                found.setdefault(name, []).append((row["step"], row[name]))
        per_epoch = row["step"] / row["epoch"] if row.get("epoch") else per_epoch
    if not found:
        return None
    lines = {}
    for name, pairs in found.items():
        steps, values = np.array(pairs, dtype=np.float64).T
        places, kept = thinned(values[:, None], POINTS)
        lines[name] = {
            "steps": steps[places[:, 0]].astype(int).tolist(),
            "values": [float(f"{one:.6g}") for one in kept[:, 0]],
        }
    return {"lines": lines, "best": best, "per_epoch": per_epoch}
