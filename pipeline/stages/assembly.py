"""What several stages put together: model, state, batches, the best weights of a run."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from pipeline import config, files
from pipeline.config import Config
from pipeline.data.augment import SeriesWarp, Shift, Warp
from pipeline.data.batches import Batches
from pipeline.data.prepared import COMMAND, Prepared, open_prepared
from pipeline.data.store import Store
from pipeline.distributed import collectives
from pipeline.errors import DataError, RunError, UserError
from pipeline.model import initial
from pipeline.model.classifier import RecurrentClassifier
from pipeline.run import advice, checkpoints
from pipeline.run.checkpoints import Checkpoint
from pipeline.training import optim
from pipeline.training.state import State, class_weights
from pipeline.training.state import make_state as ready

if TYPE_CHECKING:
    from accelerate import Accelerator


def warn_of_idle(settings: Config) -> None:
    """Say which keys somebody wrote that change nothing: one process does."""
    for line in config.idle(settings) if collectives.rank() == 0 else ():
        print(f"warning: {line}")


def make_model(settings: Config, prepared: Prepared) -> RecurrentClassifier:
    """The configured model for the prepared data, with its normalisation; the weights follow from run.seed."""
    torch.manual_seed(settings.run.seed)
    model = RecurrentClassifier(**model_arguments(settings, prepared))
    if settings.model.init == "chrono":
        initial.chrono(model.recurrent, prepared.manifest.length)
    model.set_normalization(*map(torch.from_numpy, prepared.manifest.normalization(settings.data.normalize)))
    return model


def model_arguments(settings: Config, prepared: Prepared) -> dict[str, Any]:
    """What RecurrentClassifier is made with: facts of the data, choices of the configuration."""
    facts = {"features": prepared.manifest.features, "classes": len(prepared.manifest.class_names)}
    return facts | settings.model.model_dump()


def make_state(settings: Config, prepared: Prepared, accelerator: Accelerator) -> State:
    """The configured model, on the device and ready for training, with its optimiser and class weights."""
    model = make_model(settings, prepared).to(accelerator.device)
    state = ready(model, optim.make_optimizer(model, settings.optim), settings.train, accelerator)
    if settings.train.class_weights == "balanced":
        counts = torch.tensor(prepared.manifest.parts["train"].class_counts)
        state.class_weights = class_weights(counts).to(accelerator.device)
    return state


def make_batches(settings: Config, prepared: Prepared, store: Store, slices: int, mine: range) -> Batches:
    """The training batches of the process that computes the slices numbered ``mine``, augmented as configured."""
    shift = Shift(prepared.manifest, settings.data.shift, store.home) if settings.data.shift else None
    kind = Warp if settings.data.warps else SeriesWarp if settings.data.series_warps else None
    warp = kind(prepared.manifest, settings.data, store.device) if kind else None
    options = settings.train
    balanced = options.sampling == "balanced"
    return Batches(store, options.batch, slices, mine, settings.run.seed, shift, warp, options.bucket, balanced)


def assert_same_data(found: Checkpoint, prepared: Prepared) -> None:
    """Raise RunError if a checkpoint was trained on other data than ``prepared``."""
    if found.facts.data != prepared.digest:
        raise RunError(
            f"{found.folder}: was trained on other data than {prepared.folder} holds now; "
            "put that data back and prepare it again, or name another folder: run.dir=runs/NAME"
        )


def prepared_of(folder: Path, settings: Config, trained_on: str = "") -> Prepared:
    """The data of a run, as ``open_prepared`` does, no part of it verified; what it raises says how to make it again."""
    try:
        return open_prepared(settings.data, verify=(), trained_on=trained_on)
    except DataError as error:
        again = advice.configured("prepare", str(folder / "config.yaml"))
        raise DataError(str(error).replace(COMMAND, again)) from None


def best_of(folder: Path, settings: Config) -> tuple[RecurrentClassifier, Checkpoint, Prepared]:
    """The model of a run with its best weights, on the CPU, and the data that it was trained on, no part of it verified."""
    found = checkpoints.best(folder / "checkpoints")
    prepared = prepared_of(folder, settings, found.facts.data)
    assert_same_data(found, prepared)
    model = make_model(settings, prepared)
    checkpoints.load_weights(found, model)
    return model.eval(), found, prepared


def fitted(settings: Config, prepared: Prepared, processes: int) -> Config:
    """``settings`` with a batch that the training split holds, where the batch was left to its default.

    It is the largest power of two that makes four steps per epoch, and at least 8: a few examples per step are enough
    for few examples. Raises UserError for a batch that the user chose and that is larger than the training split, of
    which every step would be mostly padding.
    """
    options, count = settings.train, prepared.manifest.parts["train"].count
    if options.batch <= count:
        return settings
    slices = options.gradient_shards or processes * options.accumulate
    batch = max(2 ** int(math.log2(max(1, count / 4))), min(8, count))
    batch = max(slices, batch // slices * slices)
    if "batch" in options.model_fields_set or batch > count:
        raise UserError(
            f"train.batch = {options.batch} is more than the {count} training examples; set train.batch={count} or less"
        )
    return with_batch(settings, batch)


def with_batch(settings: Config, batch: int) -> Config:
    """``settings`` with another batch."""
    return settings.model_copy(update={"train": settings.train.model_copy(update={"batch": batch})})


def fitting_batches(settings: Config, prepared: Prepared) -> frozenset[int]:
    """What ``fitted`` makes of a default batch that is too large, with any number of processes."""
    default = config.Train.model_fields["batch"].default
    plain = settings.model_copy(update={"train": config.Train(**settings.train.model_dump(exclude={"batch"}))})
    found = set[int]()
    if default <= prepared.manifest.parts["train"].count:
        return frozenset()
    for processes in range(1, default + 1):
        with suppress(UserError):
            found.add(fitted(plain, prepared, processes).train.batch)
    return frozenset(found)


def slices_of(train: config.Train, number: int, processes_: int) -> tuple[int, range]:
    """Into how many slices the global batch is cut, and which are those of process ``number``.

    Raises UserError if the batch cannot be cut so.
    """
    slices = train.gradient_shards or processes_ * train.accumulate
    if slices % processes_ or train.batch % slices:
        what = f"train.gradient_shards = {slices}" if train.gradient_shards else f"train.batch = {train.batch}"
        fitting = [
            n
            for n in range(1, train.batch + 1)
            if (slices % n if train.gradient_shards else train.batch % (n * train.accumulate)) == 0
        ]
        near = ", ".join(map(str, sorted(sorted(fitting, key=lambda n: abs(n - processes_))[:4])))
        parts = f" x train.accumulate = {train.accumulate}" if train.accumulate > 1 else ""
        raise UserError(
            f"{what} cannot be cut into equal parts for {processes_} processes{parts}; start {near} processes, or change it"
        )
    each = slices // processes_
    return slices, range(number * each, (number + 1) * each)


class Measured(BaseModel):
    """What is shown of an evaluation: a part of eval/metrics.json."""

    model_config = ConfigDict(strict=True)

    split: str
    step: int = Field(ge=0)
    count: int = Field(ge=0)
    accuracy: float = Field(ge=0, le=1)
    loss: float
    largest_class_accuracy: float | None = None  # older runs lack these
    nearest_neighbour_accuracy: float | None = None
    warnings: list[str] = []


def test_metrics(folder: Path) -> dict[str, Any] | None:
    """What the evaluation on the test split gave, if there was one. Raises RunError if its file is damaged."""
    path = folder / "eval" / "metrics.json"
    try:
        return files.read_json(path, Measured, limit=2**30).model_dump()  # of many classes it is large
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); type: {advice.of_run('evaluate', folder)}") from None
