"""Which checkpoints there are, and which of them is the best and the last one: ``best.json`` and ``finished.json``.

Runs of earlier versions hold links ``best`` and ``finished`` instead.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline import files
from pipeline.run import advice

What = Literal["best", "finished"]
Step = Annotated[int, Field(ge=0, le=10**15)]


class _Mark(BaseModel):
    model_config = ConfigDict(strict=True)

    step: Step


def name_of(step: int) -> str:
    """The name of the folder of a checkpoint."""
    return f"step_{step:08d}"


def step_of(path: Path) -> int | None:
    """The step of the checkpoint that a folder of this name holds; None if it is not a name that ``name_of`` gives."""
    digits = re.fullmatch(r"step_([0-9]{8,15})", path.name)
    return int(digits[1]) if digits and name_of(int(digits[1])) == path.name else None


def all_of(folder: Path) -> list[Path]:
    """The folders of all checkpoints, whole or not, in the order of their steps."""
    if not folder.is_dir():
        return []
    found = [(step, path) for path in folder.iterdir() if (step := step_of(path)) is not None and path.is_dir()]
    return [path for _, path in sorted(found)]


def mark(folder: Path, what: What, step: int | None) -> None:
    """Say that the checkpoint of ``step`` is WHAT, as one act; None takes the mark away.

    Raises UserError if it cannot be written.
    """
    with files.disk_errors(f"which checkpoint is {what}", folder):
        if step is None:
            files.remove(folder / f"{what}.json")
        else:
            files.write_json(folder / f"{what}.json", {"step": step})
        files.remove(folder / what)  # of an earlier version
        files.fsync(folder)


def marked(folder: Path, what: What) -> int | None:
    """The step of the checkpoint that is WHAT; None if none is marked, or the mark cannot be read."""
    path = folder / f"{what}.json"
    try:
        return files.read_json(path, _Mark).step if os.path.lexists(path) else _former(folder / what)
    except (OSError, ValueError):
        return None


def outdated(folder: Path, step: int) -> str:
    """What is said where the run in ``folder`` was evaluated at ``step`` and has another best checkpoint by now; else "".

    Of a run without a valid split the newest checkpoint is the best.
    """
    there = [step_of(path) for path in all_of(folder / "checkpoints")]
    best = marked(folder / "checkpoints", "best")
    best = best if best is not None or not there else there[-1]
    if best in (None, step):
        return ""
    return f"evaluated at step {step}, and step {best} is the best now; type: {advice.of_run('evaluate', folder)}"


def _former(link: Path) -> int | None:
    """What the link of an earlier version says, or what copies make of one: the folder it leads to, or a file of its text."""
    if link.is_symlink():
        return step_of(link.readlink())
    if link.is_dir():
        return files.read_json(link / "state.json", _Mark).step
    return step_of(Path(files.read(link, 1000).decode().strip())) if link.exists() else None
