"""A folder -> the runs in it, at any depth that this program makes, and what lies there and is no run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

DEEPEST = 4  # runs/NAME-sweep-ID/TRIAL/seed-1 is the deepest that this program makes; links may lead around in circles
INNER = ("checkpoints", "eval", "export", "stacks", "wandb")  # of a run, in which no other run lies
SWEEP = "sweep.json"  # what makes a folder that of a sweep


@dataclass(frozen=True)
class Found:
    """A run folder, or something else; ``above``: the run that it is a fold, a seed or a trial of."""

    folder: Path
    above: Path | None = None
    problem: str = ""  # why it is no run


def within(root: Path) -> Iterator[Found]:
    """The runs in ``root``, which may be one itself, in the order of their names; a run comes before those in it.

    Raises OSError if ``root`` cannot be read.
    """
    if (root / "config.yaml").is_file():
        yield from _run(root, None, 0)
        return
    for folder in _folders(root):
        yield from _any(folder, None, 1)


def _any(folder: Path, above: Path | None, depth: int) -> Iterator[Found]:
    """``folder``, if it is a run, and those in it; where there is none, why."""
    try:
        if (folder / "config.yaml").is_file():
            yield from _run(folder, above, depth)
            return
        inside = _folders(folder) if depth < DEEPEST else []
    except OSError as error:
        yield Found(folder, above, f"cannot be read: {error.strerror}")
        return
    runs = [one for inner in inside for one in _any(inner, above, depth + 1)]
    if any(not one.problem for one in runs):
        yield from runs
    elif above is None:
        lost = any(inner.name == "checkpoints" for inner in (folder.iterdir() if depth < DEEPEST else ()))
        yield Found(folder, None, "its config.yaml is missing" if lost else "no run")


def _run(folder: Path, above: Path | None, depth: int) -> Iterator[Found]:
    yield Found(folder, above)
    if depth < DEEPEST:
        for inner in _folders(folder):
            yield from (one for one in _any(inner, above or folder, depth + 1) if not one.problem)


def _folders(folder: Path) -> list[Path]:
    """The folders in which runs may lie; seed-10 comes after seed-9."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name[0] != "." and entry.name not in INNER and _is_folder(entry)]
    if (folder / SWEEP).is_file():  # beside its trials lie logs and locks of its own
        names = [name for name in names if name == "trials"]
    return [folder / name for name in sorted(names, key=by_number)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # of a link that leads to itself
        return entry.is_dir()
    return False


def by_number(name: str) -> list[tuple[int, str]]:
    """A key that sorts names as people count: the numbers in them by their size."""
    parts: list[str] = []
    for letter in name:
        if parts and letter.isdigit() == parts[-1][-1].isdigit():
            parts[-1] += letter
        else:
            parts.append(letter)
    return [(int(part), "") if part.isdecimal() and part.isascii() and len(part) < 20 else (-1, part) for part in parts]
