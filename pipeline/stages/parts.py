"""What several stages put together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline import checkpoint, engine, optim, plots
from pipeline.balance import class_weights
from pipeline.checkpoint import Checkpoint
from pipeline.config import Config
from pipeline.data.augment import Warp, places
from pipeline.data.batches import Batches, Shift, Store
from pipeline.data.prepared import Part, Prepared, open_prepared
from pipeline.errors import RunError
from pipeline.model import RecurrentClassifier
from pipeline.state import State

if TYPE_CHECKING:
    from accelerate import Accelerator


def make_model(settings: Config, prepared: Prepared) -> RecurrentClassifier:
    """The configured model for the prepared data, with its normalisation; the weights follow from run.seed."""
    torch.manual_seed(settings.run.seed)
    model = RecurrentClassifier(**model_arguments(settings, prepared))
    model.set_normalization(*prepared.normalization(settings.data.normalize))
    return model


def model_arguments(settings: Config, prepared: Prepared) -> dict[str, Any]:
    """What RecurrentClassifier is made with: facts of the data, choices of the configuration."""
    facts = {"features": prepared.manifest.features, "classes": len(prepared.manifest.class_names)}
    return facts | settings.model.model_dump()


def make_state(settings: Config, prepared: Prepared, accelerator: Accelerator) -> State:
    """The configured model, on the device and ready for training, with its optimiser and class weights."""
    model = make_model(settings, prepared).to(accelerator.device)
    state = engine.make_state(model, optim.make_optimizer(model, settings.optim), settings.train, accelerator)
    if settings.train.class_weights == "balanced":
        counts = torch.tensor(prepared.manifest.parts["train"].class_counts)
        state.class_weights = class_weights(counts).to(accelerator.device)
    return state


def make_batches(settings: Config, prepared: Prepared, store: Store, slices: int, mine: range) -> Batches:
    """The training batches of the process that computes the slices numbered ``mine``, augmented as configured."""
    shift = Shift(prepared.manifest, settings.data.shift, store.home) if settings.data.shift else None
    warp = Warp(prepared.manifest, settings.data, store.device) if settings.data.warps else None
    options = settings.train
    balanced = options.sampling == "balanced"
    return Batches(store, options.batch, slices, mine, settings.run.seed, shift, warp, options.bucket, balanced)


def assert_same_data(found: Checkpoint, prepared: Prepared) -> None:
    """Raise RunError if a checkpoint was trained on other data than ``prepared``."""
    if found.facts["data"] != prepared.digest:
        raise RunError(
            f"{found.folder}: was trained on other data than {prepared.folder} holds now; "
            "put that data back and prepare it again, or name another folder: run.dir=runs/NAME"
        )


def best_of(folder: Path, settings: Config) -> tuple[RecurrentClassifier, Checkpoint, Prepared]:
    """The model of a run with its best weights, on the CPU, and the data that it was trained on."""
    found = checkpoint.best(folder / "checkpoints")
    prepared = open_prepared(settings.data)
    assert_same_data(found, prepared)
    model = make_model(settings, prepared)
    checkpoint.load_weights(found, model)
    return model.eval(), found, prepared


def draw_examples(path: Path, prepared: Prepared, part: Part, rows: Sequence[int], titles: Sequence[str]) -> None:
    """Draw the examples ``rows`` of a part: as the images that they were made from, or as lines over the steps."""
    values, _, lengths = Store(part, torch.device("cpu"), 0).take(torch.tensor(rows, dtype=torch.int64))
    manifest = prepared.manifest
    if manifest.image is None:
        mean, scale = prepared.normalization("feature")
        values = (values - mean) * scale  # or the channel of the widest range would hide the others
        steps = [values.shape[1]] * len(values) if lengths is None else lengths.tolist()
        plots.sample_grid(path, [x[:most].numpy() for x, most in zip(values, steps, strict=True)], titles, lines=True)
        return
    flat = values.reshape(len(values), -1)[:, places(manifest)]
    plots.sample_grid(path, flat.reshape(-1, *manifest.image).numpy(), titles)
