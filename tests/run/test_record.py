"""metrics.jsonl holds each step once, whatever interrupted its writing, and costs what is new in it."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.run import record
from pipeline.run.record import Record, each, read


def train(step: int) -> dict[str, Any]:
    return {"step": step, "epoch": step / 10, "train/loss": 1 / step, "train/lr": None}


def valid(step: int) -> dict[str, Any]:
    return {"step": step, "valid/loss": 2 / step, "valid/accuracy": 0.5}


def written(path: Path, *records: dict[str, Any]) -> Record:
    made = Record(path)
    for values in records:
        made.append(values)
    return made


def test_record_is_one_json_object_a_line_with_null_for_what_is_not_finite(tmp_path: Path) -> None:
    written(
        tmp_path / "metrics.jsonl",
        {"step": 1, "train/loss": float("nan"), "train/lr": np.float32("inf"), "epoch": np.int64(3)},
    )
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "train/loss": null, "train/lr": null, "epoch": 3}\n'


@pytest.mark.parametrize("block", [1, 7, 64, 2**16])
def test_resumed_record_has_each_step_once_and_the_evaluation_at_its_first_step_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(record, "BLOCK", block)
    steps = [
        value for step in (1, 2, 3, 4) for value in (train(step), {"step": step, "test/watched_accuracy": 0.5}, valid(step))
    ]
    assert Record(tmp_path / "none.jsonl").resume(3) == 0
    for step, kept, last in ((5, steps, 4), (4, steps[:11], 4), (3, steps[:8], 3), (2, steps[:5], 2), (0, [], 0)):
        path = tmp_path / f"{step}.jsonl"
        resumed = written(path, *steps)
        assert resumed.resume(step) == last
        assert read(path) == kept
        assert resumed.resume(step) == last and read(path) == kept, "which is so the second time too"
        resumed.append(train(9))
        assert read(path) == [*kept, train(9)]


def test_the_last_step_of_training_is_found_behind_other_records(tmp_path: Path) -> None:
    assert written(tmp_path / "x", train(36), valid(36), valid(40), valid(44)).resume(99) == 36
    assert written(tmp_path / "y", valid(40)).resume(99) == 0


def test_what_is_kept_is_not_read_or_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(train(step)) + "\n" for step in range(1, 20_001)))
    inode, read_in = path.stat().st_ino, []
    monkeypatch.setattr(record, "pread", lambda *arguments: (read_in.append(arguments[1]), os.pread(*arguments))[1])
    assert Record(path).resume(19_990) == 19_990
    assert sum(read_in) <= 4 * record.BLOCK < path.stat().st_size
    assert path.stat().st_ino == inode and len(read(path)) == 19_990


@pytest.mark.parametrize("torn", [b'{"step": 2, "tra', b'{"step": 2}', b"\0\0\0\0", b"x" * 200_000])
def test_half_written_last_line_is_passed_over_and_repaired(torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + torn)
    assert read(path) == [{"step": 1}]
    written(path, {"step": 2})
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    path.write_bytes(torn)
    written(path, {"step": 2})
    assert path.read_text() == '{"step": 2}\n'


BAD = [
    "7",
    "",
    "[]",
    "null",
    '{"a": 1}',
    '{"step": "x"}',
    '{"step": -1}',
    '{"step": 1.5}',
    '{"step": true}',
    '{"step": 1, "a": "b"}',
]


@pytest.mark.parametrize("line", [*BAD, '{"step": 1, "a": NaN}', '{"step": 1, "a": {}}', "[" * 100_000, "x" * 3_000_000])
def test_damage_inside_the_record_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    for reading in (read, lambda path: Record(path).resume(2)):
        with pytest.raises(RunError, match=r"metrics\.jsonl:2: not a record; delete this line to go on") as caught:
            reading(path)
        assert len(str(caught.value)) < 500


def test_each_record_comes_before_the_next_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(train(step)) + "\n" for step in range(1, 20_001)) + "damage\n")
    records = each(path)
    tracemalloc.start()
    assert [next(records)["step"] for _ in range(20_000)] == list(range(1, 20_001))
    assert tracemalloc.get_traced_memory()[1] < path.stat().st_size
    tracemalloc.stop()
    with pytest.raises(RunError, match=r"metrics\.jsonl:20001: not a record"):
        next(records)


def test_what_is_recorded_is_on_the_disk_after_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (synced.append(os.readlink(f"/proc/self/fd/{number}")), fsync(number))[1])  # noqa: PTH115
    Record(tmp_path / "metrics.jsonl").sync()
    assert synced == [], "there is none yet"
    written(tmp_path / "metrics.jsonl", train(1)).sync()
    assert synced == [str(tmp_path / "metrics.jsonl"), str(tmp_path)], "and its name"
