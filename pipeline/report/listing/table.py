"""Runs -> lines as wide as the terminal: the columns that matter least go first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import short
from pipeline.report.listing import differing
from pipeline.report.listing.facts import Run
from pipeline.report.listing.found import by_number

Sort = Literal["changed", "valid", "test", "name", "time", "size"]
GAP = 2
NAME = 32  # letters of a name; of a longer one the end says more
LEAST = 24  # letters of what differs, beside the rest; else it goes below
LATER = ("changed", "size", "time", "steps", "valid")  # columns that a narrow terminal loses, in this order


def ordered(runs: Sequence[Run], by: Sort) -> list[Run]:
    """The runs with those that matter most first, each followed by its folds, seeds and trials."""

    def worse(value: float | None, less: bool = False) -> tuple[bool, float]:
        return value is None, 0.0 if value is None else value if less else -value

    keys: dict[Sort, Callable[[Run], Any]] = {
        "changed": lambda run: (run.state != "running", -run.changed),
        "valid": lambda run: (differing.task_of(run), run.monitor, worse(run.record.value, run.monitor == "valid/loss")),
        "test": lambda run: (differing.task_of(run), worse(run.accuracy)),
        "name": lambda run: by_number(str(run.folder)),
        "time": lambda run: -run.record.seconds,
        "size": lambda run: -run.size,
    }
    inner: dict[Path, list[Run]] = {}
    for run in runs:
        if run.above:
            inner.setdefault(run.above, []).append(run)
    first = sorted((run for run in runs if run.above is None), key=keys[by])
    return [one for run in first for one in (run, *inner.get(run.folder, ()))]


def lines(runs: Sequence[Run], root: Path, width: int | None) -> list[str]:
    """A head and a line per run, none longer than ``width`` if that is not None."""
    differences = differing.of_each(runs)
    rows = [_row(run, root) for run in runs]
    one_monitor = {run.monitor for run in runs if run.record.value is not None}
    heads = {name: name for name in ("run", "state", "steps", "valid", "test", "time", "size", "changed")}
    if len(one_monitor) == 1:
        heads["valid"] = one_monitor.pop().removeprefix("valid/")
        rows = [row | {"valid": row["valid"].partition(" ")[0]} for row in rows]
        heads["valid"] = f"valid {heads['valid']}"
    columns = [name for name in heads if name in ("run", "state") or any(row[name] for row in rows)]
    widths = {name: max(len(heads[name]), *(len(row[name]) for row in rows)) for name in columns}

    def total() -> int:
        return sum(widths[name] + GAP for name in columns)

    for name in LATER:
        if width is not None and total() > width and name in columns:
            columns.remove(name)
    beside = width is None or width - total() >= LEAST or not any(differences.values())
    said = [" " * (2 * bool(run.above)) + differing.text(differences.get(run.folder, {})) for run in runs]
    found = []
    for row, other in zip([heads, *rows], ["differs in" if any(differences.values()) and beside else "", *said], strict=True):
        line = (" " * GAP).join(_cell(row[name], widths[name], name) for name in columns)
        line = f"{line}{' ' * GAP}{other}" if beside else line
        found += [_cut(line.rstrip(), width)] + ([] if beside or not other.strip() else [_cut(f"    {other}", width)])
    return found


def _row(run: Run, root: Path) -> dict[str, str]:
    record, test = run.record, run.accuracy
    steps = f"{run.step:,}" + (f"/{run.steps:,}" if run.steps else "")
    of_all = run.repeats.accuracy.std if run.repeats and run.repeats.split == "test" and not run.test else None
    many = f" ({run.parts} runs)" if run.parts else ""
    return {
        "run": "  " * bool(run.above) + name_of(run, root) + many,
        "state": run.state,
        "steps": steps if run.step else "",
        "valid": "" if record.value is None else f"{record.value:.4f} {run.monitor.removeprefix('valid/')}",
        "test": "" if test is None else f"{test:.4f}" + ("" if of_all is None else f" ±{of_all:.4f}"),
        "time": seconds(record.seconds) if record.seconds else "",
        "size": size(run.size),
        "changed": ago(run.changed),
    }


def name_of(run: Run, root: Path) -> str:
    """A run by its folder below ``root``, on one line."""
    inside = run.folder.relative_to(root) if run.folder.is_relative_to(root) and run.folder != root else run.folder
    name = short(str(inside), 10**6)
    return name if len(name) <= NAME else f"...{name[3 - NAME :]}"


def _cell(text: str, width: int, name: str) -> str:
    return text.ljust(width) if name in ("run", "state") else text.rjust(width)


def _cut(line: str, width: int | None) -> str:
    return line if width is None or len(line) <= width else f"{line[: max(0, width - 3)]}..."[:width]


def size(count: float) -> str:
    """Bytes in three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 9.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def seconds(count: float) -> str:
    """A time in its two largest units."""
    whole = round(count)
    for unit, name, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit} {name}" + (f" {rest} {smaller}" if rest else "")
    return f"{count:.1f} s" if count < 10 else f"{whole} s"


def ago(when: float) -> str:
    """How long ago something was."""
    passed = time.time() - when
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if passed >= unit:
            return f"{passed // unit:.0f} {name} ago"
    return "now"
