"""TensorBoard, MLflow and trackio, by Accelerate's trackers. Each attempt at a job is a run of its own there."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import Track
from pipeline.run.trackers.products import Product
from pipeline.run.trackers.view import Evaluation, Subject, View


class TensorBoard(View):
    """Event files in tensorboard/ of the run folder."""

    def __init__(self, track: Track, subject: Subject) -> None:
        super().__init__("tensorboard")
        from accelerate.tracking import TensorBoardTracker

        self.config = subject.config
        self.tracker = TensorBoardTracker(time.strftime("%Y%m%d_%H%M%S"), subject.folder / "tensorboard")

    def open(self) -> None:
        """A folder of its own."""
        self.tracker.start()
        self.tracker.log({"config": f"    {json.dumps(self.config, indent=2)}".replace("\n", "\n    ")}, step=0)

    def describe(self, facts: Mapping[str, Any]) -> None:
        """As a text."""
        self.tracker.log({"facts": f"    {json.dumps(facts, indent=2)}".replace("\n", "\n    ")}, step=0)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Each number."""
        self.tracker.log(dict(values), step=step)  # as scalars

    def log_evaluation(self, found: Evaluation) -> None:
        """Scalars and images, at the step of the checkpoint."""
        from matplotlib.image import imread

        step = found.scores.get("step")
        self.tracker.log(dict(found.scores), step=step)
        images = {name: imread(path)[None, ..., :3] for name, path in found.pictures.items()}
        self.tracker.log_images(images, step=step, dataformats="NHWC")

    def close(self, exit_code: int) -> None:
        """Write what is left."""
        self.tracker.finish()


class MLflow(View):
    """A run in the experiment of the project, where MLFLOW_TRACKING_URI says, or below mlflow/ of the run folder."""

    def __init__(self, track: Track, subject: Subject) -> None:
        super().__init__("mlflow")
        import mlflow
        from accelerate.tracking import MLflowTracker
        from sqlalchemy import URL  # of mlflow; it spells a name that has ? or % in it

        place = (subject.folder / "mlflow").resolve()
        if "MLFLOW_TRACKING_URI" not in os.environ:
            place.mkdir(parents=True, exist_ok=True)
            mlflow.set_tracking_uri(URL.create("sqlite", database=str(place / "mlflow.db")).render_as_string())
        local = None if "MLFLOW_TRACKING_URI" in os.environ else (place / "artifacts").as_uri()
        self.config, self.mlflow = subject.config, mlflow
        named = {"run_name": track.name or subject.folder.name, "description": track.notes or None}
        tags = dict.fromkeys(track.tags, "")
        self.tracker = MLflowTracker(track.project, logging_dir=local, tags=tags, **named)

    def open(self) -> None:
        """A run of its own."""
        self.tracker.start()
        self.tracker.store_init_configuration(dict(_flat(self.config)))

    def describe(self, facts: Mapping[str, Any]) -> None:
        """As parameters."""
        self.tracker.store_init_configuration(dict(_flat({"facts": facts})))

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """As metrics."""
        self.tracker.log(_numbers(values), step=step)

    def log_evaluation(self, found: Evaluation) -> None:
        """Metrics, and the pictures as files."""
        self.tracker.log(_numbers(found.scores), step=found.scores.get("step"))
        for path in found.pictures.values():
            self.tracker.log_artifact(str(path), "evaluation")

    def produce(self, product: Product) -> None:
        """As files of the run."""
        for path in (path for path in product.contents.values() if isinstance(path, Path)):
            self.tracker.log_artifact(str(path), product.name)

    def close(self, exit_code: int) -> None:
        """End the run, as failed if it is."""
        self.mlflow.end_run("FINISHED" if exit_code == 0 else "KILLED" if exit_code == 143 else "FAILED")


class Trackio(View):
    """A run in the project, in trackio's own folder, which TRACKIO_DIR names."""

    def __init__(self, track: Track, subject: Subject) -> None:
        super().__init__("trackio")
        from accelerate.tracking import TrackioTracker

        named = {"name": track.name or subject.folder.name, "group": track.group or None, "embed": False}
        machine = dict.fromkeys(("auto_log_gpu", "auto_log_cpu"), track.system)
        self.tracker = TrackioTracker(track.project, config=dict(_flat(subject.config)), **named, **machine)

    def open(self) -> None:
        """A run of its own."""
        self.tracker.start()

    def describe(self, facts: Mapping[str, Any]) -> None:
        """In the configuration."""
        self.tracker.run.config.update(dict(_flat({"facts": facts})))

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """As metrics."""
        self.tracker.log(dict(values), step=step)

    def log_evaluation(self, found: Evaluation) -> None:
        """Metrics, at the step of the checkpoint."""
        scores = _numbers(found.scores)
        step = scores.pop("step", None)  # a word of its own there
        self.tracker.log(scores, step=step)

    def close(self, exit_code: int) -> None:
        """Write what is left."""
        self.tracker.finish()


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by ``section.key``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of the values that are finite numbers."""
    return {name: value for name, value in values.items() if isinstance(value, int | float) and math.isfinite(value)}
