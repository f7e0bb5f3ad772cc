"""A configuration and a sweep file -> runs/NAME-sweep/: many trainings, and the best of them as a configuration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline import config, files
from pipeline.config import Config
from pipeline.distributed import lock, process
from pipeline.errors import RunError, Stopped, UserError
from pipeline.report.listing.found import SWEEP
from pipeline.run.folder import FREE
from pipeline.stages.advice.sweep_result import Asked, tell
from pipeline.stages.advice.sweep_trial import BASE, Plan, attempt
from pipeline.stages.job import ready
from pipeline.stages.terminal import streams
from pipeline.tuning.sweeps import space, sweep_file
from pipeline.tuning.sweeps.search import Search, stored
from pipeline.tuning.sweeps.shape import Sweep
from pipeline.tuning.sweeps.table import shown

WORKER = "SEQUENCE_PIPELINE_SWEEP_WORKER"  # set where another process of this command says what all gave
SAME = ("method", "metric", "parameters", "early_terminate")  # what a sweep keeps; it may become longer
ORDER = (2, 3)  # of the exit statuses of several workers, the first that one of them has is that of all


class Begun(BaseModel):
    """sweep.json: what a sweep was begun with."""

    model_config = ConfigDict(strict=True)

    sweep: dict[str, Any]
    overrides: list[str]
    seeds: int


def search(settings: Config, asked: Asked) -> None:
    """Try what the sweep file says, or go on with it, and write best.yaml, trials.csv and two pictures.

    Only the validation split is looked at. Raises UserError for what is wrong with the files or the folder, Stopped after a
    signal, once the run in work is saved.
    """
    if process.launched():
        raise UserError("sweep starts its own processes; type it without a launcher, and --workers N")
    wanted = sweep_file.read(asked.sweep)
    folder = asked.folder or files.path(f"{settings.run.dir}-sweep")
    refuse_unfit(settings)
    total = number_of_trials(wanted, asked)
    ready(settings.data)
    plan = enter(folder, wanted, settings, asked)
    trials = Search(folder, wanted, total)
    if asked.workers > 1:
        started(asked, folder)
    else:
        work(plan, trials)
    if WORKER not in os.environ:
        tell(plan, trials, asked)


def refuse_unfit(settings: Config) -> None:
    """Raise UserError if nothing of a run could be measured without the test split."""
    if not settings.data.validation:
        raise UserError("data.validation = 0: a sweep chooses by the validation split, and there is none; set data.validation")
    if settings.train.folds:
        raise UserError("train.folds and a sweep do not go together; set train.folds=0")


def number_of_trials(wanted: Sweep, asked: Asked) -> int:
    """How many trials there will be in all. Raises UserError if nothing says so."""
    most = asked.trials or wanted.run_cap
    if wanted.method == "grid":
        return min(most or space.points(wanted), space.points(wanted))
    if most is None:
        raise UserError(f"{asked.sweep}: {wanted.method} has no end; write run_cap: 20 into it, or type --trials 20")
    return most


def enter(folder: Path, wanted: Sweep, settings: Config, asked: Asked) -> Plan:
    """Begin the sweep in its folder, or find that it is the one that was begun there. Raises RunError if it is another one."""
    plan = Plan(folder, wanted, tuple(asked.overrides), asked.seeds)
    known = folder / SWEEP
    with files.disk_errors("the sweep", folder):
        if "locks" not in (there := _names(folder)):  # they are the first that a sweep makes
            refuse(folder, there)
        files.make_folder(folder / "locks")
        with lock.held(folder / "locks" / "search", wait=True):
            if not known.exists():
                refuse(folder, _names(folder) - {"locks", BASE})  # one that was killed early leaves these
                files.write_text(folder / BASE, Path(asked.config).read_text(encoding="utf-8"))
                said = {
                    "sweep": wanted.model_dump(mode="json", exclude_unset=True),
                    "overrides": list(asked.overrides),
                    "seeds": asked.seeds,
                }
                files.write_json(known, said)
                return plan
    begun = _begun(known)
    found = config.differences(config.load(folder / BASE, begun.overrides), settings, FREE)
    before = Sweep.model_validate(begun.sweep)
    found += [f"{key} of the sweep file" for key in SAME if getattr(before, key) != getattr(wanted, key)]
    found += [f"--seeds {begun.seeds} -> {asked.seeds}"] * (begun.seeds != asked.seeds)
    if found:
        more = "\n  ".join(found)
        raise RunError(
            f"{folder}: this sweep was begun with another configuration or sweep file:\n  {more}\n"
            "use those to go on with it, or name another folder: --run runs/NAME-sweep"
        )
    return plan


def refuse(folder: Path, others: set[str]) -> None:
    """Raise RunError if there are ``others``, names in a folder that are not of a sweep."""
    if others:
        raise RunError(f"{folder}: is not empty and holds no sweep; name another folder: --run runs/NAME-sweep")


def _names(folder: Path) -> set[str]:
    """What is in a folder, without hidden files; none if there is no folder."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.exists() else set()


