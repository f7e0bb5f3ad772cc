"""One backend in a thread of its own: it may fail at any time, and nobody waits for it."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.run.trackers.products import Product

Cells = NDArray[np.int64]


@dataclass(frozen=True)
class Example:
    """What the model said of an example; ``picture``: a PNG file of it."""

    index: int
    label: str
    prediction: str
    probability: float
    picture: Path | None = None


@dataclass(frozen=True)
class Evaluation:
    """The final metrics (``test/accuracy``, ...), the ``metrics.confusion_cells``, PNG files by name, and examples."""

    scores: Mapping[str, Any]
    cells: Cells
    class_names: Sequence[str]
    pictures: Mapping[str, Path]
    examples: Sequence[Example] = ()
    split: str = "test"


@dataclass(frozen=True)
class Subject:
    """What is tracked: the run folder, the resolved configuration, and the metric that checkpoints are chosen by."""

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    monitor: str = "valid/loss"


class View(threading.Thread):
    """One backend: ``open``, then what it is told, and ``close``, run in order in its own thread.

    The first that fails is the last. What a backend has no use for it does not define.
    """

    def __init__(self, backend: str) -> None:
        super().__init__(name=f"tracking {backend}", daemon=True)
        self.backend = backend
        self.calls: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
        self.abandoned = False

    def submit(self, method: str, *arguments: Any) -> None:
        """Have a method run, after those that were submitted before."""
        if self.is_alive():
            self.calls.put((method, arguments))

    def run(self) -> None:
        """The thread."""
        method, arguments = "open", tuple[Any, ...]()
        try:
            while method != "close":
                getattr(self, method)(*arguments)
                method, arguments = self.calls.get()
            getattr(self, method)(*arguments)
        except BaseException as error:  # wandb leaves some of its failures through sys.exit
            if not self.abandoned:
                dropped(self.backend, error)
            if method != "close":
                with contextlib.suppress(BaseException):
                    self.close(1)

    def open(self) -> None:
        """Reach the backend."""

    def describe(self, facts: Mapping[str, Any]) -> None:
        """What else the configuration of the run should say: parameters, device, versions."""

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """A row of metrics.jsonl, which is written already."""

    def log_evaluation(self, found: Evaluation) -> None:
        """What an evaluation gave."""

    def use(self, product: Product) -> None:
        """What a stage takes."""

    def produce(self, product: Product) -> None:
        """What a stage made."""

    def alert(self, title: str, text: str) -> None:
        """What somebody should know now."""

    def close(self, exit_code: int) -> None:
        """Send what is left."""

    def put_back(self) -> None:
        """What the view changed of the process, which may go on with another run."""

    def abandon(self, why: str) -> None:
        """Leave the thread behind."""
        self.abandoned = True
        dropped(self.backend, why)


def dropped(backend: str, why: BaseException | str) -> None:
    """Say that a backend is tracked by no more."""
    reason = " ".join(str(why).split()) or type(why).__name__
    say(f"{backend}: {reason}; the job goes on without it")


def say(line: str) -> None:
    """A line of its own on stderr, above the bar if there is one."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)
