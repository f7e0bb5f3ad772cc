"""prepared/ -> tuning/NAME/: which batch, how many threads and which rate to train with."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch

from pipeline import files
from pipeline.config import Config
from pipeline.data.prepared import Prepared, open_prepared
from pipeline.data.sources import progress
from pipeline.data.store import Store, resident_limit
from pipeline.distributed import world
from pipeline.errors import UserError
from pipeline.report.plots import canvas
from pipeline.report.plots.training import rate_range
from pipeline.stages.assembly import make_batches, make_state
from pipeline.training import loop
from pipeline.tuning import memory
from pipeline.tuning.batch_search import SMALLEST, Memory, Sizes, Trial, fastest, find_batch, memory_of, speeds_of_threads
from pipeline.tuning.gpu_kernels import slow
from pipeline.tuning.measure import Steps, is_out_of_memory
from pipeline.tuning.range_test import RATES, RangeTest, range_test, suggestion

if TYPE_CHECKING:
    from accelerate import Accelerator


WRITTEN = ("batch.json", "rate.json", "rate.png")
BATCH_SHARE, THREADS_SHARE = 0.4, 0.5  # of the budget, when the search for a batch and that for threads must be over
BEYOND = 4  # times the configured batch are tried, whatever they bring


def tune(settings: Config, file: str, budget: float) -> None:
    """Measure for about ``budget`` seconds, print what to type, and write tuning/NAME/, NAME being that of ``file``.

    Models and optimisers are of its own: no run folder is opened, and random states, threads and deterministic flags are
    put back. Raises UserError if several processes were started, or if ``train.batch`` does not fit into memory.
    """
    refuse_processes(file)
    folder = Path("tuning") / Path(file).stem
    refuse_other_files(folder)
    warn_of_other_work()
    began = monotonic()
    measuring = progress.Bar("tuning", math.ceil(budget), " s", lambda: int(monotonic() - began))
    with world.world(settings.run, settings.train.precision) as accelerator, measuring:
        device, batch = accelerator.device, settings.train.batch
        prepared = open_prepared(settings.data, verify=["train"])
        said = slow(settings.model, settings.train.precision, prepared.manifest.features)
        if said and device.type == "cuda":
            print(f"warning: {said}")
        limit = resident_limit(settings.data.resident_limit_mb, device)
        store = Store(prepared.part("train"), device, limit)
        steps = partial(training, settings, prepared, store, accelerator)
        floor = memory.peak(device)
        trials = list(tried(settings, steps, store, floor, began + BATCH_SHARE * budget))
        speeds = {trial.batch: trial.samples_per_second for trial in trials if trial.samples_per_second}
        with refused_if_too_large(batch, trials, floor, device):
            threads = {}
            if device.type == "cpu":
                threads = threads_tried(steps, sorted({batch, fastest(speeds)}), began + THREADS_SHARE * budget)
            seconds = batch / speeds[max((size for size in speeds if size <= batch), default=min(speeds))]  # a step, about
            test = range_test(steps, batch) if enough_time(began + budget - monotonic(), seconds) else None
            rate = rate_found(test) if test else None
    facts = {"device": device.type, "configured": batch, "largest": max(speeds), "fastest": fastest(speeds), "threads": threads}
    write(folder, facts | {"trials": [asdict(trial) for trial in trials]}, test, rate)
    print(f"written: {folder}")


def refuse_processes(file: str) -> None:
    """Raise UserError if this is one of several processes."""
    if (number := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise UserError(
            f"tune measures one process, and {number} were started; type: python -m pipeline tune --config {file}\n"
            f"train.batch counts all processes together: {number} of them hold {number} times what fits into one"
        )


def refuse_other_files(folder: Path) -> None:
    """Raise UserError if ``folder``, which will be replaced, holds what is not of this stage."""
    if folder.exists() and (other := sorted({path.name for path in folder.iterdir()} - set(WRITTEN))):
        raise UserError(f"{folder}: holds other files ({', '.join(other[:3])}) and would be replaced; move them elsewhere")


@contextmanager
def refused_if_too_large(batch: int, trials: list[Trial], floor: int, device: torch.device) -> Iterator[None]:
    """Raise UserError if the configured ``batch`` did not fit in ``trials``, might not, or does not in the block."""
    fitting = [trial for trial in trials if trial.samples_per_second]
    last, end = fitting[-1].batch if fitting else 0, trials[-1].end
    more = ", or a larger --budget to find out" if end and end.kind == "time" else ""
    error = UserError(
        f"train.batch = {batch} may not fit into memory; type train.batch={last or 1}, or train.accumulate=2 or more{more}"
    )
    if batch > last:
        small = not fitting or (end is not None and end.kind == "memory")
        if small or memory_of(batch / last, floor, fitting[-1].memory) > memory.room(device):
            raise error
    try:
        yield
    except RuntimeError as problem:
        if not is_out_of_memory(problem):
            raise
        raise error from None


def warn_of_other_work() -> None:
    """Say so if this machine is busy already: steps that are interrupted look slow, long ones more than short ones."""
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load > cores / 2:
        print(f"warning: a load of {load:.1f} on {cores} cores: other work disturbs these speeds, most of all those of large")
        print("batches and of several threads; measure again when it is over (the learning rate does not depend on it)")


def training(
    settings: Config,
    prepared: Prepared,
    store: Store,
    accelerator: Accelerator,
    batch: int,
    rate: Callable[[int], float],
) -> Iterator[loop.Report]:
    """The reports of a new training from the seed, as configured but for the global batch and the rate of each step.

    It has no end, and stops at a loss that is not finite.
    """
    changes = {"batch": batch, "epochs": 10**9, "on_nonfinite": "stop"}
    settings = settings.model_copy(update={"train": settings.train.model_copy(update=changes)})
    state = make_state(settings, prepared, accelerator)
    slices = slices_of_one(settings)
    batches = make_batches(settings, prepared, store, slices, range(slices))
    yield from loop.train(state, batches, settings.train, settings.optim, settings.run.seed, rate)


def slices_of_one(settings: Config) -> int:
    """Into how many slices one process cuts the global batch."""
    return settings.train.gradient_shards or settings.train.accumulate


def tried(settings: Config, steps: Steps, store: Store, floor: int, deadline: float) -> Iterator[Trial]:
    """The trials of global batches, each printed, and then which to take."""
    slices, device = slices_of_one(settings), store.device
    first = slices * -(-SMALLEST // slices)
    used = Memory(floor, partial(memory.peak, device), partial(memory.room, device))
    sizes = Sizes(first, BEYOND * settings.train.batch, store.count)
    print("train.batch   samples/s  peak memory")
    trials = []
    for trial in find_batch(steps, sizes, used, deadline):
        if trial.samples_per_second:
            print(f"{trial.batch:11}  {trial.samples_per_second:10,.0f}  {trial.memory / 1e6:8,.0f} MB", flush=True)
            trials.append(trial)
        yield trial
    assert trial.end
    print(f"no larger batch: {trial.end.text}")
    if trials:
        best = fastest({trial.batch: trial.samples_per_second for trial in trials})
        largest = "largest that fits" if trial.end.kind == "memory" else "largest that was tried"
        print(f"{largest}: train.batch={trials[-1].batch}\nsmallest within 3 % of the most samples/s: train.batch={best}")
        print("this is one process; train.batch counts all of them together, so that P processes hold P times as much")


def threads_tried(steps: Steps, batches: list[int], deadline: float) -> dict[int, dict[int, float]]:
    """Samples/s of global batches by number of threads, printed, and which number to take."""
    cores = len(os.sched_getaffinity(0))
    numbers = sorted({cores, *(2**power for power in range(cores.bit_length()))})
    found = {}
    for batch in batches:
        found[batch] = speeds_of_threads(steps, batch, numbers, deadline)
        speeds = ", ".join(f"{number}: {speed:,.0f}" for number, speed in found[batch].items())
        print(
            f"samples/s at batch {batch} by threads: {speeds}; for one process alone type run.threads={fastest(found[batch])}"
        )
    return found


def enough_time(left: float, seconds: float) -> bool:
    """Whether the steps of a range test, of ``seconds`` each, fit into the time that is ``left``; if not, with a word."""
    needed = RATES * seconds
    if needed > left:
        print(f"no range test: its {RATES} steps take about {needed:,.0f} s; type --budget {math.ceil(2.5 * needed)}")
    return needed <= left


def rate_found(test: RangeTest) -> float | None:
    """The suggested rate, printed."""
    rate = suggestion(test)
    print(f"range test: {len(test.rates)} steps; {test.end.text}")
    if rate is None:
        print("no rate can be suggested: the loss never fell; look at the data, data.normalize and optim.clip")
    else:
        print(f"type optim.lr={rate:g} (the peak of the schedule)")
    return rate


def write(folder: Path, batch: dict[str, Any], test: RangeTest | None, rate: float | None) -> None:
    """Replace ``folder`` as a whole."""
    with files.disk_errors("the measurements", folder), files.whole_folder(folder, replace=True) as new:
        files.write_json(new / "batch.json", batch)
        if test:
            files.write_json(new / "rate.json", {"suggestion": rate} | asdict(test))
            with canvas.attempt(new / "rate.png"):
                rate_range(new / "rate.png", test.rates, test.losses, test.smoothed, rate)
        refuse_other_files(folder)
