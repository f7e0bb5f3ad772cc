"""This pipeline: its train stage as the command line runs it, checkpoints and record included, without wandb."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import accelerate  # noqa: F401  # the stage imports it later, and it belongs to the time that imports take
from torch import Tensor

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.stages.train import train
from pipeline.training import loop
from pipeline.training.state import State
from tests.benchmarks.peers.task import Task
from tests.benchmarks.peers.work import Watch


def run(task: Task, watch: Watch) -> None:
    """Train. The stage pulls its reports through a generator that tells the watch of each, after it was dealt with."""
    original = loop.train

    def timed(state: State, batches: Batches, *others: Any) -> Iterator[loop.Report]:
        def predict(images: Tensor) -> Tensor:
            model = state.best_model
            training = model.training
            logits: Tensor = model.eval()(images)
            model.train(training)
            return logits

        watch.begin(predict, batches.steps_per_epoch)
        for report in original(state, batches, *others):
            try:
                yield report
            except GeneratorExit:  # after the last step the stage wants no more
                watch.last(report.loss)
                raise
            watch.step(report.loss)

    own = [f"run.dir={Path(task.output, 'run')}", "track.backends=[]", f"data.root={task.data}", f"run.seed={task.seed}"]
    settings = config.load(task.config, [*own, f"train.precision={task.precision}", *task.overrides])
    with patch.object(loop, "train", timed):
        train(settings)
    watch.end()
