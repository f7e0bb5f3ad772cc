"""Steps written as ``(time,value)`` in a line of a .ts file: numbers or dates, each with its value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipeline.data.readers import cells
from pipeline.data.series import Array, Series, Steps, place
from pipeline.errors import DataError, quoted

TOKEN = re.compile(r"\([^()]*+\)|:|[^:()]++|[()]")
STEP = re.compile(r"\(([^()]*+)\)")


@dataclass
class Stamps:
    """The times of the steps of a file's series."""

    path: Path
    waiting: list[Array] = field(default_factory=list)  # the times (T) of each series that is not handed on yet
    kind: str = ""  # of the times of the file: "M" for dates, "f" for numbers

    def parts(self, text: str) -> list[str]:
        """A line cut at the colons that stand in no parentheses."""
        parts = [""]
        for token in TOKEN.findall(text):
            if token == ":":
                parts.append("")
            else:
                parts[-1] += token
        return parts

    def channels(self, line: int, parts: list[str]) -> list[str]:
        """The values of each channel, in the order of their times, as they stand where there are no times.

        Raises DataError for what is no (time,value), times that are the same, and channels of different times.
        """
        first: Array | None = None
        made: list[str] = []
        for number, part in enumerate(parts):
            times, values = self._steps(line, number, part)
            order = np.argsort(times, kind="stable")
            times = times[order]
            if (same := times[1:] == times[:-1]).any():
                problem = f"has the time {times[same.argmax()]} twice; leave out one of the two"
                raise self._fault(line, number, problem)
            if first is not None and not np.array_equal(first, times):
                raise self._fault(line, number, "has other times than channel 0; give all channels of a series the same")
            first = times
            made.append(",".join(values[step] for step in order.tolist()))
        if first is not None:
            self.waiting.append(first)
        return made

    def added(self, block: Series) -> Series:
        """A block with the times of its steps, which are the next that are not handed on."""
        times = np.concatenate(self.waiting[: len(block)])
        del self.waiting[: len(block)]
        return replace(block, times=times[block.offsets[:-1]], ends=times[block.offsets[1:] - 1], steps=Steps(times))

    def _steps(self, line: int, number: int, part: str) -> tuple[Array, list[str]]:
        steps = STEP.findall(part)
        between = "".join(STEP.sub("", part).split())
        if not steps or between != "," * (len(steps) - 1):
            raise self._fault(line, number, f"{quoted(part.strip(), 40)} is not made of (time,value),(time,value) ...")
        cut = [step.rpartition(",") for step in steps]
        if wrong := next((step for step, (_, comma, _) in zip(steps, cut, strict=True) if not comma), None):
            raise self._fault(line, number, f"({wrong[:40]}) is no (time,value)")
        return self._times(line, number, [time.strip() for time, _, _ in cut]), [value.strip() for _, _, value in cut]

    def _times(self, line: int, number: int, texts: list[str]) -> Array:
        dates = self.kind == "M" if self.kind else not cells.is_number(texts[0])
        self.kind = "M" if dates else "f"
        made: list[object] = []
        for text in texts:
            try:
                if not dates and not cells.is_number(text):
                    raise ValueError(text)
                made.append(_date(text) if dates else float(text))
            except ValueError:
                problem = f"{quoted(text, 40)} is no time, or none like those before it; write all as numbers, or all as dates"
                raise self._fault(line, number, problem) from None
        return np.array(made, "datetime64[us]" if dates else np.float64)

    def _fault(self, line: int, channel: int, problem: str) -> DataError:
        return cells.fault(self.path, f"{place('line', line)}, {place('channel', channel)}", problem)


def _date(text: str) -> datetime:
    """A date in ISO's form; with an offset it is brought to UTC."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
