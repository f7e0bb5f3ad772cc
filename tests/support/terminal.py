"""A program on a terminal: what is typed there, and what a person sees."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[()=>\]][^\x07]?|\r|\n|\x08|\x07|[^\x00-\x1f\x7f]")


class Terminal:
    """``words`` run on a terminal of its own, of ``columns`` columns. Standard output goes into ``out`` if that is given."""

    def __init__(
        self,
        words: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        columns: int = 80,
        out: Path | None = None,
    ) -> None:
        self.columns, self.raw = columns, ""
        self._here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))

        def own() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        stdout = out.open("wb") if out else there
        self.process = subprocess.Popen(
            list(words), cwd=cwd, env=dict(env), stdin=there, stdout=stdout, stderr=there, preexec_fn=own
        )
        os.close(there)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._here)

    def type(self, text: str) -> None:
        """Type ``text``; a Ctrl-C is ``\\x03``."""
        os.write(self._here, text.encode())

    def until(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Read until ``pattern`` was written; fails with what was read if the program ends before, or takes longer."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.raw)):
            assert time.monotonic() < end and self._read(), f"{pattern} was not written: {self.raw!r}"
        return found

    def shows(self, line: str, seconds: float = 30) -> None:
        """Read until a line that ends with ``line`` is seen; fails with what is seen if that takes longer."""
        end = time.monotonic() + seconds
        while not any(shown.endswith(line) for shown in self.screen()):
            assert time.monotonic() < end and self._read(), f"{line} is not seen: {self.screen()}"

    def ended(self, seconds: float = 120) -> int:
        """Read all until the program has ended; its exit status."""
        end = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < end, self.raw
        return self.process.wait(timeout=seconds)

    def screen(self) -> list[str]:
        """The lines that are seen now, without blanks at their ends."""
        return seen(self.raw, self.columns)

    def _read(self) -> bool:
        """Whether the program may write more."""
        ready, _, _ = select.select([self._here], [], [], 0.2)
        if not ready:
            return self.process.poll() is None
        try:
            data = os.read(self._here, 65536)
        except OSError:  # the last one who had it open has closed it
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)


def seen(raw: str, columns: int = 80) -> list[str]:
    """What stands on a terminal of so many columns after ``raw`` was written to it."""
    lines, row, column = [[" "] * columns], 0, 0
    for match in SEQUENCE.finditer(raw):
        text, number = match[0], int(match[1]) if (match[1] or "").isdigit() else 0
        if text == "\r":
            column = 0
        elif text == "\x08":
            column = max(0, column - 1)
        elif text == "\n" or match[2] == "B":
            row += number or 1
        elif match[2] == "A":
            row = max(0, row - (number or 1))
        elif match[2] == "K":
            lines[row][0 if number == 2 else column :] = [" "] * (columns if number == 2 else columns - column)
        elif len(text) == 1 and text >= " ":
            if column == columns:
                row, column = row + 1, 0
            while row >= len(lines):
                lines.append([" "] * columns)
            lines[row][column] = text
            column += 1
        while row >= len(lines):
            lines.append([" "] * columns)
    return ["".join(line).rstrip() for line in lines]
