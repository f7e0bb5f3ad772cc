"""What this machine can do, whether the promises hold on it, and what to do where they do not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from pipeline import __version__, files
from pipeline.config import Config
from pipeline.distributed import process
from pipeline.errors import UserError, quoted
from pipeline.stages.advice.examination import checks, watched
from pipeline.stages.advice.examination.results import Result, result
from pipeline.stages.terminal import streams
from pipeline.stages.terminal.machine_answers import Examination, Examined

ON_CPU = {"ACCELERATE_USE_CPU": "true"}.items()
SHOWN = {"pass": "pass", "fail": "FAIL", "not here": "not here", "told": "", "error": "error"}


def doctor(settings: Config | None, file: Path | None, overrides: Sequence[str], only: Sequence[str]) -> int:
    """Examine this machine, or as one of several processes all of theirs; 2 if a promise does not hold, else 0.

    ``only``: the names of the checks to make; none: all. Raises UserError if one of them has no check.
    """
    refuse_unknown(only)
    began = time.monotonic()
    folder = files.path(settings.run.dir if settings and settings.run.dir else "runs").absolute()
    request = watched.Request("alone", folder, file, tuple(overrides), tuple(only))
    launched = process.launched()
    speaks = not launched or os.environ["RANK"] == "0"
    found = list[Result]()
    for one in as_one_of_several(request, speaks) if launched else on_its_own(request):
        found.append(one)
        if speaks:
            print("\n".join(lines(one)), flush=True)
    failed = [one for one in found if one.status == "fail"]
    if speaks:
        conclude(found, time.monotonic() - began)
    return 2 if failed and speaks else 0  # a launcher ends all when the first one fails, and the main process has more to say


def refuse_unknown(only: Sequence[str]) -> None:
    """Raise UserError for a name that no check has."""
    known = {check.name: None for check in (*checks.ALONE, *checks.LAUNCHED)}
    if other := [name for name in only if name not in known]:
        raise UserError(f"--only {quoted(other[0])}: no such check; there are {', '.join(known)}")


def on_its_own(request: watched.Request) -> Iterator[Result]:
    """All checks of one process, and of as many as this machine has GPUs, or of two on its CPUs."""
    known = dict[str, Result]()
    for one in watched.answered(request, checks.ALONE, watched.alone()):
        known[one.name] = one
        yield one
    gpus = torch.cuda.device_count() if torch.cuda.is_available() and not os.environ.items() >= ON_CPU else 0
    several = replace(request, which="several")
    for number in [2, 4, 8]:
        if number > (gpus or 2):
            break
        for one in watched.answered(several, checks.SEVERAL, watched.several(number, on_cpu=not gpus)):
            named = replace(one, name=f"{one.name}_{number}", title=f"{one.title}, {number} processes")
            yield compared(named, known.get("exact_1")) if one.name == checks.OF_EXACT else named
    if gpus == 1 and (not request.only or checks.OF_EXACT in request.only):
        exact = next(check for check in checks.SEVERAL if check.name == checks.OF_EXACT)
        yield result(replace(exact, name="exact_2", title="exact mode, 2 processes"), "not here", "there is one GPU")


def as_one_of_several(request: watched.Request, speaks: bool) -> Iterator[Result]:
    """The checks of all processes of a launch together; process 0 then compares with one process alone."""
    several = watched.answered(replace(request, which="launched"), checks.LAUNCHED, watched.launched())
    exact = None
    for one in several:
        if one.name == checks.OF_EXACT:
            exact = one
        else:
            yield one
    if exact is None:
        return
    single = None
    if speaks and exact.status == "pass":
        names = [check for check in checks.ALONE if check.name == "exact_1"]
        single = next(watched.answered(replace(request, only=()), names, watched.alone()), None)
    yield compared(exact, single)


def compared(one: Result, single: Result | None) -> Result:
    """The result of exact mode on several processes, held against that of one."""
    own, alone = one.values.get("sha256"), single.values.get("sha256") if single else None
    if one.status != "pass" or not alone:
        return one
    if own == alone:
        return replace(one, said=f"{one.said}, as one process gives")
    do = "send the JSON of this command to the authors (README); a run gives the same bits on one number of processes only"
    return replace(one, status="fail", said=f"{one.said}, and one process gives {alone[:12]}", do=do)


def lines(one: Result) -> Iterator[str]:
    """A check as lines of the table."""
    yield f"{SHOWN[one.status]:8}  {one.title:28}  {one.said}"
    if one.do and one.status != "pass":
        yield f"{'':8}  {'':28}  -> {one.do}"
    for warning in one.warnings:
        yield f"warning: {one.title}: {warning}"


def conclude(found: Sequence[Result], seconds: float) -> None:
    """The last line, and the JSON if it is wanted."""
    promises = [one for one in found if one.kind == "promise"]
    counts = {status: sum(one.status == status for one in promises) for status in ("pass", "fail", "not here")}
    failed = [one.name for one in promises if one.status == "fail"]
    more = f": {', '.join(failed)}" if failed else ""
    streams.say(f"{counts['pass']} promises hold, {counts['fail']} FAIL{more}; {counts['not here']} are not of this machine")
    made = [Examination(**asdict(one)) for one in found]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    streams.answer(Examined(version=__version__, time=now, seconds=seconds, failed=failed, checks=made))
