"""Which attempt recorded what, and what a run says of its export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import RunError
from pipeline.report.page import history, shown


def started(clock: str, processes: int) -> dict[str, object]:
    return {"started": f"2026-01-01T{clock}Z", "processes": processes, "host": "one", "gpus": ["A", "A", "B"]}


def test_each_record_belongs_to_the_attempt_that_had_begun_by_then(tmp_path: Path) -> None:
    tries = [started("10:00:00", 1), started("11:00:00", 2), started("12:00:00", 2)]
    (tmp_path / "environment.json").write_text(json.dumps({**tries[-1], "earlier": tries[:-1]}))
    zero = 1767261600  # 10:00
    rows = [(10, zero + 20), (20, zero + 60), (30, zero + 3600 + 90)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps({"step": step, "time": at}) + "\n" for step, at in rows))
    found = history.attempts(tmp_path)
    assert found == tries
    shown_rows = history.trained(tmp_path, found)
    assert [(row["first"], row["last"], row["took"]) for row in shown_rows] == [
        (10, 20, "1 min 0 s"),
        (30, 30, "1 min 30 s"),
        (None, None, "–"),
    ]
    assert ("GPUs", "2 × A, 1 × B") in history.environment(found)


def test_a_damaged_environment_is_an_error_that_names_it(tmp_path: Path) -> None:
    assert history.attempts(tmp_path) == [] and history.environment([]) == []
    (tmp_path / "environment.json").write_text("[]")
    with pytest.raises(RunError, match=r"environment.json: cannot be read"):
        history.attempts(tmp_path)


def test_the_comparison_of_the_export_is_that_of_its_model_card(digits: Path) -> None:
    found = history.exported(digits)
    assert [row["file"] for row in found] == ["model.safetensors", "model.onnx", "model.pt2"]
    assert all(row["others"] == 0 and float(row["difference"]) < 1e-4 for row in found)


def test_lengths_of_time_and_sizes_are_words() -> None:
    assert [shown.span(x) for x in (3.14, 59.4, 61, 7322)] == ["3.1 s", "59 s", "1 min 1 s", "2 h 2 min"]
    assert [shown.size(x) for x in (12, 12_345, 1_234_567)] == ["12 bytes", "12 KB", "1.2 MB"]
