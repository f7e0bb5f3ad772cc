"""The record of a run -> what it says in short: how far it is, what was best, how long it took."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline import files

MOST = 2**26  # bytes of a record that are read, from its end
HUGE = 2.0**53  # beyond which a number of a record is damage
TIME = re.compile(rb'"time": ([0-9]{1,12}(?:\.[0-9]+)?)[,}]')


class _Attempt(BaseModel):
    started: str = ""


class _Attempts(_Attempt):
    earlier: list[_Attempt] = []


@dataclass(frozen=True)
class Record:
    """What metrics.jsonl says in short."""

    step: int = 0
    steps_per_epoch: int = 0  # 0: not known yet
    value: float | None = None  # the best of ``train.monitor``
    best: int = 0  # the step that it was reached at
    seconds: float = 0.0  # of training, over all attempts
    finite: bool = True  # whether the last loss was


def file(path: Path, kind: type[files.M]) -> files.M | None:
    """What a file of JSON says; None if it is not there or is something else."""
    try:
        return files.read_json(path, kind)
    except (OSError, ValueError):
        return None


def read(folder: Path, monitor: str) -> Record:
    """What metrics.jsonl says. Lines that are none are left out: to find their fault is the business of those who go on."""
    try:
        with files.opened(folder / "metrics.jsonl") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MOST))
            lines = file.read(MOST).split(b"\n")[:-1]
    except OSError:
        return Record()
    trained = next((line for line in reversed(lines) if b'"train/loss"' in line), b"")
    last = _values(lines[-1] if lines else b"")
    step, epoch = last.get("step"), last.get("epoch")
    per_epoch = step / epoch if isinstance(step, int) and isinstance(epoch, float) and epoch > 0 else 0.0
    evaluated = [_values(line) for line in lines if b'"valid/' in line]
    values = [one for one in evaluated if one.get(monitor) is not None]
    sign = 1 if monitor == "valid/loss" else -1
    best = min(values, key=lambda one: (sign * one[monitor], _loss(one)), default={})  # as training chooses it
    return Record(
        step if isinstance(step, int) else 0,
        round(per_epoch) if per_epoch < HUGE else 0,
        best.get(monitor),
        best.get("step") or 0,
        _seconds(folder, [float(found[1]) for line in lines if (found := TIME.search(line))]),
        _values(trained).get("train/loss", 0) is not None,
    )


def _loss(values: dict[str, Any]) -> float:
    loss = values.get("valid/loss")
    return math.inf if loss is None else loss


def _values(line: bytes) -> dict[str, Any]:
    """The numbers of a record; a line that is none has none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if value is None or (type(value) in (int, float) and abs(value) < HUGE)}


def _seconds(folder: Path, times: Sequence[float]) -> float:
    """What was spent from the start of each attempt to its last record, of ascending ``times``."""
    attempts = file(folder / "environment.json", _Attempts)
    starts = []
    for attempt in [*attempts.earlier, attempts] if attempts else []:
        with suppress(ValueError):
            starts.append(datetime.strptime(attempt.started, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
    total = 0.0
    for start, end in pairwise([*starts, math.inf]):
        total += max((time for time in times if start <= time < end), default=start) - start
    return total
