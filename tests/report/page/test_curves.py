"""The lines of a page are those of the record."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.report.page import curves


def test_every_line_is_there_and_a_long_one_keeps_its_extremes(tmp_path: Path) -> None:
    rows = [{"step": step, "epoch": step / 100, "train/loss": 1.0, "train/lr": 0.1} for step in range(1, 5001)]
    rows[1234]["train/loss"], rows[4000]["train/loss"] = 9.0, -2.0
    rows.append({"step": 5000, "epoch": 50, "valid/loss": 0.5, "valid/accuracy": None})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = curves.curves(tmp_path, 5000)
    assert found and found["best"] == 5000 and found["per_epoch"] == 100
    loss = found["lines"]["train/loss"]
    assert len(loss["steps"]) <= curves.POINTS and loss["steps"] == sorted(loss["steps"])
    assert (loss["values"][loss["steps"].index(1235)], loss["values"][loss["steps"].index(4001)]) == (9.0, -2.0)
    assert found["lines"]["valid/loss"] == {"steps": [5000], "values": [0.5]} and "valid/accuracy" not in found["lines"]


def test_nothing_recorded_is_no_picture(tmp_path: Path) -> None:
    assert curves.curves(tmp_path, None) is None
    (tmp_path / "metrics.jsonl").touch()
    assert curves.curves(tmp_path, None) is None
