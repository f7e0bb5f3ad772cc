"""wandb and TensorBoard: views of a run that may fail at any time; metrics.jsonl is its record.

Each view is one of Accelerate's trackers in a thread of its own. The training loop hands values over and
never waits; whatever a view raises ends that view with one line on stderr, and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Track
from pipeline.distributed.collectives import rank
from pipeline.run import wandb_names
from pipeline.training import metrics

Cells = NDArray[np.int64]
MISTAKES = 200  # rows of the table for many classes: of a long one wandb drops the end
CHARTED = 100  # classes whose matrix wandb shows whole: its tables end after 10,000 rows


class Tracker:
    """The views of one attempt at a job. No method raises, and only ``finish`` waits."""

    def __init__(self, views: Sequence[_View] = ()) -> None:
        self._views = views
        for view in views:
            view.start()

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Metrics of a step."""
        for view in self._views:
            view.submit("log", dict(values), step)

    def log_evaluation(
        self, summary: Mapping[str, Any], cells: Cells, class_names: Sequence[str], pictures: Mapping[str, Path]
    ) -> None:
        """The final metrics (``test/accuracy``, ...), the ``metrics.confusion_cells``, and PNG files by name."""
        for view in self._views:
            view.submit("log_evaluation", dict(summary), cells, list(class_names), dict(pictures))

    def finish(self, exit_code: int = 0, timeout: float = 30.0) -> None:
        """Close the views, within ``timeout`` seconds for all of them together."""
        deadline = time.monotonic() + timeout
        for view in self._views:
            view.submit("close", exit_code)
        for view in self._views:
            view.join(max(0.0, deadline - time.monotonic()))
            if view.is_alive():
                view.abandon(f"not finished after {timeout:.0f} s")
            view.put_back()
        self._views = ()


def start(track: Track, folder: Path, resolved: dict[str, Any], job: str) -> Tracker:
    """The views that ``track`` asks for, on the main process; none on the others.

    ``folder`` is the run folder, whose name all attempts and jobs of a run have in common; ``resolved`` the resolved
    configuration; ``job`` ``train`` or ``evaluate``. Never raises.
    """
    views: list[_View] = []
    for backend in track.backends if rank() == 0 else ():
        off = os.environ.get("WANDB_MODE") == "disabled" or os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes")
        if backend == "wandb" and off:
            continue
        try:
            if not importlib.util.find_spec(backend):
                raise ModuleNotFoundError(f"it is not installed; type: pip install {backend}")
            wandb = backend == "wandb"
            views.append(_WandB(track, folder, resolved, job) if wandb else _TensorBoard(folder, resolved, job))
        except Exception as error:
            _dropped(backend, error)
    return Tracker(views)


class _View(threading.Thread):
    """One backend: methods ``open``, ``log``, ``log_evaluation`` and ``close``, run in order in its own thread.

    The first that fails is the last.
    """

    def __init__(self, backend: str) -> None:
        super().__init__(name=f"tracking {backend}", daemon=True)
        self.backend = backend
        self.calls: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
        self.abandoned = False

    def submit(self, method: str, *arguments: Any) -> None:
        if self.is_alive():
            self.calls.put((method, arguments))

    def run(self) -> None:
        method, arguments = "open", tuple[Any, ...]()
        try:
            while method != "close":
                getattr(self, method)(*arguments)
                method, arguments = self.calls.get()
            getattr(self, method)(*arguments)
        except BaseException as error:  # wandb leaves some of its failures through sys.exit
            if not self.abandoned:
                _dropped(self.backend, error)
            if method != "close":
                with contextlib.suppress(BaseException):
                    self.close(1)

    def close(self, exit_code: int) -> None:
        raise NotImplementedError

    def put_back(self) -> None:
        """What the view changed of the process, which may go on with another run."""

    def abandon(self, why: str) -> None:
        self.abandoned = True
        _dropped(self.backend, why)


