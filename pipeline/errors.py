"""What a user can put right, as opposed to what is a defect of this program; and how a name is shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

# What a terminal, a table or a page obeys and nobody sees: control characters but for the tab, ends of lines, changes of the
# direction of writing; and halves of characters, which no file can hold.
HIDDEN = re.compile("[\\x00-\\x08\\x0a-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
STDOUT = 1  # the number of the standard output, whatever wraps it


class UserError(ValueError):
    """The user's input is wrong: shown as one message without a traceback, exit status 2.

    The message says what is wrong, where (file, line, key or row), and what to type next.
    """


class ConfigError(UserError):
    """A configuration file or a ``section.key=value`` override is wrong."""


class DataError(UserError):
    """A data file is missing, damaged or not what the configuration says."""


class RunError(UserError):
    """A run folder is missing, damaged, in use, or belongs to another configuration."""


class ExportError(UserError):
    """An exported file is missing, damaged, or does not compute what the model computes."""


@contextmanager
def needs(what: str, *packages: str) -> Iterator[None]:
    """Raise UserError if this block imports one of ``packages``, which an installation may lack, and it is not there.

    ``what``: the key, or whatever else wants it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in packages:
            raise
        raise UserError(f"{what} needs {error.name}, which is not installed; type: pip install {' '.join(packages)}") from None


class TrainingError(RuntimeError):
    """Training cannot go on, and no input of the user is to blame: one message."""

    status = 1  # of the exit; 3 for what will come again


class NonFiniteError(TrainingError):
    """The loss or its gradient is not finite; no update was made with it."""

    status = 3


class LostContactError(TrainingError):
    """Another process died, hangs or cannot be reached."""


class CorruptionError(TrainingError):
    """The weights of the processes, which must be the same, are not."""

    status = 3


class Stopped(Exception):
    """A signal asked the run to stop; it was saved first. Exit status 143."""


def printable(text: str, keep: str = "") -> str:
    """``text`` with an escape such as ``\\x1b`` for each of HIDDEN that is not in ``keep``."""
    return HIDDEN.sub(lambda found: found[0] if found[0] in keep else repr(found[0])[1:-1], text)


@contextmanager
def written(stream: Any) -> Iterator[None]:
    """A block that writes to a stream whose reader may leave before the end, as head does: the work goes on.

    Raises UserError if the standard output cannot be written for another reason, such as a full disk. Nothing more is written
    to a stream that failed.
    """
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream.fileno() == STDOUT and not isinstance(error, BrokenPipeError):
            raise UserError(f"the standard output cannot be written: {error.strerror}; send it to another place") from None


class Printable:
    """A stream of text that shows what would act on a terminal instead: names come from files that somebody else wrote.

    ``keep``: characters that are passed on. What the encoding of ``stream`` lacks is an escape too. Writing it is
    ``written``.
    """

    def __init__(self, stream: Any, keep: str) -> None:
        self._stream, self._keep = stream, keep
        stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write ``text``, and return its length."""
        if text != "":  # with which click tries what a stream takes, and hides the error of a full disk
            with written(self._stream):
                self._stream.write(printable(text, self._keep))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write ``lines`` as they are, one after the other."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Pass on what waits to be written."""
        with written(self._stream):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def short(word: str, most: int = 40) -> str:
    """A word as a message shows it: the beginning of a long one, with \\x1b and the like for what is hidden."""
    cut = word if len(word) <= most else word[: most - 3] + "..."
    return printable(cut)


def quoted(word: str, most: int = 40) -> str:
    """A word as a message shows it in the middle of a sentence."""
    return f"'{short(word, most)}'"


def some(words: Iterable[str], most: int = 20) -> str:
    """Words for a message, the first ones if they are many."""
    shown = list(words)
    return ", ".join(map(short, shown[:most])) + (", ..." if len(shown) > most else "")
