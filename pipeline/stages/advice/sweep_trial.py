"""One trial of a sweep: a run of its own for each seed, watched by what it records of itself."""

from __future__ import annotations

import json
import math
import os
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import monotonic
from typing import Any, cast

from pipeline import config, files
from pipeline.config import Config
from pipeline.distributed import collectives
from pipeline.errors import NonFiniteError, Stopped, UserError
from pipeline.run import marks, record
from pipeline.stages import train
from pipeline.stages.assembly import fitted, slices_of
from pipeline.stages.job import ready
from pipeline.tuning.measure import is_out_of_memory
from pipeline.tuning.sweeps.search import TRIES, Trial
from pipeline.tuning.sweeps.shape import Sweep
from pipeline.tuning.sweeps.table import Became

BASE = "base.yaml"  # the configuration as the sweep found it; config.yaml would make a run of the folder


@dataclass(frozen=True)
class Plan:
    """What all trials of a sweep have in common."""

    folder: Path
    sweep: Sweep
    overrides: tuple[str, ...]  # on top of the configuration, below those of a trial
    seeds: int

    def folder_of(self, number: int, place: int) -> Path:
        """The run folder of a trial and its seed, by the place of the seed from 0."""
        trial = self.folder / "trials" / str(number)
        return trial if self.seeds == 1 else trial / f"seed-{place}"

    def settings(self, number: int, overrides: list[str], place: int = 0) -> Config:
        """The configuration of a run. Raises ConfigError if the values of the trial do not go together."""
        plain = config.load(self.folder / BASE, self.overrides)
        folder = self.folder_of(number, place)
        own = {
            "run.dir": str(folder),
            "train.monitor": self.sweep.metric.name,
            "train.watch_test": 0,
            "track.name": f"{plain.track.name or self.folder.name}-{number}",
            "track.group": plain.track.group or self.folder.name,
        }
        if base := plain.track.id or os.environ.get("WANDB_RUN_ID"):  # one id would make one run of all trials
            own["track.id"] = f"{base}-{number}"
        made = config.load(self.folder / BASE, [*self.overrides, *overrides, *(f"{key}={json.dumps(own[key])}" for key in own)])
        return made.model_copy(update={"run": made.run.model_copy(update={"seed": made.run.seed + place})})


@dataclass
class Outcome:
    """What became of a trial."""

    became: Became
    each: list[float]
    reason: str = ""

    @property
    def metric(self) -> float | None:
        """The mean over the seeds; None if nothing was measured."""
        return mean(self.each) if self.each else None


class Watched:
    """The evaluations of a run, from its metrics.jsonl: how many, the best, and whether the last was the last of all."""

    def __init__(self, path: Path, metric: str, maximized: bool, epochs: int) -> None:
        self._path, self._metric, self._sign, self._epochs = path, metric, 1 if maximized else -1, epochs
        self._read = 0  # bytes
        self.count, self.best, self.is_over = 0, None, False  # type: tuple[int, float | None, bool]

    def grew(self) -> bool:
        """Read on. Whether there was another evaluation."""
        if not self._path.exists() or self._path.stat().st_size <= self._read:
            return False
        before = self.count
        with self._path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._take(record.parse(line) or {})
        return self.count > before

    def _take(self, values: dict[str, Any]) -> None:
        if "valid/loss" not in values:
            return
        self.count, self.is_over = self.count + 1, (values.get("epoch") or 0) >= self._epochs
        value = values.get(self._metric)
        if value is not None and math.isfinite(value) and (self.best is None or self._sign * (value - self.best) > 0):
            self.best = value


def attempt(plan: Plan, trial: Trial) -> tuple[Outcome, float]:
    """Train a trial, or go on with it, and say what became of it, and after how many seconds.

    Its words go to logs/NUMBER.log. Raises Stopped after a signal, once the run is saved, and what no value of the trial is to
    blame for.
    """
    began = monotonic()
    files.make_folder(plan.folder / "logs")
    if not trial.taken(_progress(plan, trial.number)):
        return Outcome("failed", [], f"{TRIES} workers died of it"), 0.0
    with (plan.folder / "logs" / f"{trial.number}.log").open("a", buffering=1, encoding="utf-8") as log:
        try:
            with redirect_stdout(log), redirect_stderr(log):
                outcome = _trained(plan, trial)
        except Stopped:
            trial.returned()
            raise
        except NonFiniteError as error:
            outcome = Outcome("failed", [], str(error).partition(";")[0])
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            outcome = Outcome("failed", [], "memory does not hold it")
    return outcome, monotonic() - began


def _trained(plan: Plan, trial: Trial) -> Outcome:
    found: list[float] = []
    for place in range(plan.seeds):
        try:
            settings = plan.settings(trial.number, trial.overrides, place)
            slices_of(fitted(settings, ready(settings.data), 1).train, collectives.rank(), 1)
        except UserError as error:  # of values that do not go together, or not with the data
            return Outcome("failed", [], " ".join(str(error).splitlines()[0].split()))
        folder = plan.folder_of(trial.number, place)
        watched = Watched(folder / "metrics.jsonl", plan.sweep.metric.name, plan.sweep.is_maximized, settings.train.epochs)
        with closing(cast(Any, train.reports(settings))) as reports:
            for _ in reports:
                # the first seed speaks for all: the others are not compared with trials that are one seed further
                if not watched.grew() or watched.best is None or place:
                    continue
                if trial.report(watched.count, watched.best) and not watched.is_over:
                    return Outcome("stopped early", [watched.best], f"at evaluation {watched.count}")
        watched.grew()
        if watched.best is None:
            return Outcome("failed", [], f"{plan.sweep.metric.name} was never a number")
        found.append(watched.best)
    return Outcome("finished", found)


def _progress(plan: Plan, number: int) -> str:
    """The newest checkpoint of each seed of a trial."""
    newest = [marks.all_of(plan.folder_of(number, place) / "checkpoints")[-1:] for place in range(plan.seeds)]
    return " ".join(path.name for paths in newest for path in paths)
