"""metrics.jsonl holds each step once, whatever interrupted its writing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.run.record import Record, read


def test_record_is_one_json_object_a_line_with_null_for_what_is_not_finite(tmp_path: Path) -> None:
    record = Record(tmp_path / "metrics.jsonl")
    record.append({"step": 1, "train/loss": float("nan"), "train/lr": np.float32("inf"), "epoch": np.int64(3)})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "train/loss": null, "train/lr": null, "epoch": 3}\n'


def test_resumed_record_has_each_step_once(tmp_path: Path) -> None:
    record = Record(tmp_path / "metrics.jsonl")
    record.keep(lambda record: record["step"] <= 10)
    for step in (1, 2, 3, 4):
        record.append({"step": step})
    record.keep(lambda record: record["step"] <= 2)
    record.append({"step": 3})
    assert read(record.path) == [{"step": 1}, {"step": 2}, {"step": 3}]


@pytest.mark.parametrize("torn", [b'{"step": 2, "tra', b'{"step": 2}', b"\0\0\0\0"])
def test_half_written_last_line_is_passed_over_and_repaired(torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + torn)
    assert read(path) == [{"step": 1}]
    Record(path).append({"step": 2})
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_damage_inside_the_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n7\n{"step": 3}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl:2: not a record"):
        read(tmp_path / "metrics.jsonl")
