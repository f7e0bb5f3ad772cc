"""What a user can put right, as opposed to what is a defect of this program; and how a name is shown."""

from __future__ import annotations


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
    """``text`` with an escape such as ``\\x1b`` for each character that does something where it should be seen: control
    characters, those that turn the direction of writing, halves of surrogate pairs. Those in ``keep`` stay as they are."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in keep else sign.encode("unicode_escape").decode("ascii") for sign in text
    )
