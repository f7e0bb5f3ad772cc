"""prepared/ -> runs/NAME/."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from pipeline import config
from pipeline.config import Config
from pipeline.distributed import collectives, cores, stacks, stop_signal
from pipeline.errors import CorruptionError, NonFiniteError, Stopped
from pipeline.run import advice, checkpoints, saving
from pipeline.run.log import Log, Progress
from pipeline.run.saving import Writer
from pipeline.run.trackers import products
from pipeline.stages.assembly import warn_of_idle
from pipeline.stages.job import Job, begin, describe, meet, pins
from pipeline.training import loop
from pipeline.training.evaluation import Interrupted, Rows, evaluate
from pipeline.training.loop import Report
from pipeline.training.selection import Selection
from pipeline.training.state import State

if TYPE_CHECKING:
    from accelerate import Accelerator

WATCHED = 2000  # test examples that train.watch_test looks at
TRAINED = 10_000  # training examples, at most, that a run without a valid split is measured on at its end
FOLDS = 5  # of the cross-validation that is proposed then


def train(settings: Config) -> None:
    """Train the run in ``run.dir``, from its newest checkpoint if it has one; do nothing if it is finished.

    Raises Stopped after a signal, once the run is saved.
    """
    for _ in reports(settings):
        pass


def reports(settings: Config) -> Iterator[Report]:
    """``train``, with a report of each step once all that was due at it is done."""
    with meet(settings) as accelerator:
        warn_of_idle(settings)
        yield from attempt(settings, accelerator, following)


def attempt(settings: Config, accelerator: Accelerator, then: Callable[[Job], str]) -> Iterator[Report]:
    """``reports`` of processes that have met. ``then``: what is said at the end, besides that it is the end."""
    with ExitStack() as stack:
        job = begin(settings, accelerator, stack)
        if job.finished:
            said = then(job)
            if collectives.rank() == 0:
                print(f"{job.folder}: finished at step {job.state.step}, nothing to do")
                if said:
                    print(f"next: {said}")
            return
        yield from run(job, then)


def following(job: Job) -> str:
    """What to type next. Where nothing was held out, a cross-validation too."""
    evaluated = advice.of_run("evaluate", job.folder)
    if "valid" in job.store:
        return evaluated
    crossed = advice.configured("train", str(job.folder / "config.yaml"), [f"run.dir={job.folder}", f"train.folds={FOLDS}"])
    return f"{evaluated}; or, as nothing was held out, a cross-validation: {crossed}"


def run(job: Job, then: Callable[[Job], str]) -> Iterator[Report]:
    """Take the steps that are left; log, evaluate, save and stop when each is due.

    A checkpoint holds the selection before the evaluation at its own step. That evaluation, which is a function of
    the checkpoint, is made again when the run is resumed there, so that it may be interrupted at any point.
    """
    settings, state, store, batches, steps = job.settings, job.state, job.store, job.batches, job.steps
    options, per_epoch = settings.train, batches.steps_per_epoch
    evaluate_every = config.interval(options.evaluate_every, per_epoch)
    save_every = config.interval(options.checkpoint_every, per_epoch)
    selection = job.selection
    with (
        stacks.Watch(job.folder, collectives.rank(), collectives.world_size(), settings.run.timeout) as watch,
        Writer(job.folder / "checkpoints", options.keep_last) as saver,
        stop_signal.StopSignal(lambda: failing(watch, saver, log), settings.run.timeout) as stop,
        Progress(steps, state.step, collectives.rank() == 0, per_epoch, selection.shown(options.monitor)) as progress,
        Log(settings, job.folder, state.step, per_epoch, len(job.prepared.manifest.class_names), progress) as log,
        # after the trackers, whose processes would be bound too; threads of torch's pool, which are there already, are not
        cores.pinned() if pins(job) else nullcontext(),
    ):
        described(job, progress, log)
        state.say = progress.say
        resumed = [None] if job.found else []  # the step of the checkpoint, which has no report of its own
        for report in chain(resumed, loop.train(state, batches, options, settings.optim, settings.run.seed)):
            step, before, last = state.step, selection, state.step == steps
            if report and (step % options.log_every == 0 or last):
                log.training(report)
            with log.paused():
                if report and options.compare_every and step % options.compare_every == 0:
                    compare(state)
                if report and options.watch_test and step % options.watch_test == 0:
                    state.check()
                    log.watched(step, evaluate(state.best_model, store["test"], WATCHED))
                saves = step % save_every == 0 or last
                evaluates = "valid" in store and (step % evaluate_every == 0 or last)
                if saves or evaluates:
                    refuse_nonfinite(state)
                if evaluates:
                    with suppress(Interrupted):  # by what stops the run below
                        rows = evaluate(state.best_model, store["valid"], stop=partial(stop.agreed, True))
                        selection = log.validation(step, rows, selection)
                early, best = 0 < options.early_stopping <= selection.stale, selection.step == step
                stopped = stop.agreed()
                if saves or best or early or stopped:
                    save(job, before, best, saver, log)
            if stopped:
                collectives.on_main(saver.wait)
                raise Stopped(f"{stop.why} and saved after step {step} of {steps}; the same command goes on from there")
            if report:
                watch.rest()
                try:
                    yield report
                except GeneratorExit:  # whoever asked for the reports wants no more of them
                    if not (saves or best or early):
                        save(job, before, best, saver, log)
                    raise
                watch.beat()
            if early and not last:
                progress.say(f"no better {options.monitor} in {selection.stale} evaluations: stopped early")
            if early or last:
                break
        collectives.on_main(partial(finish, job, saver, log))
        watch.rest()
        progress.say(ending(job, selection, then))


def ending(job: Job, selection: Selection, then: Callable[[Job], str]) -> str:
    """What a run gave, and what to type next. Collective."""
    ended = f"finished at step {job.state.step}{selection.describe(job.settings.train.monitor)}"
    if "valid" not in job.store:
        ended += fitted_text(evaluate(job.state.best_model, job.store["train"], TRAINED))
    said = then(job)
    return f"{ended}; next: {said}" if said else ended


def described(job: Job, progress: Progress, log: Log) -> None:
    """Say what is about to be done, on the screen and to the trackers."""
    describe(job, progress)
    log.tracker.describe(facts_of(job))
    log.tracker.use(products.of_data(job.prepared))


def finish(job: Job, saver: Writer, log: Log) -> None:
    """Mark the run as finished. Called on the main process."""
    saver.finish(job.state.step)
    if log.tracker:
        log.tracker.produce(products.of_checkpoint(checkpoints.best(job.folder / "checkpoints")))


def facts_of(job: Job) -> dict[str, Any]:
    """What the trackers are told of a job besides its configuration."""
    manifest, parameters = job.prepared.manifest, sum(parameter.numel() for parameter in job.state.model.parameters())
    device = checkpoints.gpu_of(job.state) or job.batches.store.device.type
    data = {"fingerprint": job.prepared.digest, "classes": len(manifest.class_names), "features": manifest.features}
    data |= {name: part.count for name, part in manifest.parts.items()}
    made = {"python": platform.python_version(), **job.made_by.model_dump()}
    numbers = {"parameters": parameters, "processes": collectives.world_size(), "steps": job.steps}
    return numbers | {"device": device, "data": data, "versions": made}


def failing(watch: stacks.Watch, saver: Writer, log: Log) -> bool:
    """Whether a checkpoint or a record could not be written. Asked as long as this process goes on, in evaluations too."""
    watch.beat()
    return saver.failed or log.failed


def fitted_text(rows: Rows) -> str:
    """How well the training examples are known, as the end of a sentence; which is no measure of new ones."""
    return f"; accuracy {float((rows.labels == rows.predictions).mean()):.4f} on {len(rows.labels)} training examples"


def save(job: Job, selection: Selection, best: bool, saver: Writer, log: Log) -> None:
    """Save the state with the ``selection`` before the evaluation at its step, and mark it if it is the ``best``.

    Raises NonFiniteError or CorruptionError instead if its weights are not finite or not the same in all processes.
    """
    refuse_nonfinite(job.state)
    compare(job.state)
    facts = checkpoints.Facts(
        selection=selection,
        data=job.prepared.digest,
        processes=collectives.world_size(),
        cpu_lstm=job.state.lanes,
        gpu=checkpoints.gpu_of(job.state),
        program=job.made_by,
    )
    collectives.on_main(partial(write, job.state, facts, best, saver, log))


def write(state: State, facts: checkpoints.Facts, best: bool, saver: Writer, log: Log) -> None:
    """Have a checkpoint written. Raises the error of a record, or of a checkpoint before, that could not be written."""
    log.check()
    saver.save(saving.snapshot(state, facts), log.record)
    if best:
        saver.mark("best", state.step)


def compare(state: State) -> None:
    """Raise CorruptionError if the processes, whose weights must be the same bit for bit, have other ones."""
    if collectives.world_size() > 1:
        collectives.settled(state.nonfinite)
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

    collectives.settled(state.nonfinite)
    collectives.together(check)