def _begun(path: Path) -> Begun:
    try:
        found = files.read_json(path, Begun)
        Sweep.model_validate(found.sweep)
        return found
    except (OSError, ValueError, ValidationError) as error:
        raise RunError(
            f"{path}: is not what this program wrote ({error}); name another folder: --run runs/NAME-sweep"
        ) from None


def work(plan: Plan, search: Search) -> None:
    """Take trials until there are no more: first those that a worker left that died."""
    while True:
        with ExitStack() as stack:
            trial = search.take(stack)
            if trial is None:
                return
            values = " ".join(f"{key}={shown(value)}" for key, value in trial.values.items())
            print(f"trial {trial.number} of {search.total}: {values}", flush=True)
            with stored(plan.folder / "study.db"):
                outcome, seconds = attempt(plan, trial)
                trial.end(outcome.became, outcome.metric, seconds, each=outcome.each, reason=outcome.reason)
            print(f"trial {trial.number}: {_became(outcome.became, outcome.metric, outcome.reason, plan)}", flush=True)


def _became(became: str, metric: float | None, reason: str, plan: Plan) -> str:
    value = "" if metric is None else f"{plan.sweep.metric.name} {metric:.4f}"
    mean = f" (mean of {plan.seeds} seeds)" if plan.seeds > 1 and became == "finished" else ""
    return ", ".join(part for part in (became if became != "finished" else "", reason, value + mean) if part)


def started(asked: Asked, folder: Path) -> None:
    """Start the workers and wait for them; on machines with several GPUs each has one. Exits with the status of those that
    failed, if they left trials."""
    words = ["sweep", "--config", asked.config, "--sweep", str(asked.sweep), "--run", str(folder), "--seeds", str(asked.seeds)]
    words += ["--trials", str(asked.trials)] if asked.trials else []
    words += ["--quiet"] if streams.aside() else []
    command = [sys.executable, "-m", "pipeline", *words, *asked.overrides]
    devices, running = gpus(), []
    try:
        for number in range(asked.workers):
            gpu = {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {}
            running.append(subprocess.Popen(command, env=os.environ | {WORKER: "1"} | gpu))
        statuses = [worker.wait() for worker in running]
    except BaseException:  # of a signal above all: the workers save what they have
        for worker in running:
            worker.terminate()
        for worker in running:
            worker.wait()
        raise
    for status in {status for status in statuses if status < 0}:
        print(f"warning: a worker was killed by {signal.Signals(-status).name}", file=sys.stderr)
    failed = [status for status in statuses if status > 0]
    if 143 in failed:
        raise Stopped("a worker was stopped by a signal; the same command goes on")
    if failed:
        sys.exit(next((status for status in ORDER if status in failed), 1))


def gpus() -> list[str]:
    """The names of several GPUs, as CUDA_VISIBLE_DEVICES takes them; none where one process may see all there are."""
    import torch

    count = torch.cuda.device_count()
    said = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = said.split(",") if said else [str(number) for number in range(count)]
    return names[:count] if count > 1 else []
