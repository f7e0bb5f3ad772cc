"""Train, evaluate and export from Python, in a notebook, a server or a script: ``from pipeline import fit``."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from pipeline import config
from pipeline.config import Config
from pipeline.deploy import loaded
from pipeline.deploy.loaded import Trained
from pipeline.errors import RunError
from pipeline.run import placing, record
from pipeline.stages import evaluate, export, repeats, train
from pipeline.training.loop import Report

_open: dict[int, Run] = {}  # the run that a thread goes through, step by step


class Run:
    """A run, in its folder. ``for report in run`` takes the steps that are left, with a report of each.

    A loop that is left early saves the run first; another loop, or ``fit``, goes on from there.
    """

    def __init__(self, settings: Config) -> None:
        self.settings = settings
        self._reports: Iterator[Report] | None = None

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def folder(self) -> Path:
        """The run folder. Where the configuration names none, it is settled when training begins."""
        return placing.find(placing.Wanted(self.settings)) or placing.first_choice(self.settings)

    def __iter__(self) -> Iterator[Report]:
        """Raises what training raises: Stopped after Ctrl-C or another signal, once the run is saved; UserError;
        TrainingError. ``report.numbers()`` gives loss and accuracy, and waits for the device."""
        _leave()
        several = bool(self.settings.train.folds)
        reports, thread = (repeats.folds if several else train.reports)(self.settings), threading.get_ident()
        self._reports, _open[thread] = reports, self
        try:
            yield from reports
            if self._reports is not reports:
                raise RunError(f"{self.folder}: was left and saved when its thread began something else; loop over it again")
        finally:
            if _open.get(thread) is self:
                del _open[thread]
            cast(Any, reports).close()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl, in their order: ``step``, ``epoch``, ``time`` and ``train/...`` or ``valid/...``."""
        return record.read(self.folder / "metrics.jsonl")

    def evaluate(self, split: str = "test") -> dict[str, Any]:
        """Measure the best weights on a whole split; what eval/metrics.json says."""
        _leave()
        evaluate.evaluate(self.folder, split)
        measured: dict[str, Any] = json.loads((evaluate.place(self.folder, split) / "metrics.json").read_text(encoding="utf-8"))
        return measured

    def export(self) -> Trained:
        """Write the best weights to export/, each file checked; the model in it, ready to predict."""
        _leave()
        export.export(self.folder)
        return loaded.load(self.folder / "export")


def _leave() -> None:
    """End the loop of this thread that was left by an error, which Python may keep open for as long as it shows the error."""
    left = _open.pop(threading.get_ident(), None)
    if left is not None and left._reports is not None:
        reports, left._reports = left._reports, None
        cast(Any, reports).close()
        print(f"{left.folder}: left and saved; a loop over it, or fit, goes on from there")


def fit(configuration: Mapping[str, Any] | str | os.PathLike[str], *overrides: str, wait: bool = True) -> Run:
    """Train a run to its end, as ``python -m pipeline train`` does, or go on with it; nothing is done if it is finished.

    ``configuration``: a file, or a dictionary of sections that names ``run.dir``; ``overrides``: ``section.key=value``, on
    top. ``wait=False``: take no step yet; ``for report in run`` does.
    One run at a time trains in a process; it may be in any thread. Signals stop it only if that is the main one.

    Raises UserError for a wrong configuration or data, TrainingError if training cannot go on, and Stopped after a
    signal, once the run is saved.
    """
    if isinstance(configuration, Mapping):
        settings = config.make(configuration, overrides)
    else:
        settings = config.load(os.fspath(configuration), overrides)
    run = Run(settings)
    if wait:
        for _ in run:
            pass
    return run
