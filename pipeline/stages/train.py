"""prepared/ -> runs/NAME/."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline import config, faults, files
from pipeline.config import Config
from pipeline.data.batches import Batches
from pipeline.data.manifest import Name
from pipeline.data.preparation.folder import refuse_changed
from pipeline.data.prepared import Prepared, open_prepared
from pipeline.data.store import Store
from pipeline.distributed import collectives, cores, stop_signal, world
from pipeline.errors import CorruptionError, NonFiniteError, RunError, Stopped, UserError
from pipeline.run import checkpoints, saving
from pipeline.run.environment import code_digest
from pipeline.run.folder import enter, keep_free, writer
from pipeline.run.log import Log, Progress
from pipeline.run.saving import Writer
from pipeline.stages.assembly import assert_same_data, make_batches, make_state, refuse_batch, slices_of
from pipeline.training import loop
from pipeline.training.evaluation import evaluate
from pipeline.training.selection import Selection
from pipeline.training.state import State, recurrent_dtype

if TYPE_CHECKING:
    from accelerate import Accelerator


WATCHED = 2000  # test examples that train.watch_test looks at


def train(settings: Config) -> None:
    """Train the run in ``run.dir``, from its newest checkpoint if it has one; do nothing if it is finished.

    Raises Stopped after a signal, once the run is saved.
    """
    folder = files.path(settings.run.dir)
    with ExitStack() as stack:
        accelerator = stack.enter_context(world.world(settings.run, settings.train.precision, settings.train.accumulate == 1))
        prepared = collectives.together(lambda: open_prepared(settings.data, accelerator.is_local_main_process))
        collectives.on_main(accelerator, lambda: refuse_changed(settings.data, prepared))
        refuse_batch(settings.train, prepared)
        versions = {
            "configuration": config.dump(settings),
            "prepared data": prepared.digest,
            "version of torch": torch.__version__,
            "version of the code": code_digest(),
        }
        collectives.assert_same(versions, UserError, "give all processes the same")
        slices, mine = slices_of(settings.train, accelerator.process_index, accelerator.num_processes)
        collectives.on_main(accelerator, lambda: stack.enter_context(writer(folder)))
        collectives.on_main(accelerator, lambda: enter(folder, settings, accelerator.num_processes))

        state = make_state(settings, prepared, accelerator)
        found = resume(folder, state, prepared, accelerator)
        collectives.on_main(accelerator, lambda: keep_free(folder, settings))
        if found and checkpoints.is_finished(found):
            if accelerator.is_main_process:
                print(f"{folder}: finished at step {state.step}, nothing to do; next: make eval RUN={folder}")
            return
        limit = settings.data.resident_limit_mb
        parts = [part for part in prepared.manifest.parts if part != "test" or settings.train.watch_test]
        store = collectives.together(lambda: {part: Store(prepared.part(part), accelerator.device, limit) for part in parts})
        batches = make_batches(settings, prepared, store["train"], slices, mine)
        run(settings, folder, state, batches, store, found, prepared, accelerator)


def run(
    settings: Config,
    folder: Path,
    state: State,
    batches: Batches,
    store: Mapping[Name, Store],
    found: checkpoints.Checkpoint | None,
    prepared: Prepared,
    accelerator: Accelerator,
) -> None:
    """Take the steps that are left; log, evaluate and save when each is due.

    A checkpoint holds the selection before the evaluation at its own step. That evaluation, which is a function of
    the checkpoint, is made again when the run is resumed there, so that it may be interrupted at any point.
    """
    options, per_epoch = settings.train, batches.steps_per_epoch
    steps = options.epochs * per_epoch
    evaluate_every = config.interval(options.evaluate_every, per_epoch)
    save_every = config.interval(options.checkpoint_every, per_epoch)
    selection = Selection(**found.facts["selection"]) if found else Selection()
    planned, rank = faults.planned(), accelerator.process_index

    with (
        Writer(folder / "checkpoints", options.keep_last) as saver,
        stop_signal.StopSignal(lambda: saver.failed or log.failed) as stop,
        Progress(steps, state.step, accelerator.is_main_process) as progress,
        Log(settings, folder, state.step, per_epoch, len(prepared.manifest.class_names), accelerator, progress) as log,
        # after the trackers, whose processes would be bound too; threads of torch's pool, which are there already, are not
        cores.pinned() if pins(settings.run, accelerator) else nullcontext(),
    ):

        def settle() -> bool:
            """Evaluate and save if due; whether the run ends here. Raises Stopped after a signal."""
            nonlocal selection
            step, before = state.step, selection
            last = step == steps
            evaluates = "valid" in store and (step % evaluate_every == 0 or last)
            if evaluates or step % save_every == 0 or last:
                refuse_nonfinite(state)
            if evaluates:
                rows = evaluate(state.best_model, store["valid"], accelerator, stop=partial(stop.agreed, True))
                selection = log.validation(step, rows, selection) if rows else selection
            early = 0 < options.early_stopping <= selection.stale
            stopped = stop.agreed()
            best = selection.step == step
            if step % save_every == 0 or best or last or early or stopped:
                refuse_nonfinite(state)
                compare(state, accelerator)
                facts = {"selection": asdict(before), "data": prepared.digest, "processes": accelerator.num_processes}
                facts["cpu_lstm"] = state.lanes

                def write() -> None:
                    log.check()
                    saver.save(saving.snapshot(state, facts))
                    if best:
                        saver.mark("best", step)

                collectives.on_main(accelerator, write)
            if stopped:
                collectives.on_main(accelerator, saver.wait)
                raise Stopped(
                    f"stopped by a signal and saved after step {step} of {steps}; the same command goes on from there"
                )
            if early and not last:
                progress.say(f"no better {options.monitor} in {selection.stale} evaluations: stopped early")
            return last or early

        progress.say(describe(state, batches, steps, accelerator))
        if options.precision == "bf16" and accelerator.device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported():
            progress.say("this processor has no instructions for bf16; train.precision=fp32 is likely to be faster")
        if batches.store.lengths is not None:
            other = f", {batches.padding(False):.0%} without buckets" if batches.bucket else "; train.bucket=true lessens it"
            progress.say(f"padding: {batches.padding(batches.bucket):.0%} of the steps{other}")
        ended = bool(found) and settle()
        for report in () if ended else loop.train(state, batches, options, settings.optim, settings.run.seed, accelerator):
            faults.strike(planned, rank, report.step, state.model)
            if report.step % options.log_every == 0 or report.step == steps:
                log.training(report)
            with log.paused():
                if options.compare_every and report.step % options.compare_every == 0:
                    compare(state, accelerator)
                if options.watch_test and report.step % options.watch_test == 0:
                    log.watched(report.step, evaluate(state.best_model, store["test"], accelerator, WATCHED))
                if settle():
                    break
        collectives.on_main(accelerator, lambda: saver.finish(state.step))
        progress.say(f"finished at step {state.step}{selection.describe(options.monitor)}; next: make eval RUN={folder}")


def pins(run: config.Run, accelerator: Accelerator) -> bool:
    """Whether a process keeps to cores of its own."""
    return run.pin and run.threads == 1 and accelerator.device.type == "cpu" and hasattr(os, "sched_setaffinity")


def compare(state: State, accelerator: Accelerator) -> None:
    """Raise CorruptionError if the processes, whose weights must be the same bit for bit, have other ones."""
    if accelerator.num_processes > 1:
        remedy = "its memory or its GPU may be failing; no checkpoint holds these weights: start the same command elsewhere"
        weights = {f"set of weights after step {state.step}": checkpoints.digest(state.model)}
        collectives.assert_same(weights, CorruptionError, remedy)


def refuse_nonfinite(state: State) -> None:
    """Raise NonFiniteError in all processes if the weights of one are not finite: no such weights are saved or chosen."""

    def check() -> None:
        state.check()
        if not all(bool(parameter.isfinite().all()) for parameter in state.model.parameters()):
            raise NonFiniteError(
                f"the weights after step {state.step} are not finite and were not saved; the same command goes on from "
                "the checkpoint before them. If they come again, lower optim.lr or set optim.clip in a new run"
            )

    collectives.together(check)


def describe(state: State, batches: Batches, steps: int, accelerator: Accelerator) -> str:
    """What is about to be done, and where."""
    number = accelerator.num_processes
    where = f"{number} process{'es' * (number > 1)} on {accelerator.device.type}"
    parameters = sum(parameter.numel() for parameter in state.model.parameters())
    computes = str(recurrent_dtype(state)).removeprefix("torch.")
    work = f"steps {state.step} to {steps}, {batches.batch} examples a step"
    return f"{where}: {parameters:,} parameters, {work}, recurrent layers in {computes} {state.layers}"


def resume(folder: Path, state: State, prepared: Prepared, accelerator: Accelerator) -> checkpoints.Checkpoint | None:
    """Bring ``state`` to the newest checkpoint that verifies; None for a new run.

    Raises RunError if that checkpoint is of other data, and UserError if the processes do not see the same one.
    """
    found, skipped = collectives.together(lambda: checkpoints.newest(folder / "checkpoints"))
    seen = {"newest checkpoint": str(found and found.step)}
    collectives.assert_same(seen, RunError, "run.dir must lie on a disk that all machines share")
    if found:
        assert_same_data(found, prepared)
        collectives.together(lambda: checkpoints.restore(found, state))
    if accelerator.is_main_process:
        for reason in skipped:
            print(f"skipped {reason}")
        if found and not checkpoints.is_finished(found):
            print(f"{folder}: resuming after step {found.step}")
        if found and not checkpoints.is_finished(found) and found.facts["processes"] != accelerator.num_processes:
            print(f"{folder}: number of processes was {found.facts['processes']}, goes on with {accelerator.num_processes}")
        if found and not checkpoints.is_finished(found) and found.facts.get("cpu_lstm", 0) != state.lanes:
            print(f"{folder}: recurrent layers go on {state.layers}, which rounds differently from what trained them so far")
    return found
