"""runs/NAME/: one writer at a time, one configuration for ever, and where it was made."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline import config, files
from pipeline.distributed import lock
from pipeline.errors import RunError
from pipeline.run.environment import environment
from pipeline.run.marks import all_of

LOCK = ".lock"
LATE = 60.0  # seconds after which a network disk has told all hosts of a new file: NFS remembers for as long what was not there
FREE = (
    "run.dir",
    "data.root",
    "data.path",
    "data.test_path",
    "data.prepared",
    "data.mirrors",
    "data.resident_limit_mb",
    "data.stage",
    "run.pin",
    "run.timeout",
    "run.join_timeout",
    "train.cpu_lstm",
    "train.gpu_lstm",
    "train.compare_every",
    "train.folds",
    "train.keep_last",
    "track.backends",
    "track.project",
    "track.name",
    "track.tags",
    "track.entity",
    "track.notes",
    "track.group",
    "track.id",
    "track.system",
    "track.git",
    "export.formats",
    "export.tolerance",
)  # may change within a run: where things lie, what computes the same, and what is made of its result


@contextmanager
def writer(folder: Path) -> Iterator[None]:
    """Hold the run folder, made if need be, as its only writer; the lock of a process that died is free, and the next attempt
    of a scheduler's job takes over that of the one before.

    Raises RunError while another process holds it.
    """
    with ExitStack() as stack:
        with files.disk_errors("the run folder", folder):
            files.make_folder(folder)
            try:
                stack.enter_context(lock.held(folder / LOCK))
            except lock.Busy as busy:
                raise RunError(
                    f"{folder}: another process is writing to this run; wait for it, or set another run.dir ({busy})"
                ) from None
        yield


def is_begun(folder: Path) -> bool:
    """Whether anything was trained here, so that the folder belongs to one configuration."""
    several = (folder / "folds", *folder.glob("seed-*"))  # each of them with runs of its own
    return bool(all_of(folder / "checkpoints")) or any(path.is_dir() for path in several)


def enter(folder: Path, settings: config.Config, processes: int) -> None:
    """Write config.yaml and environment.json into a new run folder; into an older one only the latter.

    Raises RunError if a step of the run was saved with another configuration, with the keys that differ, or if the folder
    holds something that is not a run; UserError if the disk is full or cannot be written.
    """
    path = folder / "config.yaml"
    if path.exists():
        begun = config.load(path)
        changed = config.differences(begun, settings, FREE)
        if changed and not is_begun(folder):
            with files.disk_errors("the run folder", folder):
                files.write_text(path, config.dump(settings))
        elif changed:
            raise RunError(
                f"{folder}: this run was begun with another configuration:\n  "
                + "\n  ".join(changed)
                + "\nuse those values to resume it, or name another folder: run.dir=runs/NAME"
            )
    elif not is_free(folder):
        raise RunError(f"{folder}: is not empty and holds no run (no config.yaml); name another folder: run.dir=runs/NAME")
    else:
        with files.disk_errors("the run folder", folder):
            files.write_text(path, config.dump(settings))
    attempt = environment() | {"processes": processes}
    attempts = _attempts(folder / "environment.json")
    with files.disk_errors("the run folder", folder):
        files.write_json(folder / "environment.json", attempt | {"earlier": attempts})


def seen(folder: Path, seconds: float = LATE) -> None:
    """Wait until a run folder, which the main process has entered, is there for this host too. Raises RunError if it does not
    come."""
    if not files.appears(folder / "config.yaml", seconds):
        raise RunError(
            f"{folder.absolute()}: host {socket.gethostname()} does not see the run that process 0 has begun there; "
            "run.dir must lie on a disk that all machines share"
        )


def is_free(folder: Path) -> bool:
    """Whether nothing lies in a folder but a lock and what a process left that was killed before it wrote config.yaml."""
    return all(entry.name.startswith((LOCK, ".config.yaml.")) for entry in folder.iterdir())


def keep_free(folder: Path, settings: config.Config) -> None:
    """Have config.yaml say where things lie now, where evaluate and export look, and what else may change. Only once it is
    known that the data there is that of the run."""
    path = folder / "config.yaml"
    if config.load(path) != settings:
        with files.disk_errors("the run folder", folder):
            files.write_text(path, config.dump(settings))


class _Attempt(BaseModel):
    """environment.json: the last attempt, whatever it says of itself, and those before it."""

    model_config = ConfigDict(strict=True, extra="allow")

    earlier: list[dict[str, Any]] = []


def _attempts(path: Path) -> list[dict[str, Any]]:
    """What environment.json says of each attempt so far. Raises RunError if it is not what this program wrote."""
    if not path.exists():
        return []
    try:
        found = files.read_json(path, _Attempt)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: is not what this program wrote ({error}); delete it to go on") from None
    return [*found.earlier, found.model_extra or {}]


def settings_of(folder: Path) -> config.Config:
    """The configuration that a run was made with. Raises RunError if ``folder`` is not a run folder."""
    if not (folder / "config.yaml").is_file():
        what = "is not a run folder (it holds no config.yaml)" if folder.is_dir() else "no such run folder"
        known = sorted(str(path.parent) for path in Path("runs").glob("*/config.yaml"))
        raise RunError(
            f"{folder}: {what}; "
            + (f"there are: {', '.join(known)}" if known else "train first: python -m pipeline train --config FILE")
        )
    settings = config.load(folder / "config.yaml")
    return settings.model_copy(update={"run": settings.run.model_copy(update={"dir": str(folder)})})
