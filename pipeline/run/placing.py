"""Which run folder is that of a configuration: the one that it names, or else runs/NAME, runs/NAME-2 and so on.

Under an agent that runs the trials of a sweep, each trial has a folder of its own instead.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

from pipeline import config, files
from pipeline.errors import RunError
from pipeline.run import checkpoints
from pipeline.run.folder import FREE, is_begun, is_free, writer

WAIT = 3.0  # seconds, far more than another process takes from the lock of a new folder to its config.yaml
SHOWN = 3  # differences that are told
TRIAL = ("WANDB_SWEEP_ID", "WANDB_RUN_ID")  # what wandb's agent tells a trial; both in the environment


@dataclass(frozen=True)
class Wanted:
    """What a run folder must be of: a configuration, and the data where it is known."""

    settings: config.Config
    data: str | None = None  # the digest of the prepared data
    batches: frozenset[int] = field(default_factory=frozenset)  # train.batch may be any of these, if its default was adapted

    def differences(self, folder: Path) -> list[str]:
        """What the run in ``folder`` was begun with otherwise. Raises ConfigError if its config.yaml is damaged."""
        begun, settings = config.load(folder / "config.yaml"), self.settings
        adapted = ("train.batch",) if begun.train.batch in self.batches else ()
        found = config.differences(begun, settings, (*FREE, *adapted))
        if not found and self.data is not None:
            trained_on = checkpoints.data_of(folder / "checkpoints")
            if trained_on not in (None, self.data):
                return ["the data is other than it was"]
        return found


def batch_of(folder: Path, wanted: Wanted) -> int:
    """The ``train.batch`` to go on with in ``folder``: of several that a default may have become, the one of the run there."""
    path = folder / "config.yaml"
    begun = config.load(path).train.batch if path.is_file() and is_begun(folder) else 0
    return begun if begun in wanted.batches else wanted.settings.train.batch


def is_named(settings: config.Config) -> bool:
    """Whether the user chose the run folder."""
    return "dir" in settings.run.model_fields_set


def first_choice(settings: config.Config) -> Path:
    """The folder of a configuration that nothing else lies in: the one that it names, that of a sweep's trial, or runs/NAME."""
    folder = files.path(settings.run.dir)
    if is_named(settings):
        return folder
    sweep, trial = (re.sub(r"[^A-Za-z0-9_.-]", "_", os.environ.get(name, "")) for name in TRIAL)
    return folder.with_name(f"{folder.name}-sweep-{sweep}") / trial if sweep and trial else folder


def find(wanted: Wanted) -> Path | None:
    """The folder of the run of this configuration; None if there is none."""
    first = first_choice(wanted.settings)
    if is_fixed(wanted.settings):
        return first if (first / "config.yaml").is_file() else None
    there = [folder for folder in _existing(first) if (folder / "config.yaml").is_file()]
    return next((folder for folder in there if not wanted.differences(folder)), None)


def is_fixed(settings: config.Config) -> bool:
    """Whether no other folder than the first choice will do: it was named, or is a trial's, which goes on with it."""
    return is_named(settings) or first_choice(settings) != files.path(settings.run.dir)


def take(wanted: Wanted, stack: ExitStack) -> tuple[Path, list[str]]:
    """The folder of the run of this configuration, or a new one, held until ``stack`` is closed; and, if it is not the first
    choice, how the run there differs.

    Raises RunError while another process writes to that very run.
    """
    first = first_choice(wanted.settings)
    if is_fixed(wanted.settings):
        stack.enter_context(writer(first))
        return first, []
    found, told = find(wanted), list[str]()
    for folder in chain([found] if found else [], _numbered(first)):
        with ExitStack() as held:
            differences = _differences(wanted, folder, held)
            if not differences:
                stack.push(held.pop_all())
                break
        told = told or differences
    if found and found != first and not told:
        told = wanted.differences(first) if (first / "config.yaml").is_file() else []
    return folder, told[:SHOWN] if folder != first else []


def _differences(wanted: Wanted, folder: Path, held: ExitStack) -> list[str]:
    """Why ``folder`` is none for the configuration; if it is one, it is held by ``held``.

    Another process may have it. It is waited for until that has said of which configuration it is.
    """
    began = time.monotonic()
    while True:
        try:
            held.enter_context(writer(folder))
        except RunError:
            differences = wanted.differences(folder) if (folder / "config.yaml").is_file() else []
            if differences:
                return differences
            if time.monotonic() > began + WAIT:
                raise
            time.sleep(0.05)
            continue
        if not (folder / "config.yaml").is_file():
            return [] if is_free(folder) else ["something that is not a run"]
        return wanted.differences(folder) if is_begun(folder) else []


def _numbered(first: Path) -> Iterator[Path]:
    """runs/NAME, runs/NAME-2, runs/NAME-3 ..."""
    yield first
    yield from (first.with_name(f"{first.name}-{number}") for number in count(2))


def _existing(first: Path) -> list[Path]:
    """Those of the numbered folders that are there, in their order."""
    pattern = re.compile(re.escape(first.name) + r"(?:-([1-9][0-9]{0,8}))?")
    there = first.parent.iterdir() if first.parent.is_dir() else ()
    named = [(int(found[1] or 1), path) for path in there if (found := pattern.fullmatch(path.name)) and path.is_dir()]
    return [path for _, path in sorted(named)]
