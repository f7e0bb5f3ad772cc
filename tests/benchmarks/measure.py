"""The measurements of ``make bench-full``, each of which adds to the results."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.contenders import BARE, CONTENDERS, DDP, Contender, Variant, variants
from tests.benchmarks.jobs import Job, JobError
from tests.benchmarks.peers.task import Task
from tests.benchmarks.results import Accuracy, Command, Entry, Race, Results, Speed, written

SAME_WORK = "configs/mnist_seed.yaml"  # the pipeline's settings for the MNIST LSTM tutorial's work
LARGE = ("model.hidden=256", "model.layers=2", "model.bidirectional=true", "model.pooling=mean", "train.batch=512")


@dataclass(frozen=True)
class Plan:
    """``folder`` for everything that is written; ``data`` with MNIST/raw/; ``turn`` steps, ``turns`` of them a repeat;
    ``epochs``: the most that a run to an accuracy may take; ``evaluations`` an epoch; ``recipe``: the pipeline's
    configuration for such a run, with ``overrides``; ``began``: the ``time.monotonic()`` of the start; ``minutes``: for all."""

    folder: Path
    data: Path
    repeats: int
    turn: int
    turns: int
    epochs: int
    evaluations: int
    recipe: str
    overrides: tuple[str, ...]
    began: float
    minutes: float
    say: Callable[[str], None] = print

    def settings(self, *own: str) -> tuple[str, ...]:
        """Overrides of the pipeline for all runs, and those for one."""
        return (f"data.prepared={self.folder / 'prepared'}", "train.watch_test=0", *own)


_number = count()


def repeats(plan: Plan, share: float) -> Iterator[int]:
    """As many as end before that share of the minutes has gone, if the next takes as long as the one before; one at least."""
    for repeat in range(plan.repeats):
        start = time.monotonic()
        yield repeat
        if 2 * time.monotonic() - start > plan.began + 60 * plan.minutes * share:
            break


def task(plan: Plan, variant: Variant, seed: int, **more: Any) -> Task:
    """The MNIST LSTM tutorial's work for a variant; ``more`` fields of the task."""
    contender = variant.contender
    place = plan.folder / f"{next(_number):04}-{re.sub('[^a-z0-9]+', '-', contender.name.lower())}"
    own = {
        "peer": contender.peer,
        "data": str(plan.data),
        "output": str(place),
        "source": variant.source,
        "precision": contender.precision,
        "seed": seed,
        "config": SAME_WORK,
        "overrides": plan.settings(f"run.threads={variant.threads}"),
    } | more
    own["overrides"] = (*own["overrides"], *contender.settings)
    return Task(**own)


def able(chosen: Sequence[Contender], results: Results, repeat: int = 0) -> Iterator[tuple[Contender, Entry]]:
    """The contenders that did not fail before, nor did their limits, with their entries; in every second repeat backwards."""
    for contender in chosen[:: -1 if repeat % 2 else 1]:
        entry = results.entry(contender.name)
        if not entry.problem and not results.entry(entry.limit).problem:
            yield contender, entry


@contextmanager
def attempt(plan: Plan, entry: Entry) -> Iterator[None]:
    """A failure is noted in the entry, and the others go on."""
    try:
        yield
    except JobError as error:
        entry.problem = str(error).splitlines()[0]
        plan.say(f"failed: {entry.name}: {error}")


def best(entry: Entry) -> Variant:
    """The variant that was the fastest."""
    contender = next(contender for contender in CONTENDERS if contender.name == entry.name)
    return next(variant for variant in variants(contender) if str(variant) == entry.best)


def turns(jobs: Sequence[Job], number: int) -> list[list[float]]:
    """The seconds of each job in each of ``number`` turns, every second one in the opposite order."""
    for job in jobs:
        job.ready()
    taken: list[list[float]] = [[] for _ in jobs]
    for turn in range(number):
        for index in range(len(jobs))[:: -1 if turn % 2 else 1]:
            taken[index].append(jobs[index].turn())
    for job in jobs:
        job.wait()
    return taken


