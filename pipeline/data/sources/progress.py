"""How far the work is, and the time left: one line on a terminal, by the first process; nothing elsewhere.

The line comes when the work has taken a second, and goes with it. A thread of its own draws it, so that who works only counts.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tqdm import tqdm

from pipeline.errors import short

APPEARS, TICK = 1.0, 0.25  # seconds before the line is seen, and between two drawings of it
FULL = "{desc}: {percentage:.0f}%|{bar}| {n_fmt}/{total_fmt}{unit}, {remaining} left"
T = TypeVar("T", bound=Sized)


class Bar:
    """``what`` is done, of ``total`` of ``unit`` (" series", "B"; None: nobody knows). A bar within another one is not seen.

    ``now`` says how much is done, where nobody counts with ``add``. Lines that are printed meanwhile stand above the bar.
    """

    _seen: Bar | None = None  # a terminal has one last line

    def __init__(self, what: str, total: int | None = None, unit: str = "", now: Callable[[], int] | None = None) -> None:
        self.what, self.total, self.unit, self.done = what, total, unit, 0
        self._now, self._over, self._lock = now, threading.Event(), threading.RLock()
        self._width, self._most = 0, 0  # of what is drawn; the most that was done in this pass

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        if Bar._seen or not is_wanted():
            return self
        Bar._seen = self
        self._out, self._err = sys.stdout, sys.stderr
        self._above = [_Above(self._out, self), _Above(self._err, self)]
        if self._out.isatty():
            sys.stdout = self._above[0]
        sys.stderr = self._above[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if Bar._seen is not self:
            return
        with suppress(OSError, ValueError):
            self.draw()  # the end of what was seen
        self._over.set()
        self._thread.join()
        self.clear()
        sys.stdout, sys.stderr = self._out, self._err
        for stream in self._above:
            stream.end()
        Bar._seen = None

    def add(self, number: int) -> None:
        """So much more is done."""
        self.done += number

    def over(self, blocks: Iterable[T]) -> Iterator[T]:
        """Hand on ``blocks``, and count the length of each once it was used."""
        for block in blocks:
            yield block
            self.add(len(block))

    def clear(self) -> None:
        """Take the line away."""
        with self._lock:
            if self._width:
                self._err.write(f"\r{' ' * (self._width + 2)}\r")  # and the ^C behind it
                self._err.flush()
                self._width = 0

    def draw(self) -> None:
        """Draw the line, if it is time for it."""
        elapsed = time.monotonic() - self._began
        with self._lock:
            if self._over.is_set() or (not self._width and elapsed < APPEARS):
                return
            columns = max(1, os.get_terminal_size(self._err.fileno()).columns - 4)  # room for the ^C of a terminal
            text = self._text(columns)[:columns]
            self._err.write(f"\r{text}{' ' * (self._width - len(text))}")
            self._err.flush()
            self._width = max(self._width, len(text))

    def _text(self, columns: int) -> str:
        done = self._now() if self._now else self.done
        if done < self._most:  # another pass
            self._began = time.monotonic() - APPEARS
        self._most = done
        elapsed = time.monotonic() - self._began
        known = bool(self.total) and done > 0
        form = FULL if known else "{desc}: {n_fmt}{unit}, {elapsed}" if done else "{desc}: {elapsed}"
        done = min(done, self.total) if self.total else done
        scaled, narrow = self.unit == "B", not getattr(self._err, "encoding", "").lower().startswith("utf")
        return tqdm.format_meter(
            done,
            self.total if known else None,  # type: ignore[arg-type]  # as tqdm takes it
            elapsed,
            ncols=columns,
            prefix=self.what,
            ascii=narrow,
            unit=self.unit,
            unit_scale=scaled,
            bar_format=form,
        )

    def _run(self) -> None:
        while not self._over.wait(TICK):
            with suppress(OSError, ValueError):  # a terminal that is gone
                self.draw()


class _Above:
    """A stream whose lines are written above a bar."""

    def __init__(self, under: Any, bar: Bar) -> None:
        self._under, self._bar, self._line = under, bar, ""

    def write(self, text: str) -> int:
        """Write the whole lines of ``text`` and keep the rest; its length."""
        lines, newline, self._line = (self._line + text).rpartition("\n")
        if newline:
            with self._bar._lock:
                drawn = self._bar._width
                self._bar.clear()
                self._under.write(lines + newline)
                self._under.flush()
                if drawn:
                    self._bar._width = 1
                    self._bar.draw()
        return len(text)

    def end(self) -> None:
        """Write what is left of a line."""
        if self._line:
            self._under.write(self._line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._under, name)


def reading(path: Path, what: str = "reading", unit: str = "") -> Bar:
    """A bar of how much of the file ``path``, which somebody reads meanwhile, was read in this pass. Of a folder it shows
    what is counted, in ``unit``."""
    name = f"{what} {short(path.name)}"
    try:
        size, place = path.stat().st_size if path.is_file() else 0, str(path.resolve())
    except OSError:  # whoever reads it says so
        size = 0
    return Bar(name, size, "B", lambda: max(_positions(place), default=0)) if size else Bar(name, None, unit)


def is_wanted() -> bool:
    """Whether there is a terminal that this process may draw on."""
    first = os.environ.get("RANK", "0") == "0"
    return first and bool(sys.stderr) and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _positions(name: str) -> Iterator[int]:
    """Where this process stands in each of its open files of this name; none where the system does not tell."""
    with suppress(OSError):
        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError, ValueError):
                if str(link.readlink()) == name:
                    yield int(Path(f"/proc/self/fdinfo/{link.name}").read_text().split()[1])
