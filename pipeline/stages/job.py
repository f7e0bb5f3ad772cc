"""One attempt at a run: what it is made of, where it goes on, and what it says first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pipeline import config, files
from pipeline.config import Config
from pipeline.data.batches import Batches
from pipeline.data.manifest import NAMES, Name
from pipeline.data.preparation.folder import prepare, refuse_changed
from pipeline.data.prepared import Prepared, folder_of, open_prepared
from pipeline.data.store import Store
from pipeline.distributed import collectives, world
from pipeline.errors import RunError, UserError
from pipeline.model.torch_private import cpu_has_bf16
from pipeline.run import checkpoints, marks
from pipeline.run.environment import Program, program
from pipeline.run.folder import enter, keep_free, writer
from pipeline.run.log import Progress
from pipeline.stages.assembly import assert_same_data, fitted, make_batches, make_state, slices_of
from pipeline.training.selection import Selection
from pipeline.training.state import State, recurrent_dtype


@dataclass(frozen=True)
class Job:
    """One attempt at a run: what is trained, on what, and where it is kept."""

    settings: Config
    folder: Path
    prepared: Prepared
    store: Mapping[Name, Store]
    batches: Batches
    state: State
    found: checkpoints.Checkpoint | None  # where the run goes on
    finished: bool
    made_by: Program
    selection: Selection  # as it was before the evaluation there

    @property
    def steps(self) -> int:
        """The optimiser steps of the whole run."""
        return self.settings.train.epochs * self.batches.steps_per_epoch


def begin(settings: Config, stack: ExitStack) -> Job:
    """Meet the other processes, open the data and the run folder, and bring the state to its newest checkpoint.

    What must be closed in the end is on ``stack``.
    """
    folder = files.path(settings.run.dir)
    accelerator = stack.enter_context(world.world(settings.run, settings.train.precision, settings.train.accumulate == 1))
    prepared = collectives.together(lambda: ready(settings.data))
    if_first = NAMES if accelerator.is_local_main_process else ()
    collectives.patiently(lambda: refuse_changed(settings.data, prepared, if_first, raw=collectives.rank() == 0))
    chosen = settings.train.batch
    settings = fitted(settings, prepared, collectives.world_size())
    if settings.train.batch != chosen and collectives.rank() == 0:
        count = prepared.manifest.parts["train"].count
        print(f"train.batch = {settings.train.batch}, as the default of {chosen} is more than the {count} training examples")
    made_by = program()
    versions = {
        "configuration": config.dump(settings),
        "prepared data": prepared.digest,
        "version of torch": made_by.torch,
        "version of the code": made_by.code,
    }
    collectives.assert_same(versions, UserError, "give all processes the same")
    slices, mine = slices_of(settings.train, collectives.rank(), collectives.world_size())
    collectives.on_main(lambda: stack.enter_context(writer(folder)))
    collectives.on_main(lambda: enter(folder, settings, collectives.world_size()))
    state = make_state(settings, prepared, accelerator)
    found = resume(folder, state, prepared)
    finished: bool = collectives.gather(bool(found and checkpoints.is_finished(found)))[0]
    selection = go_on(found, state, made_by) if found and not finished else Selection()
    collectives.on_main(lambda: keep_free(folder, settings))
    parts = [part for part in prepared.manifest.parts if part != "test" or settings.train.watch_test]
    limit = settings.data.resident_limit_mb
    store = collectives.together(lambda: {part: Store(prepared.part(part), accelerator.device, limit) for part in parts})
    batches = make_batches(settings, prepared, store["train"], slices, mine)
    return Job(settings, folder, prepared, store, batches, state, found, finished, made_by, selection)


def ready(data: config.Data) -> Prepared:
    """The prepared folder of ``data``, made if it is not there: by one process, while the others wait for it."""
    if not folder_of(data).exists():
        made = prepare(data)
        if made.made:
            print(f"{made.folder}: prepared")
    return open_prepared(data, verify=())


def resume(folder: Path, state: State, prepared: Prepared) -> checkpoints.Checkpoint | None:
    """Bring ``state`` to the newest checkpoint that verifies; None for a new run.

    Raises RunError if that checkpoint is of other data, and UserError if the processes do not see the same one.
    """
    found, skipped = collectives.together(lambda: checkpoints.newest(folder / "checkpoints"))
    seen = {"newest checkpoint": str(found and found.step)}
    collectives.assert_same(seen, RunError, "run.dir must lie on a disk that all machines share")
    if found:
        assert_same_data(found, prepared)
        collectives.together(lambda: checkpoints.restore(found, state))
    if collectives.rank() == 0:
        for reason in skipped:
            print(f"skipped {reason}")
    return found


def go_on(found: checkpoints.Checkpoint, state: State, made_by: Program) -> Selection:
    """Say where a run goes on, and have the marks of its checkpoints fit the selection there, before one is removed.

    Where the best checkpoint is gone, the next evaluation chooses anew.
    """
    selection, folder = found.facts.selection, found.folder.parent
    best = folder / marks.name_of(selection.step)
    checked = collectives.rank() == 0 and selection.value is not None
    problem = collectives.gather(checkpoints.problem_of(best) if checked else None)[0]
    if collectives.rank() == 0:
        print("\n".join(f"{folder.parent}: {line}" for line in changes(found, state, made_by)))
        if problem:
            print(f"{best}: {problem}; it was the best so far, and another is chosen from step {found.step} on")
    selection = Selection() if problem else selection
    collectives.on_main(lambda: marks.mark(folder, "best", None if selection.value is None else selection.step))
    collectives.on_main(lambda: marks.mark(folder, "finished", None))
    return selection


def changes(found: checkpoints.Checkpoint, state: State, made_by: Program) -> Iterator[str]:
    """Where a run goes on, and what is other than when that checkpoint was saved."""
    yield f"resuming after step {found.step}"
    if (before := found.facts.processes) != collectives.world_size():
        yield f"number of processes was {before}, goes on with {collectives.world_size()}"
    if found.facts.program not in (None, made_by):
        yield f"trained so far by {found.facts.program}, goes on by {made_by}"
    if found.facts.cpu_lstm != state.lanes:
        yield f"recurrent layers go on {state.layers}, which rounds differently from what trained them so far"


def pins(job: Job) -> bool:
    """Whether a process keeps to cores of its own."""
    run, on_cpu = job.settings.run, job.batches.store.device.type == "cpu"
    return run.pin and run.threads == 1 and on_cpu and hasattr(os, "sched_setaffinity")


def describe(job: Job, progress: Progress) -> None:
    """Say what is about to be done, and where."""
    state, batches, options = job.state, job.batches, job.settings.train
    number, device = collectives.world_size(), batches.store.device.type
    parameters = sum(parameter.numel() for parameter in state.model.parameters())
    computes = str(recurrent_dtype(state)).removeprefix("torch.")
    work = f"steps {state.step} to {job.steps}, {batches.batch} examples a step"
    processes = "1 process" if number == 1 else f"{number} processes"
    progress.say(f"{processes} on {device}: {parameters:,} parameters, {work}, recurrent layers in {computes} {state.layers}")
    if options.precision == "bf16" and device == "cpu" and not cpu_has_bf16():
        progress.say("this processor has no instructions for bf16; train.precision=fp32 is likely to be faster")
    if batches.store.lengths is not None:
        other = f", {batches.padding(False):.0%} without buckets" if batches.bucket else "; train.bucket=true lessens it"
        progress.say(f"padding: {batches.padding(batches.bucket):.0%} of the steps{other}")
