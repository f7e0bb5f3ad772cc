"""Run folders as training leaves them, written in a moment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import config

SMOKE = Path(__file__).parents[3] / "configs/smoke.yaml"
STARTED = 1_700_000_000  # seconds since the epoch, 2023-11-14T22:13:20Z


def make(
    folder: Path,
    *overrides: str,
    values: Sequence[float | None] = (0.5, 0.75, 0.625),
    loss: float | None = 0.5,
    finished: bool = True,
    test: float | None = 0.7,
) -> Path:
    """A run of three epochs of ten steps, whose validation accuracies are ``values``."""
    settings = config.load(SMOKE, ["train.epochs=3", f"run.dir={folder}", *overrides])
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(config.dump(settings))
    (folder / "environment.json").write_text(json.dumps({"started": "2023-11-14T22:13:20Z", "earlier": []}))
    lines: list[Mapping[str, Any]] = []
    for epoch, value in enumerate(values, 1):
        head = {"step": 10 * epoch, "epoch": float(epoch), "time": STARTED + 20.0 * epoch}
        lines += [head | {"train/loss": loss}, head | {"valid/loss": 1.0, "valid/accuracy": value}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for epoch in range(1, len(values) + 1):
        (folder / f"checkpoints/step_{10 * epoch:08d}").mkdir()
    if finished:
        (folder / "checkpoints/finished.json").write_text(json.dumps({"step": 10 * len(values)}))
    if test is not None:
        (folder / "eval").mkdir()
        measured = {"split": "test", "step": 20, "count": 10, "loss": 0.5, "accuracy": test}
        (folder / "eval/metrics.json").write_text(json.dumps(measured))
    return folder
