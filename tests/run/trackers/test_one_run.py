"""All attempts at a run are one run of wandb, which has each line of metrics.jsonl once; online and offline.

The client is the real one, the server that of the tests.
"""

from __future__ import annotations

import math
import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.run.record import read
from pipeline.run.trackers import rows
from tests.support.wandb_server import KEY, Run, WandbServer

STEPS = 200
ROOT = Path(__file__).parents[3]


def environment(server: WandbServer, home: Path, **more: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "NETRC"))}
    return clean | {"HOME": str(home), "PYTHONPATH": str(ROOT)} | server.environment() | more


def begin(server: WandbServer, folder: Path, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.run.trackers.attempts", "run", *(arguments or (str(STEPS),))]
    return subprocess.Popen(command, cwd=folder, env=environment(server, folder, **more), stderr=subprocess.PIPE)


def whole(server: WandbServer, folder: Path, *arguments: str, **more: str) -> str:
    """One attempt that is left alone, and what it said."""
    attempt = begin(server, folder, *arguments, **more)
    said = attempt.communicate(timeout=300)[1].decode()
    assert attempt.returncode == 0, said
    return said


def lines(folder: Path) -> int:
    path = folder / "run/metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def sync(server: WandbServer, folder: Path) -> None:
    command = [sys.executable, "-m", "wandb", "sync", "run/wandb"]
    subprocess.run(command, cwd=folder, env=environment(server, folder), check=True, capture_output=True, timeout=120)


def same(row: dict[str, Any], line: dict[str, Any]) -> bool:
    """Whether a row of wandb says what a line says."""
    expected = {name: math.nan if value is None else value for name, value in line.items() if name != "time"}
    found = {name: value for name, value in row.items() if not name.startswith("_")}
    return found.keys() == expected.keys() and all(
        value == expected[name] or (math.isnan(value) and math.isnan(expected[name])) for name, value in found.items()
    )


def only(server: WandbServer, folder: Path) -> Run:
    """The one run that is there, whose rows are those of metrics.jsonl."""
    (run,) = server.runs.values()
    recorded = read(folder / "run/metrics.jsonl")
    assert [row["_step"] for row in run.history] == list(range(len(recorded)))
    assert all(same(row, line) for row, line in zip(run.history, recorded, strict=True))
    assert run.summary["valid/loss"] == {"min": 1 / 31, "last": 170 + 1 / 201}, "the best of an earlier attempt"
    assert run.summary["best/step"] == 30
    assert server.unknown == []
    return run


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_each_line_is_there_once_after_kills_and_resumes(mode: str, kills: int, tmp_path: Path) -> None:
    chance = random.Random(kills)
    with WandbServer() as server:
        for _ in range(kills):
            attempt = begin(server, tmp_path, WANDB_MODE=mode)
            before, more = lines(tmp_path), chance.randrange(2 * STEPS // kills)
            while attempt.poll() is None and lines(tmp_path) < before + more:
                time.sleep(0.01)
            time.sleep(chance.random() / 2)
            attempt.kill()
            attempt.communicate()
        whole(server, tmp_path, WANDB_MODE=mode)
        if mode == "offline":
            assert server.runs == {}
            sync(server, tmp_path)
        run = only(server, tmp_path)
        assert (run.exit_code, run.config["facts"]) == (0, {"parameters": 5})
        whole(server, tmp_path)  # finished: nothing is there to be said, and the best step is known all the same
        only(server, tmp_path)


def test_a_run_that_was_offline_goes_on_online_with_all_its_lines(tmp_path: Path) -> None:
    with WandbServer() as server:
        whole(server, tmp_path, "90", WANDB_MODE="offline")
        whole(server, tmp_path)
        only(server, tmp_path)
        sync(server, tmp_path)  # sends nothing again
        only(server, tmp_path)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_evaluations_on_the_way_take_no_line_away(mode: str, tmp_path: Path) -> None:
    with WandbServer() as server:
        for steps in ("90", "0", "0", str(STEPS)):  # the last goes on at step 84, which the first one saved
            whole(server, tmp_path, steps, WANDB_MODE=mode)
        if mode == "offline":
            sync(server, tmp_path)
        (run,) = server.runs.values()
        recorded = read(tmp_path / "run/metrics.jsonl")
        shown = [row for row in run.history if "confusion_matrix_table" not in row]
        assert len(run.history) - len(shown) == 2 and len(shown) == len(recorded)
        assert all(same(row, line) for row, line in zip(shown, recorded, strict=True))


def test_errors_of_the_server_and_its_death_for_five_seconds_lose_nothing(tmp_path: Path) -> None:
    with WandbServer() as server:
        server.fail = 2
        attempt = begin(server, tmp_path, str(STEPS), "0.05")
        while not server.runs or lines(tmp_path) < 20:
            time.sleep(0.05)
        server.fail = 3
        server.stop()
        time.sleep(5)
        server.start()
        assert attempt.wait(timeout=120) == 0
        only(server, tmp_path)
        assert not any(KEY.encode() in request.body for request in server.requests)


def written(numbers: range, filler: int) -> bytes:
    """A transaction log of a run and its rows, each of so many characters."""
    from wandb.proto.wandb_internal_pb2 import HistoryRecord, HistoryStep, Record, RunRecord

    content, records = b":W&B\xe1\xbe\x00", [Record(run=RunRecord(run_id="abc"))]
    for number in numbers:
        history = HistoryRecord(step=HistoryStep(num=number))
        history.item.add(key="x", value_json="1" * filler)
        records.append(Record(history=history))
    for record in records:
        body, begun = record.SerializeToString(), False
        while body:
            left = rows.BLOCK - len(content) % rows.BLOCK
            if left <= rows.HEAD:
                content, left = content + bytes(left), rows.BLOCK
            part, body = body[: left - rows.HEAD], body[left - rows.HEAD :]
            kind = (4 if begun else 1) if not body else (3 if begun else 2)  # last or whole, middle or first
            content, begun = content + struct.pack("<IHB", 0, len(part), kind) + part, True
    return content


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "offline-run-1-abc/run-abc.wandb"
    path.parent.mkdir()
    return path


def test_the_last_row_of_a_log_is_found_across_its_blocks_and_before_damage(tmp_path: Path, log: Path) -> None:
    assert rows.recorded(tmp_path, "abc") == 0
    for filler, count in ((10, 5), (1000, 200), (100_000, 4)):
        content = written(range(count), filler)
        log.write_bytes(content)
        assert rows.recorded(tmp_path, "abc") == count
        log.write_bytes(content[:-5])
        assert rows.recorded(tmp_path, "abc") == count - 1, "the last one is torn"
    assert rows.recorded(tmp_path, "other") == 0


@pytest.mark.parametrize(("filler", "count"), [(10, 5), (1000, 200), (100_000, 4)])
def test_a_log_that_a_kill_tore_is_cut_behind_its_last_whole_record(tmp_path: Path, log: Path, filler: int, count: int) -> None:
    whole, less = written(range(count), filler), written(range(count - 1), filler)
    for torn, left in ((whole, whole), (whole[:-5], less), (whole[: len(less) + 3], less)):
        log.write_bytes(torn)
        rows.mend(tmp_path, "abc")
        assert log.read_bytes() == left
    log.write_bytes(whole[:7])
    rows.mend(tmp_path, "abc")
    assert not log.exists(), "which run it is was not written"


@pytest.mark.parametrize("pattern", ["*", "ab?", "[a]bc", "../other"])
def test_the_id_of_a_run_is_a_name_and_no_pattern_of_others(tmp_path: Path, log: Path, pattern: str) -> None:
    log.write_bytes(written(range(5), 10)[:-5])
    before = log.read_bytes()
    assert rows.recorded(tmp_path, pattern) == 0
    rows.mend(tmp_path, pattern)
    rows.mark_sent(tmp_path, pattern, [])
    assert log.read_bytes() == before and [path.name for path in log.parent.iterdir()] == [log.name]
    if "/" not in pattern:
        own = tmp_path / f"offline-run-1-{pattern}/run-{pattern}.wandb"
        own.parent.mkdir()
        own.write_bytes(written(range(3), 10))
        assert rows.recorded(tmp_path, pattern) == 3


def test_rows_after_an_evaluation_make_room_for_it() -> None:
    assert [rows.number_of(line, [2, 2, 5]) for line in range(7)] == [0, 1, 4, 5, 6, 8, 9]
    assert math.isnan(rows.values_of(b'{"step": 1, "train/loss": null}')["train/loss"])
