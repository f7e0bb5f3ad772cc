"""What ``make bench-scale`` measures: files of every size, and parts of stages that no command shows alone.

python -m tests.benchmarks.scale_cases PART SIZE      one part, in a folder that its case wrote
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ALL = ("prepare", "train", "evaluate", "export", "predict")
SMALL = "model: {hidden: 16}\ntrain: {batch: 512, epochs: 1}"


@dataclass(frozen=True)
class Case:
    """A dimension at some sizes: ``write(folder, size)`` writes the files, and returns the rest of the configuration."""

    dimension: str
    unit: str
    sizes: tuple[int, ...]
    write: Callable[[Path, int], str]
    stages: tuple[str, ...] = ALL


def _npz(folder: Path, count: int, steps: int, channels: int, classes: int, model: str = SMALL, **more: Any) -> str:
    random = np.random.default_rng(0)
    values = random.standard_normal((count, steps, channels), np.float32)
    np.savez(folder / "own.npz", values=values, labels=random.permutation(np.arange(count) % classes), **more)
    return f"data: {{source: npz, path: own.npz}}\n{model}"


def _rows(folder: Path, count: int) -> str:
    return _npz(folder, count, 10, 2, 4, "model: {hidden: 8}\ntrain: {batch: 4096, epochs: 1}" if count > 9000 else SMALL)


def _long(kind: str) -> Callable[[Path, int], str]:
    """A table of so many rows, ten per series, ids together."""

    def write(folder: Path, rows: int) -> str:
        import polars as pl

        ids, steps = np.divmod(np.arange(rows), 10)
        values = np.random.default_rng(0).standard_normal((rows, 2)).round(5)
        words = pl.Series([f"c{number}" for number in range(4)])[ids % 4]
        frame = pl.DataFrame({"id": ids, "time": steps, "label": words, "a": values[:, 0], "b": values[:, 1]})
        getattr(frame, f"write_{kind}")(folder / f"own.{kind}")
        return f"data: {{source: {kind}, path: own.{kind}}}"

    return write


def _wide(kind: str) -> Callable[[Path, int], str]:
    """A table of 1,000 rows of so many columns."""

    def write(folder: Path, columns: int) -> str:
        import polars as pl

        values = np.random.default_rng(0).standard_normal((1000, columns)).round(4)
        frame = pl.DataFrame({"label": [f"c{number % 4}" for number in range(1000)]})
        frame = frame.hstack([pl.Series(f"x_{place}", values[:, place]) for place in range(columns)])
        getattr(frame, f"write_{kind}")(folder / f"own.{kind}")
        return f"data: {{source: {kind}, path: own.{kind}, layout: wide}}"

    return write


def _channels(folder: Path, channels: int) -> str:
    return _npz(folder, 200, 50, channels, 4, "model: {hidden: 16}\ntrain: {batch: 64, epochs: 1}")


def _classes(folder: Path, classes: int) -> str:
    return _npz(folder, 40_000, 8, 2, classes)


def _steps(folder: Path, steps: int) -> str:
    return _npz(folder, 200, steps, 1, 4, "model: {hidden: 16}\ntrain: {batch: 64, epochs: 1}")


def _groups(folder: Path, groups: int) -> str:
    text = _npz(folder, 5 * groups, 4, 1, 5, groups=np.arange(5 * groups) // 5)
    return text.replace("own.npz", "own.npz, split: group, group: groups")


def _images(folder: Path, count: int) -> str:
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"images/c{number % 10}/{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (28, 28), np.uint8)).save(path)
    return f"data: {{source: images, path: images}}\n{SMALL}"


def _records(folder: Path, count: int) -> str:
    values = {"epoch": 1.0, "time": 1.7e9, "train/accuracy": 0.5, "train/lr": 0.01, "train/samples_per_second": 12345.678}
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(1, count + 1):
            file.write(json.dumps({"step": step, "train/loss": 2 / step**0.5, **values}) + "\n")
    return ""


def _kept(folder: Path, count: int) -> str:
    for step in range(count):
        (folder / f"checkpoints/step_{step:08d}").mkdir(parents=True)
    return ""


def _nothing(folder: Path, size: int) -> str:
    return ""


def resume(size: int) -> None:
    """A run of so many records goes on at its last step, ten times."""
    from pipeline.run.record import Record

    for _ in range(10):
        assert Record(Path("metrics.jsonl")).resume(size) == size


def draw_curves(size: int) -> None:
    """curves.png of a run of so many records."""
    from pipeline.report.plots.training import curves
    from pipeline.run import record

    curves(Path("curves.png"), record.each(Path("metrics.jsonl")), size)


def save(size: int) -> None:
    """Thirty checkpoints of a small model, where so many are kept."""
    import torch

    from pipeline.run import saving

    tensors = {"model.safetensors": {"weight": torch.zeros(9)}, "optimizer.safetensors": {"weight": torch.zeros(9)}}
    for step in range(size, size + 30):
        content = {"format": 1, "step": step, "optimizer": {}, "scaler": None, "facts": {}}
        saving.save(Path("checkpoints"), saving.Snapshot(step, tensors, content), size)


def score(size: int) -> None:
    """Thirty validations on 100,000 examples of so many classes, and a balanced epoch of them."""
    from types import SimpleNamespace

    import torch

    from pipeline.data.batches import Batches
    from pipeline.training import metrics

    labels, guesses = np.random.default_rng(0).integers(0, size, (2, 100_000))
    for _ in range(30):
        metrics.selectable(labels, guesses, np.ones(100_000), size)
    cpu = torch.device("cpu")
    store: Any = SimpleNamespace(labels=torch.from_numpy(labels), lengths=None, count=100_000, device=cpu, home=cpu)
    batches = Batches(store, 64, 1, range(1), 0, balanced=True)
    batches.rows(0)


PARTS: dict[str, Callable[[int], None]] = {"resume": resume, "curves.png": draw_curves, "save": save, "score": score}
CASES = (
    Case("series (.npz, 10 steps x 2)", "a series", (1_000, 100_000, 1_000_000), _rows),
    Case("rows (.csv, long, 10 a series)", "a row", (10_000, 300_000, 3_000_000), _long("csv"), ("prepare",)),
    Case("rows (.parquet, long, 10 a series)", "a row", (10_000, 1_000_000, 5_000_000), _long("parquet"), ("prepare",)),
    Case("columns (.csv, wide, 1,000 rows)", "a column", (100, 3_000, 10_000), _wide("csv"), ("prepare",)),
    Case("columns (.parquet, wide, 1,000 rows)", "a column", (100, 5_000, 20_000), _wide("parquet"), ("prepare",)),
    Case("images (28 x 28)", "an image", (300, 5_000, 20_000), _images, ("prepare",)),
    Case("channels (200 series x 50)", "a channel", (12, 300, 1_000), _channels, ALL[:3]),
    Case("classes (40,000 series x 8 x 2)", "a class", (10, 500, 2_000), _classes),
    Case("steps (200 series x 1)", "a step", (100, 3_000, 10_000), _steps),
    Case("groups (5 series of each)", "a group", (1_000, 20_000, 60_000), _groups, ("prepare",)),
    Case("records (metrics.jsonl)", "a record", (10_000, 100_000, 1_000_000), _records, ("resume", "curves.png")),
    Case("kept checkpoints", "a checkpoint", (10, 1_000, 3_000), _kept, ("save",)),
    Case("classes (100,000 examples)", "a class", (10, 2_000, 20_000), _nothing, ("score",)),
)

if __name__ == "__main__":
    PARTS[sys.argv[1]](int(sys.argv[2]))
