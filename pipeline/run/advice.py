"""What to type next: whole commands, in the form in which this one was typed."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

TARGETS = {"prepare": "prep", "evaluate": "eval"}  # of make, where they are called otherwise


def configured(verb: str, file: str, overrides: Sequence[str] = ()) -> str:
    """The command that does ``verb`` with a configuration file and its overrides."""
    if not by_make():
        return shlex.join([*program(), verb, "--config", file, *overrides])
    words = [override for override in overrides if not override.startswith("run.dir=")]
    folders = [override.partition("=")[2] for override in overrides if override.startswith("run.dir=")]
    arguments = [*(f"RUN={folder}" for folder in folders[-1:]), *([f"ARGS={shlex.join(words)}"] if words else [])]
    return shlex.join(["make", TARGETS.get(verb, verb), f"CONFIG={file}", *arguments, *_launch()])


def of_run(verb: str, folder: Path) -> str:
    """The command that does ``verb`` with a run folder."""
    if by_make():
        return shlex.join(["make", TARGETS.get(verb, verb), f"RUN={folder}"])
    return shlex.join([*program(), verb, "--run", str(folder)])


def by_make() -> bool:
    """Whether this program was started by make, in a folder where make can start it again."""
    return "MAKELEVEL" in os.environ and Path("Makefile").exists()


def _launch() -> list[str]:
    """``LAUNCH=FILE`` and ``PROCESSES=N``, where they were typed after make."""
    return [word for word in os.environ.get("MAKEFLAGS", "").split() if word.startswith(("LAUNCH=", "PROCESSES="))]


def program() -> list[str]:
    """How this program was called: by its own name, or as a module of an interpreter, or else in a program of the user's."""
    name = Path(sys.argv[0]).name
    if Path(name).stem == "sequence-pipeline":
        return [name]
    python = Path(sys.executable)
    return [str(python.relative_to(Path.cwd())) if python.is_relative_to(Path.cwd()) else "python", "-m", "pipeline"]
