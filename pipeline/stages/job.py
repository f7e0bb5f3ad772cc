"""One attempt at a run: what it is made of, where it goes on, and what it says first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline import config, files
from pipeline.config import Config
from pipeline.data.batches import Batches
from pipeline.data.manifest import NAMES, Name
from pipeline.data.preparation import staging
from pipeline.data.preparation.folder import prepare, refuse_changed
from pipeline.data.prepared import Prepared, folder_of, open_prepared
from pipeline.data.store import Store, resident_limit, stores
from pipeline.distributed import collectives, world
from pipeline.errors import DataError, RunError, UserError
from pipeline.model.torch_private import cpu_has_bf16
from pipeline.run import advice, checkpoints, marks, placing
from pipeline.run.environment import Program, program
from pipeline.run.folder import enter, keep_free, seen
from pipeline.run.log import Progress
from pipeline.stages.assembly import assert_same_data, fitted, fitting_batches, make_batches, make_state, slices_of, with_batch
from pipeline.stages.terminal import streams
from pipeline.training.graphs.fitting import launching
from pipeline.training.selection import Selection
from pipeline.training.state import State, recurrent_dtype
from pipeline.tuning.processes import fastest, multiplications

if TYPE_CHECKING:
    from accelerate import Accelerator


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


def meet(settings: Config) -> AbstractContextManager[Accelerator]:
    """The processes of this launch, as training needs them."""
    train, exact = settings.train, bool(settings.train.gradient_shards)
    return world.world(settings.run, train.precision, train.accumulate == 1, exact)


def begin(settings: Config, accelerator: Accelerator, stack: ExitStack) -> Job:
    """Open the data and the run folder, and bring the state to its newest checkpoint; ``stack`` closes them. Collective."""
    prepared = staging.on_each_host(verified(settings, accelerator), settings.data.stage, accelerator.is_local_main_process)
    made_by = program()
    versions = {
        "configuration": config.dump(settings),
        "prepared data": prepared.digest,
        "version of torch": made_by.torch,
        "version of the code": made_by.code,
    }
    collectives.assert_same(versions, UserError, "give all processes the same")
    settings, folder = placed(settings, prepared, stack)
    slices, mine = slices_of(settings.train, collectives.rank(), collectives.world_size())
    collectives.on_main(lambda: enter(folder, settings, collectives.world_size()))
    collectives.patiently(lambda: seen(folder))
    state = make_state(settings, prepared, accelerator)
    found = resume(folder, state, prepared)
    finished: bool = collectives.gather(bool(found and checkpoints.is_finished(found)))[0]
    selection = go_on(found, state, made_by) if found and not finished else Selection()
    collectives.on_main(lambda: keep_free(folder, settings))
    parts = [part for part in prepared.manifest.parts if part != "test" or settings.train.watch_test]
    setting, device = settings.data.resident_limit_mb, accelerator.device
    limit = resident_limit(setting, device)
    store = collectives.together(lambda: stores({part: prepared.part(part) for part in parts}, device, setting, limit))
    batches = make_batches(settings, prepared, store["train"], slices, mine)
    return Job(settings, folder, prepared, store, batches, state, found, finished, made_by, selection)


def verified(settings: Config, accelerator: Accelerator) -> Prepared:
    """The prepared data, made if it is not there, and compared with what it was. Collective."""
    prepared = collectives.together(lambda: ready(settings.data))
    if_first = NAMES if accelerator.is_local_main_process else ()
    collectives.patiently(lambda: refuse_changed(settings.data, prepared, if_first, raw=collectives.rank() == 0))
    return prepared


def placed(settings: Config, prepared: Prepared, stack: ExitStack) -> tuple[Config, Path]:
    """``settings`` with a batch that the data can fill, and the run folder, held by the main process until ``stack`` ends.

    A run whose batch was made to fit before goes on with that batch, whatever the number of processes is now.
    """
    default = settings.train.batch
    settings = fitted(settings, prepared, collectives.world_size())
    slices_of(settings.train, collectives.rank(), collectives.world_size())  # which refuses, before a folder is made
    batches = fitting_batches(settings, prepared) if settings.train.batch != default else frozenset[int]()
    wanted = placing.Wanted(settings, prepared.digest, batches)
    taken: list[tuple[Path, list[str]]] = []
    collectives.on_main(lambda: taken.append(placing.take(wanted, stack)))
    batch = placing.batch_of(taken[0][0], wanted) if taken else 0
    answer: list[Any] = collectives.gather([str(taken[0][0]), batch] if taken else None)[0]
    folder, batch = files.path(answer[0]), answer[1]
    settings = with_batch(settings, batch)
    if taken and prepared.manifest.adapted:
        print(prepared.manifest.adapted)
    if taken and batch != default:
        number = prepared.manifest.parts["train"].count
        print(f"train.batch = {batch}, as the default of {default} is more than the {number} training examples")
    if taken and (others := "; ".join(taken[0][1])):
        streams.note(f"{placing.first_choice(settings)}: belongs to another run ({others}); this one is {folder}")
    run = settings.run.model_copy(update={"dir": str(folder)})
    return settings.model_copy(update={"run": run}), folder


def ready(data: config.Data) -> Prepared:
    """The prepared folder of ``data``, made if it is not there: by one process, while the others wait for it."""
    if not folder_of(data).exists():
        made = prepare(data)
        if made.made:
            print("\n".join([f"{made.folder}: prepared", *(f"warning: {line}" for line in made.manifest.doubts)]))
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
            print(f"warning: skipped {reason}")
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
        print(f"{folder.parent}: resuming after step {found.step}")
        for line in changes(found, state, made_by):
            streams.note(f"{folder.parent}: {line}")
        if problem:
            streams.note(f"{best}: {problem}; it was the best so far, and another is chosen from step {found.step} on")
    selection = Selection() if problem else selection
    collectives.on_main(lambda: marks.mark(folder, "best", None if selection.value is None else selection.step))
    collectives.on_main(lambda: marks.mark(folder, "finished", None))
    return selection


def changes(found: checkpoints.Checkpoint, state: State, made_by: Program) -> Iterator[str]:
    """What is other than when that checkpoint was saved."""
    if (before := found.facts.processes) != collectives.world_size():
        yield f"number of processes was {before}, goes on with {collectives.world_size()}"
    if found.facts.program not in (None, made_by):
        yield f"trained so far by {found.facts.program}, goes on by {made_by}"
    yield from checkpoints.moved(found, state)


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
    if device == "cuda":
        progress.say(launching(state, batches, options))
    for remark in batches.remarks():
        progress.say(remark)


def run_folder(run: Path | None, file: Path | None, overrides: Sequence[str]) -> Path:
    """The run folder that a command was given, or that of the run of a configuration.

    Raises UserError if neither or both are given, RunError if nothing was trained with that configuration.
    """
    if run is not None and file is None and not overrides:
        return run
    if run is not None or file is None:
        raise UserError("give one run: --run RUN, or --config FILE and the overrides that it was trained with")
    settings = config.load(file, overrides)
    digest, batches = None, frozenset[int]()
    with suppress(DataError):
        prepared = open_prepared(settings.data, verify=())
        digest = prepared.digest
        if "batch" not in settings.train.model_fields_set:
            batches = fitting_batches(settings, prepared)
    found = placing.find(placing.Wanted(settings, digest, batches)) or placing.find(placing.Wanted(settings, None, batches))
    if found is None:
        first = placing.first_choice(settings)
        raise RunError(
            f"{first}: no run of {file}{' with these overrides' * bool(overrides)} is there; type: "
            f"{advice.configured('train', str(file), overrides)}"
        )
    return found


def usual_processes(settings: Config) -> int:
    """The number of processes on this machine's CPUs that trains this model fastest; 1 where the batch cannot be cut, and on a
    GPU. The data is prepared if it is not there."""
    if torch.accelerator.is_available() and os.environ.get("ACCELERATE_USE_CPU", "").lower() not in ("true", "1", "yes"):
        return 1
    prepared = ready(settings.data)
    manifest, cores = prepared.manifest, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    settings = fitted(settings, prepared, 1)
    lengths = manifest.parts["train"].lengths
    work = multiplications(settings.model, manifest.features, int(lengths[2]) if lengths else manifest.length)
    steps = settings.train.epochs * -(-manifest.parts["train"].count // settings.train.batch)
    number = fastest(work * settings.train.batch, steps, cores // settings.run.threads)
    with suppress(UserError):
        slices_of(settings.train, 0, number)
        return number
    return 1
