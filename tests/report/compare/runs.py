"""Evaluated runs, written in a moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.report.listing.folders import make


def evaluated(folder: Path, right: Sequence[bool], *overrides: str, first: int = 0, digest: str = "d") -> Path:
    """A run that predicts these of its test examples right; their indices begin at ``first``."""
    make(folder, *overrides, test=None)
    (folder / "eval").mkdir()
    rows = [f"{first + number},{number % 3},{number % 3 if hit else 9},0.5" for number, hit in enumerate(right)]
    (folder / "eval/predictions.csv").write_text("\n".join(["index,label,prediction,probability", *rows]) + "\n")
    accuracy = sum(right) / len(right)
    measured = {
        "split": "test",
        "step": 20,
        "count": len(right),
        "accuracy": accuracy,
        "loss": 1 - accuracy,
        "macro_f1": accuracy,
    }
    (folder / "eval/metrics.json").write_text(json.dumps(measured))
    (folder / "checkpoints/best.json").write_text(json.dumps({"step": 20}))
    (folder / "checkpoints/step_00000030/state.json").write_text(json.dumps({"facts": {"data": digest}}))
    return folder


def hits(count: int, wrong: Sequence[int]) -> list[bool]:
    """All of ``count`` examples are right but for those ``wrong``."""
    return [number not in set(wrong) for number in range(count)]
