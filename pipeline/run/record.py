"""metrics.jsonl, the record of a run."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from itertools import chain, pairwise
from os import pread
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from pipeline import files
from pipeline.errors import RunError

BLOCK = 2**16  # bytes read at once from the end
LONGEST = 2**20  # bytes of a line
LARGEST, MOST = 1e100, 2**53  # of a number: beyond, it is damage
_LINE = TypeAdapter(dict[str, int | float | None], config=ConfigDict(strict=True, allow_inf_nan=False))


class Record:
    """``metrics.jsonl``: one flat JSON object a line; a line counts once its newline is there.

    Values that are not finite are written as null: JSON has no word for them, and readers take null for missing.
    Opening it cuts off a last line that a killed process left half-written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists():
            with files.disk_errors("a record", path), path.open("rb+") as file:
                file.truncate(next(_newlines(file.fileno()), -1) + 1)

    def append(self, values: Mapping[str, Any]) -> None:
        """Add a line. It survives the process from then on, and a power cut after ``sync``.

        Raises UserError when the disk is full or read-only.
        """
        line = json.dumps({key: _plain(value) for key, value in values.items()}, allow_nan=False) + "\n"
        with files.disk_errors("a record", self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def sync(self) -> None:
        """Force what was added so far to the disk. Raises UserError if that fails."""
        with files.disk_errors("the records", self.path):
            if self.path.exists():
                files.fsync(self.path)
                files.fsync(self.path.parent)

    def resume(self, step: int) -> int:
        """Cut off what a run that goes on at ``step`` records again: later steps, and the evaluation at ``step``.

        Returns the last step whose training is recorded, 0 if none is. Reads no more than what is cut off.
        """
        last = 0
        if self.path.exists():
            with files.disk_errors("the records", self.path), self.path.open("rb+") as file:
                end = file.seek(0, os.SEEK_END)
                for start, line in _backwards(file.fileno()):
                    values = parse(line)
                    if values is None:
                        raise _damage(self.path, _number(self.path, start))
                    if values["step"] > step or (values["step"] == step and "valid/loss" in values):
                        end = start
                    elif "train/loss" in values:
                        last = values["step"]
                        break
                file.truncate(end)
        return last


def read(path: Path) -> list[dict[str, Any]]:
    """The records in ``path``, in order, without a half-written last line.

    Raises RunError that names the line if another one is no record.
    """
    return list(each(path))


def each(path: Path) -> Iterator[dict[str, Any]]:
    """``read``, one record at a time: a long run has more of them than memory should hold."""
    for number, line in enumerate(_lines(path), 1):
        values = parse(line)
        if values is None:
            raise _damage(path, number)
        yield values


def parse(line: bytes) -> dict[str, Any] | None:
    """The record in a line; None if it is none."""
    try:
        values: dict[str, Any] = _LINE.validate_json(line)
    except ValueError:
        return None
    if not (isinstance(values.get("step"), int) and values["step"] >= 0):
        return None
    fits = all(abs(value) <= (MOST if isinstance(value, int) else LARGEST) for value in values.values() if value is not None)
    return values if fits else None


def _damage(path: Path, number: int) -> RunError:
    return RunError(f"{path}:{number}: not a record; delete this line to go on")


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, without the last if it has no newline; of one that is far too long, pieces, which are no records."""
    try:
        opened = files.opened(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from None
    with opened as file:
        while line := file.readline(LONGEST):
            if line.endswith(b"\n") or len(line) == LONGEST:
                yield line


def _newlines(file: int) -> Iterator[int]:
    """Where the newlines of an open file are, from the last to the first."""
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - BLOCK)
        block = pread(file, end - start, start)
        place = block.rfind(b"\n")
        while place >= 0:
            yield start + place
            place = block.rfind(b"\n", 0, place)
        end = start


def _backwards(file: int) -> Iterator[tuple[int, bytes]]:
    """Where each whole line of an open file begins and what it says, from the last one to the first."""
    for end, before in pairwise(chain(_newlines(file), [-1])):
        yield before + 1, pread(file, min(end - before - 1, LONGEST), before + 1)


def _number(path: Path, place: int) -> int:
    """The number, from 1, of the line that begins at ``place``."""
    with path.open("rb") as file:
        return 1 + sum(file.read(min(BLOCK, place - at)).count(b"\n") for at in range(0, place, BLOCK))


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
