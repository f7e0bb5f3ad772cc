"""Keys that change nothing beside the others, and why: what is said to who wrote one.

What cannot be meant is refused where it is declared. These are accepted, since configurations that ran must go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from pipeline import files
from pipeline.config.data_section import SERIES
from pipeline.config.sections import Config


class Idle(NamedTuple):
    """Keys, separated by spaces, that have no effect ``when``, and ``why``, in which ``{c.data.source}`` is that value."""

    keys: str
    when: Callable[[Config], bool]
    why: str


def idle(config: Config, section: str = "") -> Iterator[str]:
    """A line about each key that somebody wrote and that has no effect; with ``section`` about those of that section alone."""
    said = set[str]()
    for keys, when, why in RULES:
        written = [key for key in keys.split() if _is_written(config, key) and key not in said]
        written = [key for key in written if key.startswith(section and f"{section}.")]
        if written and when(config):
            said.update(written)
            yield f"{', '.join(written)} {'have' if written[1:] else 'has'} no effect: {why.format(c=config)}"


def _is_written(config: Config, key: str) -> bool:
    section, name = key.split(".")
    found: bool = getattr(config, section).is_chosen(name)
    return found


def _own(config: Config) -> bool:
    """Whether the data is the user's own."""
    return config.data.series or config.data.source == "images"


def _in_folders(config: Config) -> bool:
    """Whether a folder of images has folders of both splits."""
    if config.data.source != "images":
        return False
    with suppress(OSError):  # it may not be looked at here, where only what was made of it is read
        return all((files.path(config.data.path) / name).is_dir() for name in ("train", "test"))
    return False


def _cut_by_chance(config: Config) -> bool:
    """Whether some split is cut in an order by chance."""
    data = config.data
    test = _own(config) and not data.test_path and not _in_folders(config)
    return data.split != "time" and bool(test or data.validation or data.fold or config.train.folds)


def _unheard(*backends: str) -> Callable[[Config], bool]:
    """Whether there are trackers, and none is of ``backends``."""
    return lambda c: bool(c.track.backends) and not {*backends} & {*c.track.backends}


OF_LSTMS = "the kernel is of LSTMs, and model.cell = {c.model.cell}"
RULES = (
    Idle("data.test", lambda c: not _own(c), "data.source = {c.data.source} has a test split of its own"),
    Idle("data.test", lambda c: bool(c.data.test_path), "the test split is data.test_path"),
    Idle("data.test", _in_folders, "the test split is the folder test/ in data.path"),
    Idle("data.fold", lambda c: bool(c.data.fold and c.train.folds), "train.folds says which parts there are"),
    Idle("data.validation", lambda c: bool(c.data.fold and c.data.validation), "data.fold says what the valid split is"),
    Idle(
        "data.validation",
        lambda c: bool(c.train.folds and c.data.validation),
        "of {c.train.folds} folds each is the valid split once",
    ),
    Idle("data.seed", lambda c: c.data.split == "time", "data.split = time draws nothing by chance"),
    Idle(
        "data.seed",
        lambda c: not _cut_by_chance(c) and c.data.view != "permuted_pixels",
        "no split is cut from another, so that nothing is drawn by chance",
    ),
    Idle("data.emnist_split", lambda c: c.data.source != "emnist", "it is of data.source = emnist"),
    Idle("data.root data.mirrors", _own, "data.source = {c.data.source} reads data.path"),
    Idle("data.root data.mirrors", lambda c: c.data.source == "digits", "digits come with scikit-learn"),
    Idle("data.layout", lambda c: not getattr(SERIES.get(c.data.source), "columns", False), "it is of CSV and Parquet"),
    Idle("data.header data.decimal", lambda c: c.data.source != "csv", "it is of CSV"),
    Idle(
        "data.id data.time data.label",
        lambda c: c.data.source in ("ts", "arff"),
        "data.source = {c.data.source} has no columns; the file itself says which is the class",
    ),
    Idle("data.truncate", lambda c: not c.data.max_length, "no series is too long while data.max_length = 0"),
    Idle("data.shard_mb", lambda c: not c.data.series, "images are prepared in a file a split"),
    Idle("model.conv_norm", lambda c: not c.model.conv, "there is no convolutional branch; set model.conv"),
    Idle("optim.momentum", lambda c: c.optim.name != "sgd", "it is of sgd, and optim.name = {c.optim.name}"),
    Idle(
        "optim.warmup",
        lambda c: c.optim.schedule == "one_cycle" and not c.optim.warmup,
        "optim.schedule = one_cycle takes 0 for its usual 0.3; for next to none set a small share, such as 0.01",
    ),
    Idle(
        "train.bucket",
        lambda c: c.train.bucket and (not c.data.series or bool(c.data.resample)),
        "all examples are of one length",
    ),
    Idle("train.cpu_lstm train.gpu_lstm", lambda c: c.model.cell != "lstm", OF_LSTMS),
    Idle("train.cpu_lstm", lambda c: c.train.precision != "fp32", "on CPUs {c.train.precision} is trained by torch"),
    Idle("train.data_parallel", lambda c: bool(c.train.gradient_shards), "exact mode sums gradients in a way of its own"),
    Idle("train.early_stopping", lambda c: bool(c.train.folds), "no fold chooses by what it is measured on"),
    Idle(
        "train.monitor train.evaluate_every",
        lambda c: not (c.data.validation or c.data.fold or c.train.folds),
        "data.validation = 0, so that there is no valid split",
    ),
    Idle("run.pin", lambda c: c.run.pin and c.run.threads > 1, "processes of several threads keep to no core"),
    Idle("track.entity track.id track.git", _unheard("wandb"), "it is of wandb, which is not in track.backends"),
    Idle("track.system track.group", _unheard("wandb", "trackio"), "no tracker in track.backends takes it"),
    Idle("track.tags track.notes", _unheard("wandb", "mlflow"), "no tracker in track.backends takes it"),
    Idle("track.project track.name", _unheard("wandb", "mlflow", "trackio"), "no tracker in track.backends takes it"),
)
