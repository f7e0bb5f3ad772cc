"""metrics.jsonl, the record of a run."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import RunError


class Record:
    """``metrics.jsonl``: one flat JSON object a line; a line counts once its newline is there.

    Values that are not finite are written as null: JSON has no word for them, and readers take null for missing.
    Opening it cuts off a last line that a killed process left half-written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists():
            whole = path.read_bytes().rfind(b"\n") + 1
            if whole < path.stat().st_size:
                with files.disk_errors("a record", path):
                    os.truncate(path, whole)

    def append(self, values: Mapping[str, Any]) -> None:
        """Add a line. It survives the process from then on.

        Raises UserError when the disk is full or read-only.
        """
        line = json.dumps({key: _plain(value) for key, value in values.items()}, allow_nan=False) + "\n"
        with files.disk_errors("a record", self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Drop all other records, as one act, so that a resumed run has each step once."""
        if not self.path.exists():
            return
        records = read(self.path)
        kept = [record for record in records if wanted(record)]
        if len(kept) < len(records):
            with files.disk_errors("the records", self.path):
                files.write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))


def read(path: Path) -> list[dict[str, Any]]:
    """The records in ``path``, in order, without a half-written last line.

    Raises RunError that names the line if another one is no record.
    """
    records = []
    *lines, _torn = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            raise RunError(f"{path}:{number}: not a record; delete this line to go on")
        records.append(record)
    return records


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
