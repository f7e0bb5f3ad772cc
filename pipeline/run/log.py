"""What a run says of itself: metrics.jsonl, the trackers, and the screen."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from tqdm import tqdm

from pipeline.config import Config
from pipeline.data.sources import progress
from pipeline.distributed import collectives
from pipeline.errors import Stopped, UserError
from pipeline.run import stragglers
from pipeline.run.record import Record
from pipeline.run.trackers import tracker
from pipeline.training import loop, metrics
from pipeline.training.evaluation import Rows
from pipeline.training.selection import Selection


class Progress:
    """Shows steps, epoch, loss, accuracy, examples a second, the best so far and the time left; silent on all processes but
    the main one."""

    def __init__(self, steps: int, done: int, main: bool, per_epoch: int = 0, best: str = "") -> None:
        self.steps, self.main, self.per_epoch = steps, main, per_epoch
        self.best = best  # the best evaluation so far, as the bar shows it
        self.start, self.first = time.monotonic(), done
        shown = main and progress.is_wanted()
        self.bar = tqdm(total=steps, initial=done, unit="step", dynamic_ncols=True, disable=not shown, leave=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.close()

    def update(self, step: int, loss: float, accuracy: float, rate: float) -> None:
        """Say what the steps until ``step`` gave: the loss of the last one; the accuracy in [0, 1] and the examples a second
        since the last time."""
        if not self.bar.disable:
            if self.per_epoch:
                self.bar.set_description_str(f"epoch {step / self.per_epoch:.2f}", refresh=False)
            numbers = f"loss {loss:.4f}, accuracy {accuracy:.2%}, {self.best}{rate:,.0f} samples/s"
            self.bar.set_postfix_str(numbers, refresh=False)
            self.bar.update(step - self.bar.n)
            return
        left = (self.steps - step) * (time.monotonic() - self.start) / max(1, step - self.first)
        numbers = f"loss {loss:.4f}  accuracy {accuracy:.2%}  {rate:,.0f} samples/s"
        self.say(f"step {step}/{self.steps}  {numbers}  {tqdm.format_interval(left)} left")

    def say(self, line: str) -> None:
        """A line of its own, above the bar if there is one."""
        if self.main:
            tqdm.write(line, file=sys.stdout)
            sys.stdout.flush()


class Log:
    """What a run says of itself: metrics.jsonl, the trackers and the screen, all from the main process."""

    def __init__(
        self,
        settings: Config,
        folder: Path,
        step: int,
        steps_per_epoch: int,
        classes: int,
        progress: Progress,
    ) -> None:
        self.main, self.per_epoch, self.progress, self.classes = collectives.rank() == 0, steps_per_epoch, progress, classes
        self.batch, self.monitor = settings.train.batch, settings.train.monitor
        self.seen, self.hits = 0, 0  # examples at the last line, and how many of them were predicted right
        self._error: UserError | None = None

        collectives.on_main(partial(self._open, folder / "metrics.jsonl", step, settings.train.log_every))
        self.tracker = tracker.start(settings, folder)
        self.stragglers = stragglers.Stragglers(collectives.gather(socket.gethostname()))
        self.since, self.step = time.perf_counter(), step

    def _open(self, path: Path, step: int, every: int) -> None:
        self.record = Record(path)
        last = self.record.resume(step)
        if last < step - step % every:
            self.progress.say(f"{path}: ends at step {last}; what was recorded from there to step {step} is lost")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Stopped | GeneratorExit):
            self.tracker.finish(143, timeout=8)  # whoever sent the signal may kill after 30 s
        else:
            if error is not None:
                self.tracker.alert(error)
            self.tracker.finish(0 if error is None else 1)

    def training(self, report: loop.Report) -> None:
        """The loss of one step over the global batch. Its accuracy is recorded; seen is that of all steps since the last line.
        Collective."""
        (numbers, times), hits = report.gathered(), report.hits()
        accuracy = (hits - self.hits) / (report.seen - self.seen)
        self.seen, self.hits = report.seen, hits
        now = time.perf_counter()
        rate = (report.step - self.step) * self.batch / (now - self.since)
        self.since, self.step = now, report.step
        said = self.stragglers.after(times, now) if any(times) else None
        numbers |= {"lr": report.lr, "samples_per_second": rate} | (stragglers.spread(times) if any(times) else {})
        self._write(report.step, "train", numbers)
        self.progress.update(report.step, numbers["loss"], accuracy, rate)
        if said:
            self.progress.say(said)

    def validation(self, step: int, rows: Rows, selection: Selection) -> Selection:
        """An evaluation on the validation split, and what it makes of the selection."""
        scores = metrics.selectable(rows.labels, rows.predictions, rows.losses, self.classes)
        self._write(step, "valid", scores)
        selection = selection.after(scores[self.monitor.removeprefix("valid/")], scores["loss"], step, self.monitor)
        self.progress.best = selection.shown(self.monitor)
        best = "  (best)" if selection.step == step else ""
        epoch, chosen = step / self.per_epoch, self.monitor.removeprefix("valid/")
        said = f"valid loss {scores['loss']:.4f}  valid accuracy {scores['accuracy']:.2%}"
        said += "" if chosen in ("loss", "accuracy") else f"  {chosen} {scores[chosen]:.4f}"
        self.progress.say(f"step {step}  epoch {epoch:.2f}  {said}{best}")
        return selection

    def watched(self, step: int, rows: Rows) -> None:
        """Accuracy on the first test examples, for show."""
        accuracy = float((rows.labels == rows.predictions).mean())
        self._write(step, "test", {"watched_accuracy": accuracy})
        self.progress.say(f"step {step}  accuracy on the first {len(rows.labels)} test examples {accuracy:.2%}")

    @property
    def failed(self) -> bool:
        """Whether a record could not be written. The other processes must learn of it before ``check`` raises."""
        return self._error is not None

    def check(self) -> None:
        """Raise the error of a record that could not be written."""
        if self._error is not None:
            raise self._error

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave what is done in this block out of the examples a second."""
        began = time.perf_counter()
        yield
        self.since += time.perf_counter() - began

    def _write(self, step: int, part: str, numbers: dict[str, float]) -> None:
        if self.main and not self.failed:
            values = {f"{part}/{name}": number for name, number in numbers.items()}
            try:
                self.record.append({"step": step, "epoch": step / self.per_epoch, "time": time.time()} | values)
            except UserError as error:
                self._error = error
            self.tracker.log(values, step)
