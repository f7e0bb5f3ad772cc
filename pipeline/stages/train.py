"""prepared/ -> runs/NAME/."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import torch

from pipeline import checkpoint, config, engine, optim, processes, runfolder, tracking
from pipeline.config import Config
from pipeline.data.batches import Batches, Shift, Store
from pipeline.data.prepare import Name, Prepared, open_prepared
from pipeline.errors import Stopped, UserError
from pipeline.progress import Progress
from pipeline.record import Record
from pipeline.stages.parts import assert_same_data, make_model

if TYPE_CHECKING:
    from accelerate import Accelerator

WATCHED = 2000  # test examples that train.watch_test looks at


def train(settings: Config, file: str) -> None:
    """Train the run in ``run.dir``, from its newest checkpoint if it has one; do nothing if it is finished.

    Raises Stopped after a signal, once the run is saved.
    """
    folder = Path(settings.run.dir)
    with ExitStack() as stack:
        accelerator = stack.enter_context(
            processes.world(settings.run, settings.train.precision, settings.train.accumulate == 1)
        )
        slices, mine = slices_of(settings.train, accelerator.process_index, accelerator.num_processes)
        prepared = processes.together(lambda: open_prepared(settings.data, accelerator.is_local_main_process))
        versions = {
            "configuration": config.dump(settings),
            "prepared data": prepared.digest,
            "version of torch": torch.__version__,
        }
        processes.assert_same(versions)
        processes.on_main(accelerator, lambda: stack.enter_context(runfolder.writer(folder)))
        processes.on_main(accelerator, lambda: runfolder.enter(folder, settings, accelerator.num_processes))

        model = make_model(settings, prepared).to(accelerator.device)
        state = engine.make_state(model, optim.make_optimizer(model, settings.optim), settings.train, accelerator)
        found = resume(folder, state, prepared, accelerator)
        if found and found.facts["finished"]:
            if accelerator.is_main_process:
                print(f"{folder}: finished at step {state.step}, nothing to do; next: make eval RUN={folder}")
            return
        store = {
            part: Store(prepared.part(part), accelerator.device, settings.data.resident_limit_mb)
            for part in prepared.manifest.parts
        }
        shift = Shift(prepared.manifest, settings.data.shift, store["train"].home) if settings.data.shift else None
        batches = Batches(store["train"], settings.train.batch, slices, mine, settings.run.seed, shift)
        run(settings, folder, state, batches, store, found, prepared, accelerator)


def run(
    settings: Config,
    folder: Path,
    state: engine.State,
    batches: Batches,
    store: Mapping[Name, Store],
    found: checkpoint.Checkpoint | None,
    prepared: Prepared,
    accelerator: Accelerator,
) -> None:
    """Take the steps that are left; log, evaluate and save when each is due."""
    options, per_epoch = settings.train, batches.steps_per_epoch
    steps = options.epochs * per_epoch
    evaluate_every = config.interval(options.evaluate_every, per_epoch)
    save_every = config.interval(options.checkpoint_every, per_epoch)
    selection = Selection(**found.facts["selection"]) if found else Selection()
    checkpoints = folder / "checkpoints"

    def save(finished: bool) -> None:
        facts = {"finished": finished, "selection": asdict(selection), "data": prepared.digest}
        facts["processes"] = accelerator.num_processes
        processes.on_main(accelerator, lambda: checkpoint.save(checkpoints, state, facts, options.keep_last))
        if selection.step == state.step:
            processes.on_main(accelerator, lambda: checkpoint.mark_best(checkpoints, state.step))

    with (
        processes.StopSignal() as stop,
        Progress(steps, state.step, accelerator.is_main_process) as progress,
        Log(settings, folder, state.step, per_epoch, accelerator, progress) as log,
    ):
        progress.say(describe(state, batches, steps, accelerator))
        for report in engine.train(state, batches, options, settings.optim, settings.run.seed, accelerator):
            step, last = report.step, report.step == steps
            if step % options.log_every == 0 or last:
                log.training(report)
            with log.paused():
                if options.watch_test and step % options.watch_test == 0:
                    log.watched(step, engine.evaluate(state.best_model, store["test"], accelerator, WATCHED))
                if "valid" in store and (step % evaluate_every == 0 or last):
                    selection = log.validation(step, engine.evaluate(state.best_model, store["valid"], accelerator), selection)
                early = 0 < options.early_stopping <= selection.stale
                stopped = stop.agreed(step) and not (last or early)
                if step % save_every == 0 or step == selection.step or last or early or stopped:
                    save(finished=last or early)
            if stopped:
                raise Stopped(
                    f"stopped by a signal and saved after step {step} of {steps}; the same command goes on from there"
                )
            if early:
                progress.say(f"no better {options.monitor} in {selection.stale} evaluations: stopped early")
                break
        progress.say(f"finished at step {state.step}{selection.describe(options.monitor)}; next: make eval RUN={folder}")


def describe(state: engine.State, batches: Batches, steps: int, accelerator: Accelerator) -> str:
    """What is about to be done, and where."""
    number = accelerator.num_processes
    where = f"{number} process{'es' * (number > 1)} on {accelerator.device.type}"
    parameters = sum(parameter.numel() for parameter in state.model.parameters())
    return f"{where}: {parameters:,} parameters, steps {state.step} to {steps}, {batches.batch} examples a step"


@dataclass(frozen=True)
class Selection:
    """The best value of train.monitor so far, the step it was reached at, and the evaluations since."""

    value: float | None = None
    step: int = 0
    stale: int = 0

    def after(self, value: float, step: int, monitor: str) -> Selection:
        """What it becomes with one more evaluation."""
        better = self.value is None or (value > self.value if monitor == "valid/accuracy" else value < self.value)
        return Selection(value, step) if better else replace(self, stale=self.stale + 1)

    def describe(self, monitor: str) -> str:
        return f"; best {monitor} {self.value:.4f} at step {self.step}" if self.value is not None else ""


def resume(folder: Path, state: engine.State, prepared: Prepared, accelerator: Accelerator) -> checkpoint.Checkpoint | None:
    """Bring ``state`` to the newest checkpoint that verifies; None for a new run.

    Raises RunError if that checkpoint is of other data, and UserError if the processes do not see the same one.
    """
    found, skipped = processes.together(lambda: checkpoint.newest(folder / "checkpoints"))
    processes.assert_same({"newest checkpoint": str(found and found.step)})
    if found:
        assert_same_data(found, prepared)
        processes.together(lambda: checkpoint.restore(found, state))
    if accelerator.is_main_process:
        for reason in skipped:
            print(f"skipped {reason}")
        if found and not found.facts["finished"]:
            print(f"{folder}: resuming after step {found.step}")
        if found and found.facts["processes"] != accelerator.num_processes:
            print(f"{folder}: was on {found.facts['processes']} processes, goes on with {accelerator.num_processes}")
    return found


def slices_of(train: config.Train, number: int, processes_: int) -> tuple[int, range]:
    """Into how many slices the global batch is cut, and which are those of process ``number``.

    Raises UserError if the batch cannot be cut so.
    """
    slices = train.gradient_shards or processes_ * train.accumulate
    if slices % processes_ or train.batch % slices:
        what = f"train.gradient_shards = {slices}" if train.gradient_shards else f"train.batch = {train.batch}"
        fitting = [
            n
            for n in range(1, train.batch + 1)
            if (slices % n if train.gradient_shards else train.batch % (n * train.accumulate)) == 0
        ]
        near = ", ".join(map(str, sorted(fitting, key=lambda n: abs(n - processes_))[:4]))
        parts = f" x train.accumulate = {train.accumulate}" if train.accumulate > 1 else ""
        raise UserError(
            f"{what} cannot be cut into equal parts for {processes_} processes{parts}; start {near} processes, or change it"
        )
    each = slices // processes_
    return slices, range(number * each, (number + 1) * each)


class Log:
    """What a run says of itself: metrics.jsonl, the trackers and the screen, all from the main process."""

    def __init__(
        self, settings: Config, folder: Path, step: int, steps_per_epoch: int, accelerator: Accelerator, progress: Progress
    ) -> None:
        self.main, self.per_epoch, self.progress = accelerator.is_main_process, steps_per_epoch, progress
        self.batch, self.monitor = settings.train.batch, settings.train.monitor
        if self.main:
            self.record = Record(folder / "metrics.jsonl")
            self.record.truncate_after(step)
        resolved = settings.model_dump(mode="json")
        self.tracker = tracking.start(accelerator, settings.track, folder, resolved, "train", folder.name)
        self.since, self.step = time.perf_counter(), step

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Stopped):
            self.tracker.finish(143, timeout=8)  # whoever sent the signal may kill after 30 s
        else:
            self.tracker.finish(0 if error is None else 1)

    def training(self, report: engine.Report) -> None:
        """The loss of one step over the global batch. Collective."""
        numbers = report.numbers()
        now = time.perf_counter()
        rate = (report.step - self.step) * self.batch / (now - self.since)
        self.since, self.step = now, report.step
        self._write(report.step, "train", numbers | {"lr": report.lr, "samples_per_second": rate})
        self.progress.update(report.step, numbers["loss"], numbers["accuracy"], rate)

    def validation(self, step: int, rows: engine.Rows, selection: Selection) -> Selection:
        """An evaluation on the validation part, and what it makes of the selection."""
        loss, accuracy = float(rows.losses.mean()), float((rows.labels == rows.predictions).mean())
        self._write(step, "valid", {"loss": loss, "accuracy": accuracy})
        selection = selection.after(accuracy if self.monitor == "valid/accuracy" else loss, step, self.monitor)
        best = "  (best)" if selection.step == step else ""
        epoch = step / self.per_epoch
        self.progress.say(f"step {step}  epoch {epoch:.2f}  valid loss {loss:.4f}  valid accuracy {accuracy:.2%}{best}")
        return selection

    def watched(self, step: int, rows: engine.Rows) -> None:
        """Accuracy on the first test examples, for show."""
        accuracy = float((rows.labels == rows.predictions).mean())
        self._write(step, "test", {"watched_accuracy": accuracy})
        self.progress.say(f"step {step}  accuracy on the first {len(rows.labels)} test examples {accuracy:.2%}")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave what is done in this block out of the examples a second."""
        began = time.perf_counter()
        yield
        self.since += time.perf_counter() - began

    def _write(self, step: int, part: str, numbers: dict[str, float]) -> None:
        if self.main:
            values = {f"{part}/{name}": number for name, number in numbers.items()}
            self.record.append({"step": step, "epoch": step / self.per_epoch, "time": time.time()} | values)
            self.tracker.log(values, step)
