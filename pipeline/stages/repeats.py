"""Several trainings of one configuration: the folds of a cross-validation, or seeds. Each is a run of its own below runs/NAME/.

What is done is found again by the runs themselves, so that the same command goes on wherever it ended.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from pipeline import files
from pipeline.config import Config
from pipeline.distributed import collectives
from pipeline.errors import UserError
from pipeline.run import advice, checkpoints, record
from pipeline.run.folder import enter, keep_free
from pipeline.stages import evaluate, train
from pipeline.stages.assembly import test_metrics, warn_of_idle
from pipeline.stages.job import Job, meet, placed, verified
from pipeline.stages.terminal import streams
from pipeline.training.loop import Report

if TYPE_CHECKING:
    from accelerate import Accelerator

MEASURED = ("accuracy", "loss", "macro_f1", "balanced_accuracy")
Numbers = dict[str, Any]


@dataclass(frozen=True)
class Member:
    """One of the trainings."""

    name: str
    settings: Config  # with a folder of its own

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return files.path(self.settings.run.dir)


def folds(settings: Config) -> Iterator[Report]:
    """Train ``train.folds`` models, each on all but one part of the training examples, and write folds.json: what each said of
    the part that it did not see, after its last step. The test split is not touched.

    No fold chooses its best checkpoint or stops early: that would choose by what it is measured on.
    """
    parts = settings.train.folds

    def members(folder: Path) -> list[Member]:
        return [
            Member(
                f"fold {number} of {parts}",
                changed(
                    settings,
                    run={"dir": str(folder / "folds" / str(number))},
                    data={"fold": f"{number}/{parts}"},
                    train={"folds": 0, "early_stopping": 0},
                ),
            )
            for number in range(1, parts + 1)
        ]

    def measure(member: Member, _: Accelerator) -> Numbers:
        last = [values for values in record.each(member.folder / "metrics.jsonl") if "valid/loss" in values][-1]
        return {"step": last["step"]} | {name: last[f"valid/{name}"] for name in MEASURED}

    with ExitStack() as stack:
        folder, found = yield from several(settings, members, measure, "valid", stack)
        if collectives.rank() == 0:
            how = "forward in time" if settings.data.split == "time" else "by group" if settings.data.grouped else "stratified"
            write(folder / "folds.json", {"folds": parts, "split": "valid", "how": how} | found)
            streams.say(f"cross-validation, {parts} folds ({how}): {spread(found['accuracy'])}; the test split was not used")
            print(f"next: {advice.configured('train', str(folder / 'config.yaml'), [f'run.dir={folder}'])}")


def seeds(settings: Config, count: int) -> Iterator[Report]:
    """Train with the seeds 1 to ``count``, evaluate each on the test split, and write seeds.json."""
    if settings.train.folds:
        raise UserError("train.folds and several seeds do not go together; set train.folds=0")

    def members(folder: Path) -> list[Member]:
        numbers = range(1, count + 1)
        return [
            Member(f"seed {number}", changed(settings, run={"dir": str(folder / f"seed-{number}"), "seed": number}))
            for number in numbers
        ]

    def measure(member: Member, accelerator: Accelerator) -> Numbers:
        known = collectives.gather(is_measured(member.folder))[0]
        if not known:
            with redirect_stdout(io.StringIO()):  # in full it stands in eval/ of each
                evaluate.evaluate(member.folder, "test", accelerator)
        return (test_metrics(member.folder) if collectives.rank() == 0 else None) or {}

    with ExitStack() as stack:
        folder, found = yield from several(settings, members, measure, "test", stack)
        if collectives.rank() == 0:
            write(folder / "seeds.json", {"seeds": count, "split": "test"} | found)
            streams.say(f"{count} seeds: {spread(found['accuracy'])}")
            print(f"next: {advice.of_run('export', folder / 'seed-1')}")


def is_measured(folder: Path) -> bool:
    """Whether the best checkpoint of a run was evaluated on the test split."""
    if collectives.rank() != 0:
        return False
    measured = test_metrics(folder)
    return bool(measured and measured["step"] == checkpoints.best(folder / "checkpoints").step)


def changed(settings: Config, **sections: dict[str, Any]) -> Config:
    """``settings`` with other values in some sections."""
    return settings.model_copy(
        update={name: getattr(settings, name).model_copy(update=values) for name, values in sections.items()}
    )


def several(
    settings: Config,
    members: Callable[[Path], Sequence[Member]],
    measure: Callable[[Member, Accelerator], Numbers],
    split: str,
    stack: ExitStack,
) -> Generator[Report, None, tuple[Path, Numbers]]:
    """Train all members, one after the other. Returns the run folder, and what each gave with the spread of it.

    ``stack`` holds the run folder, so that no other process trains in it.
    """
    accelerator = stack.enter_context(meet(settings))
    warn_of_idle(settings)
    prepared = verified(settings, accelerator)
    whole, folder = placed(changed(settings, train={"folds": 0}), prepared, stack)  # what is trained in it in the end
    collectives.on_main(lambda: enter(folder, whole, collectives.world_size()))
    collectives.on_main(lambda: keep_free(folder, whole))
    each: list[Numbers] = []
    for member in members(folder):
        if collectives.rank() == 0:
            print(f"{member.name}: {member.folder}", flush=True)
        yield from train.attempt(member.settings, accelerator, silent)
        found = collectives.gather(measure(member, accelerator))[0]
        each.append({"name": member.name, "folder": str(member.folder)} | found)
        if collectives.rank() == 0:
            print(f"{member.name}: {split} accuracy {found['accuracy']:.4f}", flush=True)
    numbers = {name: [one[name] for one in each if name in one] for name in MEASURED}
    most = dict.fromkeys(MEASURED, 1.0) | {"loss": math.inf}
    return folder, {name: summary(values, most[name]) for name, values in numbers.items() if values} | {"each": each}


def silent(job: Job) -> str:
    """Nothing is to be typed after one of several."""
    return ""


def summary(values: Sequence[float], most: float) -> Numbers:
    """Mean, standard deviation (of a sample), minimum and maximum of values, and Student's 95 % interval of the mean; what one
    value does not give is None. No value is below 0 or above ``most``, and so are the ends of the interval."""
    found: Numbers = {"mean": mean(values), "std": None, "min": min(values), "max": max(values), "low": None, "high": None}
    if len(values) > 1:
        from scipy.stats import t

        found["std"] = stdev(values)
        half = float(t.ppf(0.975, len(values) - 1)) * found["std"] / math.sqrt(len(values))
        low, high = found["mean"] - half, found["mean"] + half
        found |= {"low": max(0.0, low), "high": min(most, high)}
    return found


def spread(found: Numbers) -> str:
    """A ``summary`` in words."""
    said = f"accuracy {found['mean']:.4f}"
    if found["std"] is None:
        return said
    return (
        f"{said} +- {found['std']:.4f} (standard deviation), {found['min']:.4f} to {found['max']:.4f}; "
        f"95 % interval of the mean {found['low']:.4f} to {found['high']:.4f}"
    )


def write(path: Path, found: Numbers) -> None:
    """Write what all gave, as one act. Raises UserError if the disk is full or cannot be written."""
    with files.disk_errors("the results", path):
        files.write_json(path, found)
