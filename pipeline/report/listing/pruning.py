"""What may be deleted and why, and deleting what was named: whole runs, never a running one, never through a link."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pipeline import config, files
from pipeline.errors import RunError, UserError, short
from pipeline.report.listing import differing, found
from pipeline.report.listing.facts import Run, usage
from pipeline.run.folder import writer

GONE = "deleted"  # the ending of a folder that is being deleted


@dataclass(frozen=True)
class Verdict:
    """What is proposed for a run."""

    run: Run
    keep: bool
    why: str


def verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """A verdict per run that is not within another one: those go with the whole. What is damaged is left to the user."""
    whole = [run for run in runs if run.above is None and run.settings]
    tasks: dict[tuple[object, ...], list[Run]] = {}
    for run in whole:
        tasks.setdefault((differing.task_of(run), run.monitor), []).append(run)
    return [_verdict(run, _best(tasks[differing.task_of(run), run.monitor])) for run in whole]


def _best(runs: Sequence[Run]) -> Run | None:
    """The run of one task whose validation metric was the best; the one that changed last, of equal ones."""
    known = [run for run in runs if run.record.value is not None]
    sign = -1 if known and known[0].monitor == "valid/loss" else 1
    return max(known, key=lambda run: (sign * (run.record.value or 0.0), run.changed), default=None)


def _verdict(run: Run, best: Run | None) -> Verdict:
    if run.state == "running":
        return Verdict(run, True, f"it is running ({run.why})")
    if (run.folder / "export").is_dir():
        return Verdict(run, True, "it holds an exported model")
    if run.parts:
        return Verdict(run, True, f"it holds {run.parts} runs")
    if run.state == "new":
        return Verdict(run, False, "nothing was trained in it")
    if best is None:
        return Verdict(run, True, "no run of its data has a validation metric")
    name = run.monitor
    if run is best:
        return Verdict(run, True, f"the best {name} of its data, {run.record.value:.4f}")
    other = f"{short(str(best.folder))} has a {name} of {best.record.value:.4f}"
    if run.state in ("stopped", "failed"):
        of = f" of {run.steps:,}" if run.steps else ""
        return Verdict(run, False, f"{run.state} after step {run.step:,}{of}; {other}")
    if run.record.value is None:
        return Verdict(run, True, "it has no validation metric to compare")
    if run.record.value == best.record.value:
        return Verdict(run, True, f"its {name} is as good as the best of its data, {run.record.value:.4f}")
    return Verdict(run, False, f"{run.record.value:.4f}; {other}")


def refuse_unfit(folder: Path) -> None:
    """Raise UserError if ``folder`` must not be deleted: it is no run, is or lies behind a link, or holds this process."""
    if not os.path.lexists(folder):
        raise RunError(f"{folder}: no such run folder")
    real, here = Path(os.path.realpath(folder)), Path(os.path.abspath(folder))  # noqa: PTH100  # without following links
    if real != here:
        raise UserError(f"{folder}: is reached through a link, and nothing is deleted through one; the folder itself is {real}")
    if not (folder / "config.yaml").is_file() or (folder / "config.yaml").is_symlink():
        raise RunError(f"{folder}: is not a run folder (it holds no config.yaml), and is left alone")
    config.load(folder / "config.yaml")  # which raises, where it is that of another program
    if Path.cwd().is_relative_to(real):
        raise UserError(f"{folder}: this command was started in it; go to another folder first")


def delete(folder: Path) -> int:
    """Delete a run with all folds, seeds and trials in it; the bytes on the disk that it took.

    Raises UserError, before anything is deleted, if ``refuse_unfit`` does or a process writes to one of the runs. The folder
    has another name before its first file goes, so that no half of a run is left behind.
    """
    refuse_unfit(folder)
    size, _ = usage(folder)
    with ExitStack() as stack:
        for one in found.within(folder):
            if not one.folder.is_symlink():
                stack.enter_context(writer(one.folder))
        gone = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.{GONE}")
        with files.disk_errors("that this run is gone", folder):
            folder.rename(gone)
    with files.disk_errors("that this run is gone", gone):
        files.remove(gone)
    return size


def command(folders: Sequence[Path], head: str) -> str:
    """What to type to delete ``folders``."""
    return " ".join([head, *(f"--delete {shlex.quote(str(folder))}" for folder in folders), "--yes"])