class _WandB(_View):
    """One wandb run an attempt: an offline run cannot be resumed, and steps that go back would be dropped."""

    # The command line, the environment, the code and the console can hold secrets: none of them is recorded.
    OFF = "disable_code", "disable_git", "label_disable", "x_disable_meta", "x_disable_stats", "x_disable_machine_info"
    SECONDS = {"x_service_wait": 10, "init_timeout": 20, "finish_timeout": 20, "x_transaction_log_flush_interval": 2}  # noqa: RUF012

    def __init__(self, track: Track, folder: Path, resolved: dict[str, Any], job: str) -> None:
        super().__init__("wandb")
        # Tables are staged and logs kept outside the run folder otherwise, where a moved run would miss them.
        own = dict.fromkeys(("WANDB_DATA_DIR", "WANDB_CACHE_DIR"), str((folder / "wandb" / "local").resolve()))
        own["WANDB_ERROR_REPORTING"] = "false"
        self.added = [variable for variable in own if variable not in os.environ]
        os.environ.update({variable: own[variable] for variable in self.added})
        import wandb
        from accelerate.tracking import WandBTracker
        from wandb.sdk.lib.wbauth import read_netrc_auth

        wanted = dict.fromkeys(self.OFF, True) | self.SECONDS | {"silent": True, "console": "off"}
        wanted |= {"save_code": False, "x_save_requirements": False}
        settings = wandb.Settings(**{key: wanted[key] for key in wanted if key in wandb.Settings.model_fields})
        # Here and not in the thread: it changes os.environ, which other threads' C code may be reading.
        self.service = wandb.setup(settings=settings)
        found = self.service.settings
        # Decided before init, which without a key asks on a terminal and raises elsewhere.
        key = found.api_key or found.identity_token_file or read_netrc_auth(host=found.base_url)
        offline = not key or found.mode in ("offline", "dryrun")
        self.mode = "disabled" if found.mode == "disabled" else "offline" if offline else "online"
        named = wandb_names.of(track, folder, job)
        self.tracker = WandBTracker(
            named.pop("project", found.project),
            mode=self.mode,
            **named,
            config=resolved,
            reinit="create_new",
            settings=settings,
        )

    def open(self) -> None:
        self.tracker.start()
        self.tracker.run.define_metric("*", step_metric="step")
        if self.mode == "online":
            _say(f"wandb: {self.tracker.run.url}")

    def log(self, values: dict[str, Any], step: int) -> None:
        self.tracker.log({"step": step} | values)

    def log_evaluation(self, summary: dict[str, Any], cells: Cells, names: list[str], pictures: dict[str, Path]) -> None:
        import wandb

        columns = ["Actual", "Predicted", "nPredictions"]
        whole = len(names) <= CHARTED
        # its chart draws the cells that it is given, so those that are 0 too
        rows = metrics.all_cells(cells, len(names)) if whole else metrics.mistakes(cells, MISTAKES)
        table = wandb.Table(columns=columns, data=[[names[one], names[other], count] for one, other, count in rows.tolist()])
        images = {name: wandb.Image(str(path)) for name, path in pictures.items()}
        fields = dict(zip(columns, columns, strict=True))
        chart = {"confusion_matrix": wandb.plot_table("wandb/confusion_matrix/v1", table, fields)} if whole else None
        self.tracker.log(images | (chart or {"frequent_mistakes": table}))
        self.tracker.run.summary.update(summary)

    def close(self, exit_code: int) -> None:
        import wandb

        try:
            self.tracker.run.finish(exit_code=exit_code)
        finally:
            wandb.teardown()
        if self.mode == "offline":
            path = Path(os.path.relpath(self.tracker.run.dir)).parent
            command = os.path.relpath(Path(sys.executable).with_name("wandb"))
            _say(f"wandb: an offline run; look at it: {command} leet {path}; upload it: {command} sync {path}")

    def put_back(self) -> None:
        for variable in self.added:
            os.environ.pop(variable, None)

    def abandon(self, why: str) -> None:
        super().abandon(why)
        # wandb's exit hook would wait for its service without a limit; close() takes the hook away.
        with contextlib.suppress(AttributeError, OSError):
            self.service._connection._proc._process.kill()
        self.join(2)


class _TensorBoard(_View):
    def __init__(self, folder: Path, resolved: dict[str, Any], job: str) -> None:
        super().__init__("tensorboard")
        from accelerate.tracking import TensorBoardTracker

        self.resolved = resolved
        self.tracker = TensorBoardTracker(time.strftime(f"{job}-%Y%m%d_%H%M%S"), folder / "tensorboard")

    def open(self) -> None:
        self.tracker.start()
        self.tracker.log({"config": f"    {json.dumps(self.resolved, indent=2)}".replace("\n", "\n    ")}, step=0)

    def log(self, values: dict[str, Any], step: int) -> None:
        self.tracker.log(values, step=step)

    def log_evaluation(self, summary: dict[str, Any], cells: Cells, names: list[str], pictures: dict[str, Path]) -> None:
        from matplotlib.image import imread

        self.tracker.log(summary, step=summary.get("step"))
        images = {name: imread(path)[None, ..., :3] for name, path in pictures.items()}
        self.tracker.log_images(images, step=summary.get("step"), dataformats="NHWC")

    def close(self, exit_code: int) -> None:
        self.tracker.finish()


def _dropped(backend: str, why: BaseException | str) -> None:
    reason = " ".join(str(why).split()) or type(why).__name__
    _say(f"{backend}: {reason}; the job goes on without it")


def _say(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)
