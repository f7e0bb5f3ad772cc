"""What goes to the standard output: all that is said, the answer alone (``--quiet``), or one JSON document (``--json``).

Warnings are seen in each case: where the standard output is not for them, they go to the standard error.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import Printable, UserError

if TYPE_CHECKING:
    from pipeline.stages.terminal.answer import Answer  # pydantic takes a while

NOT_PLAIN = re.compile("[^ -~\n]+")  # what a terminal may act on, or an encoding lack; in JSON all of it has an escape


class Messages(io.TextIOBase):
    """The standard output of what is no result: it goes to the standard error, if ``quiet`` only lines that are warnings."""

    def __init__(self, results: Any, quiet: bool, as_json: bool) -> None:
        self.results, self.quiet, self.as_json = results, quiet, as_json
        self._line = ""

    def write(self, text: str) -> int:
        """Take ``text``, and return its length."""
        if self.quiet:
            *lines, self._line = (self._line + text).split("\n")
            text = "".join(f"{line}\n" for line in lines if line.startswith("warning:"))
        sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Nothing waits here but the beginning of a line."""
        sys.stderr.flush()


class _NoTerminal:
    """A stream that draws no bars, as it says to be no terminal."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def isatty(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def shown(quiet: bool, as_json: bool) -> Iterator[None]:
    """While this lasts, ``say`` and ``answer`` are the only ways to the standard output, if one of the two is wanted."""
    if not (quiet or as_json):
        yield
        return
    dull: Any = _NoTerminal(sys.stderr) if quiet else sys.stderr
    with redirect_stdout(Messages(sys.stdout, quiet, as_json)), redirect_stderr(dull):
        yield


def say(line: str) -> None:
    """Print a line that answers the command, and is seen with ``--quiet`` too; with ``--json`` it is a message."""
    out = sys.stdout
    print(line, file=out.results if isinstance(out, Messages) and not out.as_json else out)


def note(line: str) -> None:
    """Print a line that must be seen: with ``--quiet`` on the standard error."""
    print(line, file=sys.stderr if aside() else sys.stdout)


def results() -> Any:
    """The standard output itself, for what a command is there to print."""
    return sys.stdout.results if isinstance(sys.stdout, Messages) else sys.stdout


def aside() -> bool:
    """Whether what is printed does not go to the standard output."""
    return isinstance(sys.stdout, Messages)


def wants_json() -> bool:
    """Whether the one thing on the standard output is to be a JSON document."""
    return isinstance(sys.stdout, Messages) and sys.stdout.as_json


def answer(said: Answer, predictions: Path | None = None) -> None:
    """Print the JSON document of a command, if one is wanted; ``predictions``: the file of an array that is its first key."""
    if not wants_json():
        return
    out, rest = results(), document(said.model_dump(mode="json"))
    if predictions:
        out.write('{\n  "predictions": ')
        with predictions.open(encoding="utf-8") as text:
            for line in text:
                out.write(plain(line))
        rest = "," + rest.removeprefix("{")
    print(rest, file=out, flush=True)


def refuse(message: str) -> None:
    """Print the message of an error as the JSON document, if the command line wants one."""
    if "--json" in sys.argv[1:]:
        with suppress(UserError):  # of a full disk, where there is no place for it
            print(document({"error": message}), flush=True)


def document(values: Any) -> str:
    """JSON of printable ASCII letters alone; a number that is not finite is null."""
    finite = json.loads(json.dumps(values), parse_constant=lambda _: None)
    return plain(json.dumps(finite, indent=2))


def plain(text: str) -> str:
    """JSON ``text`` with its escape for each letter that is not of printable ASCII."""

    def escapes(found: re.Match[str]) -> str:
        units = found[0].encode("utf-16-be", "surrogatepass").hex()
        return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))

    return NOT_PLAIN.sub(escapes, text)


def begin() -> None:
    """Make the standard streams those of this program: nothing acts on the terminal, and one that is closed goes nowhere."""
    for number in range(3):  # else the next file that is opened would take the number of the stream, and what is printed there
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    out, err = (stream or Path(os.devnull).open("w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    sys.stdout, sys.stderr = Printable(out, "\n"), Printable(err, "\n\r")  # a bar goes back to the line's start
