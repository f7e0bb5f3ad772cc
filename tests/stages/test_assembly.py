"""What stages put together is of the training split, and as configured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from pipeline import config
from pipeline.config import Config
from pipeline.data.preparation.folder import prepare
from pipeline.data.prepared import Prepared
from pipeline.data.store import Store
from pipeline.stages.assembly import make_batches, make_state
from tests.support.series_files import npz


def written(path: Path, counts: tuple[int, int]) -> str:
    """Series of two classes, so many of each."""
    labels = np.repeat(["a", "b"], counts)
    values = np.random.default_rng(sum(counts)).normal(size=(len(labels), 4, 1))
    return str(npz(path, values=values, labels=labels, times=np.arange(len(labels))[::-1]))


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    """Of data of which the training split has 4 and 20 series of the classes, the validation split 12 of one, the test split
    10 and 2."""
    files = {"path": written(tmp_path / "train.npz", (16, 20)), "test_path": written(tmp_path / "test.npz", (10, 2))}
    cut = {"split": "time", "time": "times", "validation": 12}
    data = {"source": "npz", "id": "", "prepared": str(tmp_path / "prepared"), **files, **cut}
    train = {"batch": 12, "class_weights": "balanced"}
    return config.make({"data": data, "train": train, "run": {"dir": str(tmp_path / "run")}})


@pytest.fixture
def prepared(settings: Config) -> Prepared:
    made = prepare(settings.data)
    counts = {name: part.class_counts for name, part in made.manifest.parts.items()}
    assert counts == {"train": (4, 20), "valid": (12, 0), "test": (10, 2)}
    return made


def test_classes_are_weighed_by_their_examples_in_the_training_split(
    settings: Config, prepared: Prepared, accelerator: Accelerator
) -> None:
    weights = make_state(settings, prepared, accelerator).class_weights
    assert weights is not None and weights.tolist() == pytest.approx([24 / (2 * 4), 24 / (2 * 20)])


def test_classes_are_sampled_as_often_as_each_other_where_that_is_asked_for(settings: Config, prepared: Prepared) -> None:
    store, seen = Store(prepared.part("train"), torch.device("cpu"), 1), {}
    for sampling in ("shuffle", "balanced"):
        train = settings.train.model_copy(update={"sampling": sampling, "class_weights": "none"})
        changed = settings.model_copy(update={"train": train})
        batches = make_batches(changed, prepared, store, 1, range(1))
        seen[sampling] = torch.tensor([row for step in range(2) for row in batches.rows(step)])
    assert store.labels[seen["shuffle"]].bincount().tolist() == [4, 20]
    assert store.labels[seen["balanced"]].bincount().tolist() == [12, 12]
