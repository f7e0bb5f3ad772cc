"""In what the configurations of several runs differ: the keys that change what is trained, and not where things lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import config
from pipeline.report.listing.facts import Run
from pipeline.run.folder import FREE

Values = dict[str, Any]  # section.key -> value


def values_of(settings: config.Config) -> Values:
    """Every key that makes a run what it is."""
    return {
        f"{name}.{key}": getattr(section, key)
        for name, section in settings
        for key in type(section).model_fields
        if f"{name}.{key}" not in FREE
    }


def between(many: Sequence[config.Config]) -> dict[str, list[Any]]:
    """The keys whose values are not the same in all, each with its values in the order of ``many``."""
    values = [values_of(settings) for settings in many]
    columns = {key: [one[key] for one in values] for key in values[0]}
    return {key: column for key, column in columns.items() if any(value != column[0] for value in column)}


def task_of(run: Run) -> tuple[str, str]:
    """The data that a run is about: only runs of one task are compared with each other."""
    if run.settings is None:
        return "", ""
    return run.settings.data.source, run.settings.data.path or run.settings.data.root


def of_each(runs: Sequence[Run]) -> dict[Path, Values]:
    """For each run its values of the keys that are not the same in all runs of its task; for one within another run, its
    values of those in which it differs from that."""
    tasks: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.settings and run.above is None:
            tasks.setdefault(task_of(run), []).append(run)
    found: dict[Path, Values] = {}
    by_folder = {run.folder: run.settings for run in runs if run.settings}
    for task in tasks.values():
        keys = between([by_folder[run.folder] for run in task])
        for place, run in enumerate(task):
            found[run.folder] = {key: values[place] for key, values in keys.items()}
    for run in runs:
        if run.above and run.settings and run.above in by_folder:
            found[run.folder] = {key: values[1] for key, values in between([by_folder[run.above], run.settings]).items()}
    return found


def text(values: Mapping[str, Any]) -> str:
    """``lr=0.01 cell=gru``: keys without their section where no other section has one of that name."""
    return " ".join(f"{short_key(key)}={plain(value)}" for key, value in values.items())


def short_key(key: str) -> str:
    """A key without its section, if it can be typed so."""
    name = key.partition(".")[2]
    return name if len(config.homes(name)) == 1 else key


def plain(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, bool | None):
        return {True: "true", False: "false", None: "null"}[value]
    return f"[{','.join(map(plain, value))}]" if isinstance(value, tuple | list) else str(value)
