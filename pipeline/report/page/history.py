"""environment.json and the files of a run -> attempts, phases, how the export was compared."""

from __future__ import annotations

import calendar
import re
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipeline import files
from pipeline.errors import RunError
from pipeline.report.page.shown import size, span
from pipeline.run import record

CARD = 2**20  # bytes of a model card
FORM = "%Y-%m-%dT%H:%M:%SZ"
COMPARED = re.compile(r"^\| (model\.\w+) \| (\S{1,40}) \| ([0-9]{1,12}) \|$", re.MULTILINE)  # rows of the model card


class _Attempt(BaseModel):
    model_config = ConfigDict(extra="ignore")

    started: str = ""
    processes: int | None = Field(None, ge=0, le=2**32)
    version: str | None = None
    git_commit: str | None = None
    git_changes: bool | None = None
    host: str | None = None
    platform: str | None = None
    cpu: str | None = None
    gpus: list[str] = []
    python: str | None = None
    packages: dict[str, str] = {}


class _Environment(_Attempt):
    earlier: list[_Attempt] = []


def attempts(folder: Path) -> list[dict[str, Any]]:
    """What environment.json says of each attempt at the training, the first one first. Raises RunError if it is damaged."""
    path = folder / "environment.json"
    try:
        found = files.read_json(path, _Environment)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from None
    return [one.model_dump(exclude_unset=True, exclude={"earlier"}) for one in (*found.earlier, found)]


def environment(tries: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Where the last attempt ran, as names and values."""
    last = tries[-1] if tries else {}
    commit = last.get("git_commit")
    changes = " and changes that were not committed" if last.get("git_changes") else ""
    gpus = last.get("gpus") or []
    rows = [
        ("version", last.get("version")),
        ("commit", f"{commit}{changes}" if commit else None),
        ("python", last.get("python")),
        *(last.get("packages") or {}).items(),
        ("processor", last.get("cpu")),
        ("GPUs", ", ".join(f"{gpus.count(name)} × {name}" for name in dict.fromkeys(gpus)) or "none"),
        ("processes", last.get("processes")),
        ("system", last.get("platform")),
        ("host", last.get("host")),
    ]
    return [(str(name), str(value)) for name, value in rows if value is not None] if last else []


def trained(folder: Path, tries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each attempt: when it began, how long it recorded, its first and last recorded step, and what it ran on."""
    starts = [_seconds(one.get("started")) for one in tries]
    rows = [
        {
            "started": one.get("started", "unknown"),
            "processes": one.get("processes"),
            "host": one.get("host"),
            "version": one.get("version"),
            "first": None,
            "last": None,
            "seconds": None,
        }
        for one in tries
    ]
    if rows and (folder / "metrics.jsonl").exists():
        for line in record.each(folder / "metrics.jsonl"):
            at = line.get("time") or 0
            owner = max((number for number, start in enumerate(starts) if start <= at + 1), default=0)
            row = rows[owner]
            row["first"] = line["step"] if row["first"] is None else row["first"]
            row["last"], row["seconds"] = line["step"], max(0.0, at - starts[owner])
    for row in rows:
        row["took"] = "–" if row["seconds"] is None else span(row["seconds"])
    return rows


def phases(folder: Path, prepared: Path | None, rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """When each stage ended, as far as the files tell, and how long the training took."""
    took = sum(row["seconds"] or 0 for row in rows)
    places = [
        ("prepared", prepared / "manifest.json" if prepared else None, ""),
        ("trained", folder / "metrics.jsonl", span(took) if took else ""),
        ("evaluated", folder / "eval" / "metrics.json", ""),
        ("exported", folder / "export" / "config.json", ""),
    ]
    return [{"name": name, "ended": _time(path), "took": how} for name, path, how in places if path and path.is_file()]


def hangs(folder: Path) -> int:
    """How many processes wrote down where they stood when the run hung."""
    return len(list((folder / "stacks").glob("*.txt")))


def exported(folder: Path) -> list[dict[str, Any]]:
    """The files of the export and how they were compared with the trained model: largest difference, other predictions."""
    try:
        found = COMPARED.findall(files.read(folder / "export" / "README.md", CARD).decode("utf-8", "replace"))
    except (OSError, ValueError):
        return []
    return [
        {"file": file, "difference": difference, "others": int(others), "size": size(path.stat().st_size)}
        for file, difference, others in found
        if (path := folder / "export" / file).is_file()
    ]


def _seconds(started: Any) -> float:
    try:
        return float(calendar.timegm(time.strptime(str(started), FORM)))
    except ValueError:
        return 0.0


def _time(path: Path) -> str:
    return time.strftime(FORM, time.gmtime(path.stat().st_mtime))
