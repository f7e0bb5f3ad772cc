"""Each line of metrics.jsonl as one row of wandb, whatever happens in between.

The line decides the number of its row, so that an attempt that goes on, or goes back, knows which rows are there: wandb has
those up to a number, and none after it.
"""

from __future__ import annotations

import glob
import json
import math
import os
import re
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline import files

BETTER = {  # what the summary keeps of each, besides the last value
    "valid/loss": "min",
    "valid/accuracy": "max",
    "valid/balanced_accuracy": "max",
    "valid/macro_f1": "max",
    "test/watched_accuracy": "max",
}
BLOCK = 2**15  # bytes of a block of wandb's transaction log, which has the format of LevelDB's
HEAD = 7  # bytes before the first record of the log, and before each record: checksum, length, kind


class Lines:
    """The lines of metrics.jsonl, each once, with its number from 0."""

    def __init__(self, path: Path) -> None:
        self.path, self.place, self.number = path, 0, 0

    def new(self) -> Iterator[tuple[int, bytes]]:
        """Those that are whole and were not given yet."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.place)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.place, self.number = self.place + len(line), self.number + 1
                yield self.number - 1, line


class Best:
    """The best and the last value of each metric of ``BETTER``, and the step at which ``monitor`` was best."""

    def __init__(self, monitor: str) -> None:
        self.monitor, self.found = monitor, dict[str, dict[str, float]]()
        self.step: int | None = None

    def after(self, row: dict[str, Any]) -> dict[str, Any]:
        """What a row changes of the summary."""
        changed: dict[str, Any] = {}
        for name, word in BETTER.items():
            value = row.get(name)
            if value is None or math.isnan(value):
                continue
            before = self.found.get(name, {}).get(word, math.nan)
            better = not (before <= value if word == "min" else before >= value)
            self.found[name] = {word: value if better else before, "last": value}
            changed[name] = self.found[name]
            if better and name == self.monitor:
                self.step = row["step"]
        return changed | ({"best/step": self.step} if changed and self.step is not None else {})


def is_summarised(line: bytes) -> bool:
    """Whether a line may hold one of ``BETTER``."""
    return b'"valid/' in line or b'"test/' in line


def number_of(line: int, evaluations: Sequence[int]) -> int:
    """The number of a line's row: each evaluation that came before it has a row too."""
    return line + bisect_right(sorted(evaluations), line)


def values_of(line: bytes) -> dict[str, Any]:
    """The values of a line as wandb takes them: null, which stands for what is not finite, as NaN; the time as its own."""
    row = {name: math.nan if value is None else value for name, value in json.loads(line).items()}
    return row | ({"_timestamp": row.pop("time")} if "time" in row else {})


def _logs_of(folder: Path, run: str) -> list[Path]:
    """The transaction logs of a run."""
    return list(folder.glob(f"*run-*/run-{glob.escape(run)}.wandb")) if Path(run).name == run else []


def _offline_logs_of(folder: Path, run: str) -> list[Path]:
    return [path for path in _logs_of(folder, run) if re.fullmatch(rf"offline-run-.*-{re.escape(run)}", path.parent.name)]


def recorded(folder: Path, run: str) -> int:
    """How many rows of a run wandb's own files hold already, in a folder of its runs: the number after the last one."""
    found = [_last(path) for path in _logs_of(folder, run) if not path.parent.is_symlink()]
    return 1 + max(found, default=-1)


def mend(folder: Path, run: str) -> None:
    """Remove offline attempts at a run that were killed before they wrote which it is, and cut others behind their last whole
    record: for one of either, ``wandb sync`` leaves out attempts that came after it."""
    for path in _offline_logs_of(folder, run):
        if not any(_kind(record) == "run" for record in _records_of(path)):
            files.remove(path.parent)
        elif (end := _end(path)) < path.stat().st_size:
            os.truncate(path, end)


def mark_sent(folder: Path, run: str, evaluations: Sequence[int]) -> None:
    """Have ``wandb sync`` leave out the offline attempts at a run whose lines were sent since; evaluations were not."""
    own = {line + place for place, line in enumerate(sorted(evaluations))}
    for path in _offline_logs_of(folder, run):
        if _last(path) not in {-1, *own}:
            path.with_suffix(".wandb.synced").touch()


def _records_of(path: Path) -> Iterator[bytes]:
    """The records that begin in the first block of a transaction log."""
    with path.open("rb") as file:
        yield from _records(file, 0, file.seek(0, 2))


def _end(path: Path) -> int:
    """Where the last whole record of a transaction log ends."""
    with path.open("rb") as file:
        size, at, end = file.seek(0, 2), HEAD, HEAD
        while at + HEAD <= size:
            left = BLOCK - at % BLOCK
            if left < HEAD:
                at += left
                continue
            file.seek(at)
            _, length, kind = struct.unpack("<IHB", file.read(HEAD))
            at += HEAD + length
            if at > size or not 1 <= kind <= 4:
                break
            end = at if kind in (1, 4) else end  # whole, last
    return end


def _last(path: Path) -> int:
    """The number of the last row in a transaction log; -1 for none. What comes after damage does not count."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        for block in reversed(range(-(-size // BLOCK))):
            found = -1
            for record in _records(file, block, size):
                found = max(found, _row_of(record))
            if found >= 0:
                return found
    return -1


def _records(file: Any, block: int, size: int) -> Iterator[bytes]:
    """The whole records that begin in a block."""
    at, parts = block * BLOCK or HEAD, list[bytes]()
    while at + HEAD <= size and (parts or at < (block + 1) * BLOCK):
        left = BLOCK - at % BLOCK
        if left < HEAD:
            at += left
            continue
        file.seek(at)
        _, length, kind = struct.unpack("<IHB", file.read(HEAD))
        content = file.read(length)
        if len(content) < length or not 1 <= kind <= 4:
            return
        at += HEAD + length
        if kind in (1, 2):  # whole, first
            parts = [content]
        elif parts:  # middle, last
            parts.append(content)
        if kind in (1, 4) and parts:
            yield b"".join(parts)
            parts = []


def _row_of(record: bytes) -> int:
    """The number of the row that a record is; -1 for one of another kind."""
    found = _parsed(record)
    return int(found.history.step.num) if found.WhichOneof("record_type") == "history" else -1


def _kind(record: bytes) -> str:
    return str(_parsed(record).WhichOneof("record_type"))


def _parsed(record: bytes) -> Any:
    """A record; an empty one for what is none."""
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    try:
        return Record.FromString(record)
    except DecodeError:
        return Record()
