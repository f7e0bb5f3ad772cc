"""A run folder -> its state, how far it is, what it gave, and what it takes of the disk. Only files are read."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline import config
from pipeline.distributed import lock
from pipeline.errors import UserError
from pipeline.report.listing import history
from pipeline.report.listing.found import Found
from pipeline.report.listing.history import Record
from pipeline.run import marks
from pipeline.run.folder import LOCK

State = Literal["running", "done", "stopped", "failed", "new", "damaged"]
DEEP = 12  # folders of a run within each other that are counted


class Accuracy(BaseModel):
    """What is listed of eval/metrics.json."""

    model_config = ConfigDict(strict=True)

    split: str
    step: int = Field(ge=0)
    count: int = Field(ge=0)
    accuracy: float = Field(ge=0, le=1)


class Spread(BaseModel):
    """The spread of one metric over seeds or folds, as seeds.json and folds.json have it."""

    mean: float
    std: float | None


class Repeats(BaseModel):
    """What is listed of seeds.json and folds.json."""

    split: str
    accuracy: Spread
    each: list[dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """What a run folder says of itself."""

    folder: Path
    above: Path | None
    settings: config.Config | None  # None: its config.yaml is damaged
    state: State
    why: str  # of the state, where it has a reason
    record: Record
    step: int
    test: Accuracy | None
    repeats: Repeats | None
    parts: int  # folds, seeds or trials in it
    size: int  # bytes on the disk
    changed: float  # seconds since the epoch, of the newest file

    @cached_property
    def steps(self) -> int | None:
        """The steps of the whole training; None if the record does not say it yet."""
        per_epoch = self.record.steps_per_epoch
        return self.settings.train.epochs * per_epoch if self.settings and per_epoch else None

    @property
    def monitor(self) -> str:
        """The metric by which its best checkpoint was chosen."""
        return self.settings.train.monitor if self.settings else ""

    @property
    def accuracy(self) -> float | None:
        """The accuracy on the test split, of several seeds their mean."""
        if self.test:
            return self.test.accuracy
        return self.repeats.accuracy.mean if self.repeats and self.repeats.split == "test" else None


def read(found: Found, inner: Sequence[Run] = ()) -> Run:
    """What the run says of itself; ``inner``: its folds, seeds or trials. What cannot be read is left out, and never raised."""
    folder = found.folder
    size, changed = usage(folder)
    settings, why = None, found.problem
    if not why:
        try:
            settings = config.load_dumped(folder / "config.yaml")
        except (UserError, OSError) as error:
            why = str(error).splitlines()[0].removeprefix(f"{folder}/")
    record = history.read(folder, settings.train.monitor) if settings else Record()
    saved = [marks.step_of(path) or 0 for path in _checkpoints(folder)]
    state: State
    state, why = ("damaged", why) if settings is None else _state(folder, record, bool(saved), inner)
    return Run(
        folder,
        found.above,
        settings,
        state,
        why,
        record,
        max(record.step, *saved, 0),
        history.file(folder / "eval" / "metrics.json", Accuracy),
        history.file(folder / "seeds.json", Repeats) or history.file(folder / "folds.json", Repeats),
        len(inner),
        size,
        changed,
    )


def all_of(found: Sequence[Found]) -> list[Run]:
    """``read`` of what was found, in its order; those within a run count for its state."""
    inner: dict[Path, list[Run]] = {}
    runs = []
    for one in reversed(found):  # those within a run stand behind it
        run = read(one, inner.get(one.folder, ()))
        if one.above:
            inner.setdefault(one.above, []).append(run)
        runs.append(run)
    return runs[::-1]


def is_evaluated(folder: Path) -> bool:
    """Whether a run was evaluated on the test split."""
    return history.file(folder / "eval" / "metrics.json", Accuracy) is not None


def _state(folder: Path, record: Record, saved: bool, inner: Sequence[Run]) -> tuple[State, str]:
    """As far as files say: only a process of this host is known to be alive."""
    holder = lock.holder(folder / LOCK)
    died = holder is not None and (holder.is_dead or (holder.host == socket.gethostname() and holder.boot != lock.boot()))
    if holder and not died:
        return "running", str(holder)
    if marks.marked(folder / "checkpoints", "finished") is not None:
        return "done", ""
    if inner and not saved:
        states = {run.state for run in inner}
        first: tuple[State, ...] = ("running", "failed", "stopped", "new")
        return next((state for state in first if state in states), "done"), ""
    if died:
        return "failed", f"{holder} died"
    if not record.finite:
        return "failed", "the loss is not finite"
    if _hung(folder):
        return "failed", f"it hung; {folder / 'stacks'} says where"
    return ("stopped" if saved or record.step else "new"), ""


def _hung(folder: Path) -> bool:
    """Whether a process wrote where it hangs, and none recorded anything after that."""
    with suppress(OSError):
        last = (folder / "metrics.jsonl").stat().st_mtime
        return any(path.stat().st_size and path.stat().st_mtime > last for path in (folder / "stacks").iterdir())
    return False


def _checkpoints(folder: Path) -> list[Path]:
    with suppress(OSError):
        return marks.all_of(folder / "checkpoints")
    return []


def usage(folder: Path, depth: int = 0) -> tuple[int, float]:
    """Bytes on the disk of a folder and all in it, and when the newest file changed; links are not followed."""
    size, changed = 0, 0.0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                known = entry.stat(follow_symlinks=False)
                size += known.st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    more, newest = usage(Path(entry.path), depth + 1) if depth < DEEP else (0, 0.0)
                    size, changed = size + more, max(changed, newest)
                elif not entry.name.startswith(LOCK):
                    changed = max(changed, known.st_mtime)
    return size, changed or _changed(folder)


def _changed(folder: Path) -> float:
    with suppress(OSError):
        return folder.lstat().st_mtime
    return 0.0