def speed(plan: Plan, chosen: Sequence[Contender], results: Results) -> None:
    """Samples/s of the training loop: all variants of a contender and its limit take turns. After the first repeat, the
    best variant alone goes on."""
    for repeat in repeats(plan, 0.4):
        for contender, entry in able(chosen, results, repeat):
            with attempt(plan, entry):
                group = [variant for variant in variants(contender) if entry.best in ("", str(variant))]
                if entry.limit != entry.name:
                    group.append(best(results.entry(entry.limit)))
                with ExitStack() as stack:
                    jobs = []
                    for variant in group:
                        overrides = plan.settings(f"run.threads={variant.threads}", "train.epochs=1000000")
                        work = task(plan, variant, repeat, overrides=overrides, epochs=10**6, turn=plan.turn, turns=plan.turns)
                        jobs.append(stack.enter_context(Job(work, variant.contender.processes, variant.threads)))
                    taken = turns(jobs, plan.turns)
                limit = min(taken, key=median) if entry.limit == entry.name else taken[-1]
                for variant, seconds in zip(group, taken, strict=True):
                    if variant.contender == contender:
                        rates = [64 * plan.turn / second for second in seconds]
                        shares = [its / own for its, own in zip(limit, seconds, strict=True)]
                        entry.speed.append(Speed(variant=str(variant), samples_per_second=rates, of_limit=shares))
                entry.best = entry.best or str(group[taken.index(min(taken[: len(variants(contender))], key=median))])
                plan.say(f"speed {repeat + 1}: {entry.name}, {entry.best}: {entry.rates[-1]:,.0f} samples/s")


def command(plan: Plan, chosen: Sequence[Contender], results: Results) -> None:
    """One epoch as a command of its own, by the launcher where there are several processes."""
    for repeat in repeats(plan, 0.7):
        for contender, entry in able(chosen, results, repeat):
            with attempt(plan, entry):
                variant = best(entry)
                with Job(task(plan, variant, repeat), contender.processes, variant.threads, launched=True) as job:
                    measured = job.wait()
                one = Command(
                    variant=str(variant),
                    seconds=job.seconds,
                    import_seconds=measured[0]["import_seconds"],
                    start_seconds=measured[0]["start_seconds"],
                    peak_mb=sum(process["peak_mb"] for process in measured),
                )
                entry.command.append(one)
                plan.say(f"command {repeat + 1}: {entry.name}: {one.seconds:.1f} s, {one.peak_mb:,.0f} MB")


def accuracy(plan: Plan, chosen: Sequence[Contender], results: Results) -> None:
    """Runs to 98 % of all test images: the pipeline by its recipe, all others by the MNIST LSTM tutorial's."""
    for repeat in repeats(plan, 1.0):
        repeated = [contender for contender in chosen if not contender.settings and not (repeat and contender.once)]
        for contender, entry in able(repeated, results, repeat):
            with attempt(plan, entry):
                variant = best(entry)
                fields = {"epochs": plan.epochs, "evaluations": plan.evaluations, "target": 0.98}
                if contender.peer == "pipeline_stage":
                    overrides = plan.settings(f"run.threads={variant.threads}", *plan.overrides)
                    fields |= {"config": plan.recipe, "overrides": overrides}
                with Job(task(plan, variant, repeat, **fields), contender.processes, variant.threads) as job:
                    measured = job.wait()[0]
                one = Accuracy(variant=str(variant), start_seconds=measured["start_seconds"], curve=measured["curve"])
                entry.accuracy.append(one)
                to = ", ".join(f"{level:.0%} {written(one.seconds_to(level))}" for level in (0.97, 0.98))
                plan.say(f"accuracy {repeat + 1}: {entry.name}: {to}; last {one.curve[-1][2]:.2%}")


def processes(plan: Plan, chosen: Sequence[Contender], results: Results) -> None:
    """Two processes against a bare DDP loop and against one process with two threads, on a small and a large model."""
    names = {contender.name: contender for contender in chosen}
    ours, ours_two = "this pipeline, fp32", "this pipeline, 2 processes, fp32"
    if not {BARE, DDP, ours, ours_two} <= names.keys():
        return
    members = {
        DDP: Variant(names[DDP], 1, "tensors"),
        ours_two: Variant(names[ours_two], 1, "tensors"),
        "bare loop, 2 threads": Variant(names[BARE], 2, "tensors"),
        "this pipeline, 2 threads": Variant(names[ours], 2, "tensors"),
    }
    for model, batch, steps, warmup in (("small", 64, plan.turn, 20), ("large", 512, 2, 3)):
        entry = results.entry(ours_two)
        with attempt(plan, entry), ExitStack() as stack:
            jobs = []
            for variant in members.values():
                own = (f"run.threads={variant.threads}", "train.epochs=1000000", *(LARGE if model == "large" else ()))
                fields = {"turn": steps, "turns": plan.turns * plan.repeats, "warmup": warmup, "batch": batch, "epochs": 10**6}
                work = task(plan, variant, 0, large=model == "large", overrides=plan.settings(*own), **fields)
                jobs.append(stack.enter_context(Job(work, variant.contender.processes, variant.threads)))
            taken = turns(jobs, plan.turns * plan.repeats)
            for member, seconds in zip(members, taken, strict=True):
                rates = [batch * steps / second for second in seconds]
                results.races.append(Race(model=model, member=member, samples_per_second=rates))
                plan.say(f"processes: {model} model, {member}: {median(rates):,.0f} samples/s")
