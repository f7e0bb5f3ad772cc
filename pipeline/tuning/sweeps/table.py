"""What the trials of a sweep gave: as rows, as CSV, as a table for people, and which is the best."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.errors import printable, short
from pipeline.tuning.sweeps.shape import Scalar

Became = Literal["finished", "stopped early", "failed", "unfinished"]
SHOWN = 20  # trials, at most, in the table for people


@dataclass(frozen=True)
class Row:
    """One trial."""

    number: int
    became: Became
    metric: float | None  # the mean over its seeds, of the best evaluation of each; of one stopped early, the best so far
    values: Mapping[str, Scalar]  # by key
    seconds: float
    each: Sequence[float] = field(default_factory=tuple)  # the metric of each seed
    reason: str = ""  # why it failed


def best(rows: Sequence[Row], maximized: bool) -> Row | None:
    """The best of the finished trials, the first of equals; None if there is none."""
    found = ordered([row for row in rows if row.became == "finished"], maximized)
    return found[0] if found else None


def ordered(rows: Sequence[Row], maximized: bool) -> list[Row]:
    """From the best to the worst; those that were stopped follow those that were not, and those without a value are last."""

    def place(row: Row) -> tuple[bool, bool, float]:
        value = row.metric if row.metric is not None else 0.0
        return row.became != "finished", row.metric is None, -value if maximized else value

    return sorted(rows, key=place)


def as_csv(rows: Sequence[Row], metric: str) -> str:
    """All trials by their numbers."""
    text = io.StringIO()
    keys = list(dict.fromkeys(key for row in rows for key in row.values))
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["trial", "state", metric, *keys, "seconds", "seeds", "reason"])
    for row in rows:
        found = [row.values.get(key, "") for key in keys]
        value = "" if row.metric is None else row.metric
        each = " ".join(f"{one:.6g}" for one in row.each)
        lines.writerow([row.number, row.became, value, *found, round(row.seconds, 1), each, row.reason])
    return text.getvalue()


def as_text(rows: Sequence[Row], metric: str, maximized: bool) -> str:
    """The first of them, from the best to the worst, in columns."""
    keys = list(dict.fromkeys(key for row in rows for key in row.values))
    lines = [["trial", metric, *keys, "seconds", ""]]
    for row in ordered(rows, maximized)[:SHOWN]:
        value = "-" if row.metric is None else f"{row.metric:.4f}"
        found = [shown(row.values[key]) if key in row.values else "-" for key in keys]
        became = "" if row.became == "finished" else f"{row.became}{': ' * bool(row.reason)}{row.reason}"
        lines.append([str(row.number), value, *found, f"{row.seconds:.0f}", short(printable(became))])
    left = len(rows) - SHOWN
    return "\n".join([*_aligned(lines), *([f"and {left} more"] if left > 0 else [])])


def shown(value: Scalar) -> str:
    """A value as one would type it, with four digits of a number that has more."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))


def _aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
