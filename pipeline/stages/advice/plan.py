"""How long a configuration would train on more processes than there are here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pipeline import files
from pipeline.config import Config
from pipeline.data.prepared import open_prepared
from pipeline.errors import UserError
from pipeline.report.plots.training import scaling_curve
from pipeline.stages.advice.check import work_of
from pipeline.stages.advice.examination import checks, watched
from pipeline.stages.advice.examination.group import SIZES
from pipeline.stages.advice.examination.results import Result
from pipeline.stages.advice.tune import warn_of_other_work
from pipeline.stages.assembly import fitted, slices_of
from pipeline.stages.terminal import streams
from pipeline.stages.terminal.answers import Work
from pipeline.stages.terminal.machine_answers import Planned, Planning
from pipeline.tuning import scaling
from pipeline.tuning.scaling import Link, Predicted

MOST = 1024  # processes in the picture
HERE = "here"


@dataclass(frozen=True)
class Wanted:
    """What the user asks: numbers of processes, the link between them, and where a picture goes, if there is one."""

    processes: tuple[int, ...]
    link: str = HERE
    picture: Path | None = None


@dataclass(frozen=True)
class Measured:
    """What was measured on this machine: seconds by examples in a step of one process, bytes of gradients, the link between
    two processes if there is more than one place for them, and seconds of a step by the number of processes."""

    shares: dict[int, float]
    size: int
    link: Link | None
    steps: dict[int, float]


def plan(settings: Config, file: Path, overrides: Sequence[str], wanted: Wanted) -> None:
    """Predict steps and hours from what is measured here, say how far the prediction is from what several processes take here,
    and draw it. Raises UserError for a number of processes that the batch cannot be cut for."""
    prepared = open_prepared(settings.data, verify=())
    settings = fitted(settings, prepared, 1)
    for number in wanted.processes:
        slices_of(settings.train, 0, number)
    folder = files.path(settings.run.dir or "runs").absolute()
    measured = measure(settings, watched.Request("planned", folder, file, tuple(overrides)))
    link = measured.link if wanted.link == HERE else scaling.LINKS[wanted.link]
    if link is None:
        raise UserError("there is one GPU here, and so no link to measure; name the one to plan for: --link nvlink")
    single, *_ = doubled = [one_of(settings, measured, link, number) for number in cuts(settings)]
    work = work_of(settings, prepared)
    rows = [row(work, one_of(settings, measured, link, number), single, measured) for number in wanted.processes]
    streams.say(f"link: {wanted.link}, {1e6 * link.latency:,.0f} us and {link.rate / 1e9:,.2f} GB/s ({link.said})")
    streams.say("processes       step  exchange  samples/s  efficiency      hours  memory of each")
    for one in rows:
        streams.say(shown(one))
    error = largest_error(settings, measured)
    last = scaling.stops_paying(doubled)
    more = " (the batch cannot be cut further)" if last == doubled[-1].processes else ""
    streams.say(f"from {last} processes on, twice as many bring less than 5 %{more}")
    if wanted.picture:
        caption = f"link: {wanted.link}" + ("" if error is None else f"; predictions were {error:.0%} off here")
        points = [(one.processes, one.step, one.exchange) for one in doubled]
        scaling_curve(wanted.picture, points, sorted(measured.steps.items()), caption)
        print(f"written: {wanted.picture}")
    told: dict[str, Any] = {
        "device": "cuda" if gpus() else "cpu",
        "link": wanted.link,
        "link_source": link.said,
        "processes": rows,
    }
    told |= {"gradient_bytes": measured.size, "batch": work.batch, "steps": work.steps}
    streams.answer(Planned.model_validate(told | {"largest_error": error, "stops_paying": last}))


def largest_error(settings: Config, measured: Measured) -> float | None:
    """How far predictions are from steps that were measured here, each of which is printed; None if none was."""
    errors = list[float]()
    for number, took in measured.steps.items() if measured.link else ():
        assert measured.link
        step = one_of(settings, measured, measured.link, number).step
        errors.append(abs(step / took - 1))
        streams.say(f"compared here: {number} processes take {1e3 * took:.2f} ms per step, predicted {1e3 * step:.2f} ms")
    return max(errors, default=None)


def cuts(settings: Config) -> list[int]:
    """The numbers of processes that double each time and that the batch can be cut for, up to MOST."""
    found = list[int]()
    with suppress(UserError):
        while not found or found[-1] < MOST:
            number = 2 * found[-1] if found else 1
            slices_of(settings.train, 0, number)
            found.append(number)
    return found


def one_of(settings: Config, measured: Measured, link: Link, number: int) -> Predicted:
    """A step on so many processes."""
    return scaling.predicted(measured.shares, settings.train.batch, measured.size, link, number)


def measure(settings: Config, request: watched.Request) -> Measured:
    """What this machine takes: on one process, and on as many as it has places for, two and four. Raises UserError if one
    process cannot."""
    warn_of_other_work()
    found = answer(request, (checks.SHARES,), watched.alone())[checks.SHARES]
    if found.status != "told":
        raise UserError(f"a step could not be measured: {found.said}")
    there = gpus()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    places = there or max(2, cores)
    link, steps = None, dict[int, float]()
    for number in (2, 4):
        if number > places or number not in cuts(settings):
            continue
        names = ("all_reduce", checks.STEP) if number == 2 else (checks.STEP,)
        several = answer(request, names, watched.several(number, on_cpu=not there))
        if (sums := several.get("all_reduce")) and sums.status == "told":
            small, large = ((SIZES[name], sums.values[name]["us"] / 1e6) for name in ("4 KB", "25 MB"))
            link = scaling.measured_link(small, large)
        if several[checks.STEP].status == "told":
            steps[number] = several[checks.STEP].values["seconds"]
        else:
            print(f"warning: {number} processes could not be measured: {several[checks.STEP].said}")
    seconds = scaling.steady({int(share): took for share, took in found.values["seconds"].items()})
    return Measured(seconds, found.values["gradient_bytes"], link, steps)


def answer(request: watched.Request, names: Sequence[str], environments: list[dict[str, str]]) -> dict[str, Result]:
    """What workers answer to some checks."""
    chosen = [check for check in checks.PLANNED if check.name in names]
    return {one.name: one for one in watched.answered(replace(request), chosen, environments)}


def row(work: Work, one: Predicted, single: Predicted, measured: Measured) -> Planning:
    """What is said of a number of processes."""
    return Planning(
        processes=one.processes,
        step_seconds=one.step,
        exchange_share=one.exchange / one.step,
        samples_per_second=work.batch / one.step,
        efficiency=single.step / one.step / one.processes,
        hours=work.steps * one.step / 3600,
        memory=work.memory.weights + work.memory.data + work.memory.activations // one.processes,
        measured_seconds=measured.steps.get(one.processes),
    )


def shown(one: Planning) -> str:
    """A line of the table."""
    step = f"{1e3 * one.step_seconds:,.2f} ms"
    share = f"{one.exchange_share:.0%}"
    speed, memory = f"{one.samples_per_second:,.0f}", f"{one.memory / 1e6:,.0f} MB"
    return f"{one.processes:9} {step:>9}  {share:>8}  {speed:>9}  {one.efficiency:>10.0%}  {one.hours:9.3f}  {memory:>14}"


def gpus() -> int:
    """How many GPUs a training would use here."""
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes")
    return torch.cuda.device_count() if torch.cuda.is_available() and not on_cpu else 0


def numbers(text: str) -> tuple[int, ...]:
    """``1,2,4`` as numbers. Raises UserError for anything else."""
    return tuple(_numbers(text))


def _numbers(text: str) -> Iterator[int]:
    for word in text.split(","):
        if not word.strip().isdecimal() or not 0 < int(word) <= 10**6:
            raise UserError(f"--processes {text}: expected numbers of processes such as 1,8,64")
        yield int(word)
