"""Runs -> groups of those that differ by their seed only: what is compared is recipes, where several seeds of one are there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from pipeline.errors import RunError, UserError
from pipeline.report.compare import evaluated
from pipeline.report.compare.evaluated import Evaluated
from pipeline.report.listing import differing, facts, found

SEED = "run.seed"
METRICS = ("accuracy", "macro_f1", "balanced_accuracy", "loss", "expected_calibration_error")  # which are compared
LESS = ("loss", "expected_calibration_error")  # of which less is better


@dataclass(frozen=True)
class Group:
    """Runs of one recipe, each with another seed."""

    name: str
    runs: tuple[Evaluated, ...]

    def values(self, metric: str) -> list[float]:
        """A metric of each run; those whose evaluation lacks it are left out."""
        return [value for run in self.runs if (value := getattr(run.metrics, metric)) is not None]

    def mean(self, metric: str) -> float | None:
        """The mean of a metric over the seeds; None if no run has it."""
        return mean(self.values(metric)) if self.values(metric) else None

    def std(self, metric: str) -> float | None:
        """Its standard deviation, of a sample; None of a single value."""
        return stdev(self.values(metric)) if len(self.values(metric)) > 1 else None


def named(folders: Sequence[Path]) -> list[Evaluated]:
    """The evaluations of the runs that were named, each once; of one that holds several seeds, and no model of its own, all of
    these. Raises RunError or UserError if one cannot be compared."""
    runs: dict[Path, Evaluated] = {}
    for folder in folders:
        for one in _inside(folder):
            runs.setdefault(Path(os.path.realpath(one)), evaluated.read(one))
    if len(runs) < 2:
        raise UserError("compare takes two runs or more; type: compare runs/ONE runs/OTHER")
    evaluated.refuse_other_examples(list(runs.values()))
    return list(runs.values())


def _inside(folder: Path) -> list[Path]:
    if not (folder / "config.yaml").is_file() or (folder / "eval").is_dir():
        return [folder]
    parts = [one.folder for one in found.within(folder) if one.above == folder and not one.problem]
    if parts and all(part.parent.name == "folds" for part in parts):
        raise RunError(f"{folder}: a cross-validation does not look at the test split, which compare compares; train it on all")
    done = [part for part in parts if facts.is_evaluated(part)]
    return done or [folder]


def of(runs: Sequence[Evaluated]) -> list[Group]:
    """The groups, in the order of their first runs. Raises UserError if a recipe that is compared with others has two runs of
    one seed, such as a run and its copy: as two seeds they would claim a spread that nobody measured."""
    groups: list[list[Evaluated]] = []
    for run in runs:
        same = (group for group in groups if not set(differing.between([group[0].settings, run.settings])) - {SEED})
        group = next(same, None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    if len(groups) > 1:
        _refuse_repeated(groups)
    root = Path(os.path.commonpath([run.folder.absolute().parent for run in runs]))
    return [Group(_name(group, root), tuple(group)) for group in groups]


def _refuse_repeated(groups: Sequence[Sequence[Evaluated]]) -> None:
    for group in groups:
        known: dict[int, Evaluated] = {}
        for run in group:
            first = known.setdefault(run.settings.run.seed, run)
            if first is not run:
                raise UserError(
                    f"{first.folder} and {run.folder} are one recipe with the same seed, {run.settings.run.seed}, "
                    "and count as one; name one of them"
                )


def _name(group: Sequence[Evaluated], root: Path) -> str:
    names = [str(run.folder.absolute().relative_to(root)) for run in group]
    parents = {Path(name).parent for name in names}
    if len(group) > 1 and len(parents) == 1 and parents != {Path()}:
        return str(parents.pop())
    return names[0] + (f" +{len(group) - 1}" if len(group) > 1 else "")


def differences(groups: Sequence[Group]) -> dict[str, list[object]]:
    """The keys in which the groups differ, each with the value in each group. The seed is none of them."""
    found = differing.between([group.runs[0].settings for group in groups])
    return {key: values for key, values in found.items() if key != SEED}


def rows(groups: Sequence[Group]) -> list[Group]:
    """What has a row of metrics each: the groups, or the runs of one that is alone."""
    if len(groups) > 1:
        return list(groups)
    return [Group(run.folder.name, (run,)) for run in groups[0].runs]


def best(groups: Sequence[Group], metric: str) -> set[int]:
    """The numbers of the groups whose mean of a metric is the best; none where only one has it.

    A seed is never the best one: it would be chosen by the test split.
    """
    known = {number: value for number, group in enumerate(groups) if (value := group.mean(metric)) is not None}
    if len(known) < 2:
        return set()
    top = (min if metric in LESS else max)(known.values())
    return {number for number, value in known.items() if value == top}
