"""The views of one attempt at a job; metrics.jsonl is its record.

The training loop hands values over and never waits; whatever a view raises ends that view with one line on stderr, and
nothing else.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.distributed.collectives import rank
from pipeline.errors import UserError
from pipeline.run.trackers import names
from pipeline.run.trackers.others import MLflow, TensorBoard, Trackio
from pipeline.run.trackers.products import Product
from pipeline.run.trackers.view import Evaluation, Subject, View, dropped
from pipeline.run.trackers.wandb_view import WandB

PER_SECOND = 2**20  # bytes of artifacts that are sent, at least, before the wait for a view ends


class Tracker:
    """The views of one attempt at a job. No method raises, and only ``finish`` waits."""

    def __init__(self, views: Sequence[View] = (), state: ExitStack | None = None) -> None:
        self._views = views
        self._bytes = 0
        self._state = state or ExitStack()  # closed in the end
        for view in views:
            view.start()

    def __bool__(self) -> bool:
        """Whether anything is tracked."""
        return bool(self._views)

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Facts for the configuration of the run: parameters, device, fingerprint of the data."""
        self._submit("describe", dict(facts))

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Metrics of a step, which stand in metrics.jsonl."""
        self._submit("log", dict(values), step)

    def log_evaluation(self, found: Evaluation) -> None:
        """What an evaluation gave."""
        self._submit("log_evaluation", found)

    def use(self, product: Product) -> None:
        """What this job takes."""
        self._send("use", product)

    def produce(self, product: Product) -> None:
        """What this job made."""
        self._send("produce", product)

    def alert(self, error: BaseException) -> None:
        """That the job ends by a fault. Of an error that is not ours only the kind is said: its text may hold anything."""
        ours = isinstance(error, UserError) or type(error).__module__ == "pipeline.errors"
        self._submit("alert", f"stopped by {type(error).__name__}", str(error) if ours else "see the screen of the run")

    def finish(self, exit_code: int = 0, timeout: float = 30.0) -> None:
        """Close the views, within ``timeout`` seconds for all of them together, and what their artifacts take."""
        timeout += self._bytes / PER_SECOND
        deadline = time.monotonic() + timeout
        self._submit("close", exit_code)
        for view in self._views:
            view.join(max(0.0, deadline - time.monotonic()))
            if view.is_alive():
                view.abandon(f"not finished after {timeout:.0f} s")
            view.put_back()
        self._views = ()
        self._state.close()

    def _send(self, method: str, product: Product) -> None:
        if self._views:
            self._bytes += product.size
            self._submit(method, product)

    def _submit(self, method: str, *arguments: Any) -> None:
        for view in self._views:
            view.submit(method, *arguments)


def start(settings: Config, folder: Path) -> Tracker:
    """The views that ``track`` asks for, of the run in ``folder``, on the main process; none on the others. Never raises."""
    track, subject = settings.track, Subject(folder, settings.model_dump(mode="json"), settings.train.monitor)
    views, state = list[View](), ExitStack()
    for backend in track.backends if rank() == 0 else ():
        if backend == "wandb" and names.is_off():
            continue
        try:
            if not importlib.util.find_spec(backend):
                raise ModuleNotFoundError(f"it is not installed; type: pip install {backend}")
            _state(state)
            kinds = {"wandb": WandB, "tensorboard": TensorBoard, "mlflow": MLflow, "trackio": Trackio}
            views.append(kinds[backend](track, subject))
        except Exception as error:
            dropped(backend, error)
    return Tracker(views, state)


def _state(stack: ExitStack) -> None:
    """The state of Accelerate that its trackers ask for, until ``stack`` is closed, where a stage has none."""
    from accelerate.state import PartialState

    if not PartialState._shared_state:
        PartialState(cpu=True)
        stack.callback(PartialState._reset_state)
