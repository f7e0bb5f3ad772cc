"""YAML file + overrides -> validated, immutable sections.

A file states only what differs from the defaults below. ``load`` reads it, lays ``section.key=value``
overrides on top and reports every fault at once, each with its file and line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from pipeline import config_errors, yamlfile
from pipeline.config_data import EMNIST_SPLITS as EMNIST_SPLITS
from pipeline.config_data import Data as Data
from pipeline.config_data import Part
from pipeline.config_data import Section as Section
from pipeline.config_data import field as _field
from pipeline.config_errors import without_secret
from pipeline.errors import ConfigError

Interval = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^[1-9][0-9]* epochs?$")]


class Run(Section):
    """Where a run lies and what makes it repeat."""

    dir: str = _field("", "the run folder; empty: `runs/` and the name of the configuration file")
    seed: int = _field(0, "weights, order of the data, augmentation and dropout all follow from it", ge=0, lt=2**63)
    deterministic: bool = _field(False, "refuse GPU kernels that do not repeat exactly (CPU runs always repeat)")
    timeout: int = _field(600, "seconds a process waits for the others before it gives up with an error", ge=10)
    threads: int = _field(1, "CPU threads a process; never inherited, since results depend on it bit for bit", ge=1, le=1024)
    pin: bool = _field(True, "several processes on the CPUs of one machine keep to cores of their own while they train")


class Model(Section):
    """The arguments of RecurrentClassifier that are a choice."""

    cell: Literal["lstm", "gru", "rnn"] = _field("lstm", "the recurrent cell")
    hidden: int = _field(64, "units of each layer and direction", ge=1)
    layers: int = _field(1, "stacked layers", ge=1)
    bidirectional: bool = _field(False, "read the sequence from both ends")
    dropout: float = _field(0.0, "between layers", ge=0, lt=1)
    pooling: Literal["last", "mean", "max", "attention"] = _field(
        "last", "over the valid steps; `last`: each direction's final state; `attention`: a mean with learned weights"
    )
    init: Literal["pytorch", "orthogonal"] = _field(
        "pytorch", "`orthogonal`: recurrent weights orthogonal, input weights Glorot, LSTM forget bias 1"
    )
    projection: int = _field(0, "width of a linear layer between the features and the recurrence; 0: none", ge=0)
    layer_norm: bool = _field(False, "normalise the outputs of each recurrent layer over its units")
    conv: int = _field(0, "channels of a convolutional branch beside the recurrence, as in LSTM-FCN; 0: none", ge=0)
    head_dropout: float = _field(0.0, "before the head", ge=0, lt=1)


class Optim(Section):
    """The optimiser and its learning rate."""

    name: Literal["adam", "adamw", "sgd"] = _field("adam", "the optimiser")
    lr: float = _field(0.01, "the rate; the peak of the schedule", gt=0)
    weight_decay: float = _field(0.0, "of matrices only, never of biases", ge=0)
    momentum: float = _field(0.9, "of sgd", ge=0, lt=1)
    schedule: Literal["constant", "cosine", "linear", "one_cycle"] = _field("constant", "the rate over the run")
    warmup: Part = _field(0, "a share of all steps (0.1) or a count (500); 0 with one_cycle: 0.3")
    clip: float = _field(0.0, "the largest gradient norm; 0: no clipping", ge=0)


class Train(Section):
    """The training loop: batches, precision, what is kept and when."""

    epochs: int = _field(10, "passes over the training part", ge=1)
    batch: int = _field(64, "examples an optimiser step, over all processes together", ge=1)
    bucket: bool = _field(False, "batches of similar length, for less padding; no effect where all lengths are equal")
    accumulate: int = _field(1, "parts a batch is computed in, to save memory", ge=1)
    precision: Literal["fp32", "bf16", "fp16"] = _field("fp32", "of the forward and backward pass")
    cpu_lstm: Literal["auto", "torch"] = _field(
        "auto", "`auto`: on CPUs in fp32, our own LSTM kernel, compiled at the first start, where it can be; `torch`: PyTorch's"
    )
    cuda_graph: Literal["off", "auto"] = _field(
        "off", "`auto`: on one GPU, a step is one CUDA graph where it can be; written without a GPU to try it on"
    )
    label_smoothing: float = _field(0.0, "share of the target spread over all classes", ge=0, lt=1)
    ema: float = _field(0.0, "decay of the averaged weights that are evaluated and exported; 0: none", ge=0, lt=1)
    early_stopping: int = _field(0, "stop after this many evaluations without a better `monitor`; 0: never", ge=0)
    monitor: Literal["valid/accuracy", "valid/loss", "valid/macro_f1", "valid/balanced_accuracy"] = _field(
        "valid/accuracy", "what makes a checkpoint the best"
    )
    class_weights: Literal["none", "balanced"] = _field(
        "none", "`balanced`: each class has the same share in the training loss"
    )
    sampling: Literal["shuffle", "balanced"] = _field(
        "shuffle", "`balanced`: an epoch holds each class equally often, examples of small classes again and again"
    )
    gradient_shards: int = _field(0, "exact mode: parts of a batch whose gradients are summed in one fixed tree; 0: off", ge=0)
    log_every: int = _field(50, "steps between records of the training loss", ge=1)
    evaluate_every: Interval = _field("1 epoch", "steps, or `N epochs`, between evaluations on the validation part")
    checkpoint_every: Interval = _field("1 epoch", "steps, or `N epochs`, between checkpoints")
    keep_last: int = _field(2, "checkpoints kept besides the best", ge=1)
    compare_every: int = _field(500, "steps between comparisons of the weights of all processes; 0: at checkpoints only", ge=0)
    on_nonfinite: Literal["stop", "skip"] = _field(
        "stop", "a loss or gradient that is not finite stops the run or skips the update"
    )
    watch_test: int = _field(
        0, "show accuracy on the first 2,000 test examples every so many steps; never used to choose", ge=0
    )


class Track(Section):
    """Views of a run besides metrics.jsonl."""

    backends: tuple[Literal["wandb", "tensorboard"], ...] = _field(
        ("wandb",), "besides metrics.jsonl; [] for none", strict=False
    )
    project: str = _field("sequence-pipeline", "the project's name there", min_length=1)
    name: str = _field("", "the run's name there; empty: the name of the run folder")
    tags: tuple[str, ...] = _field((), "labels there", strict=False)


class Export(Section):
    """Files for other software."""

    formats: tuple[Literal["safetensors", "onnx", "pt2"], ...] = _field(
        ("safetensors", "onnx", "pt2"), "files written", strict=False
    )
    tolerance: float = _field(1e-4, "largest difference of a logit from the original's", gt=0)


class Config(Section):
    """The whole configuration; checks that concern several sections live here."""

    run: Run = Run()
    data: Data = Data()
    model: Model = Model()
    optim: Optim = Optim()
    train: Train = Train()
    track: Track = Track()
    export: Export = Export()

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        faults = list(self._disagreements())
        if faults:
            raise PydanticCustomError("disagreement", "sections disagree", {"faults": faults})
        return self

    def _disagreements(self) -> Iterator[tuple[str, str]]:
        yield from self.data.disagreements()
        train, shards = self.train, self.train.gradient_shards
        if train.batch % train.accumulate:
            yield "train.batch", f"{train.batch} cannot be cut into train.accumulate = {train.accumulate} equal parts"
        if shards and shards & (shards - 1):
            yield "train.gradient_shards", f"expected a power of two, got {shards}"
        elif shards and train.batch % shards:
            yield "train.batch", f"{train.batch} cannot be cut into train.gradient_shards = {shards} equal parts"
        if shards and train.accumulate > 1:
            yield "train.accumulate", "exact mode computes a batch shard by shard already; leave it at 1"
        if any("@" in address for address in self.data.mirrors):
            yield "data.mirrors", "an address must hold no user or password: it is written to the run folder"
        if train.class_weights == train.sampling == "balanced":
            yield "train.sampling", "balances the classes already; set train.class_weights to none, or sampling to shuffle"
        if train.early_stopping and not self.data.validation:
            yield "train.early_stopping", "needs a validation part; set data.validation"
        if self.model.dropout and self.model.layers == 1:
            yield "model.dropout", "acts between layers; set model.layers to 2 or more, or model.head_dropout"


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration in ``path`` with ``section.key=value`` overrides on top.

    Raises ConfigError that lists every fault as ``file:line: section.key: what was expected``.
    """
    path = Path(path)
    values, lines = yamlfile.read(path)
    if not isinstance(values, dict | None):
        raise ConfigError(f"{path}:1: expected sections ({', '.join(Config.model_fields)}), got {without_secret(repr(values))}")
    values = {name: {} if section is None else section for name, section in (values or {}).items()}
    places = {key: f"{path}:{line}" for key, line in lines.items()}
    for text in overrides:
        key, value = _override(text)
        places[key] = f"command line: {without_secret(text)}"
        section = values.setdefault(key[0], {})
        places.setdefault(key[:1], places[key])
        if isinstance(section, dict):
            section[key[1]] = value
    if isinstance(run := values.setdefault("run", {}), dict) and run.get("dir") in (None, ""):
        run["dir"] = f"runs/{path.stem}"
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        known = {name: list(section.model_fields) for name, section in _sections()}
        raise ConfigError("\n".join(config_errors.faults(error, places, str(path), known))) from None


def _override(text: str) -> tuple[yamlfile.Key, Any]:
    name, equals, value = text.partition("=")
    key = tuple(name.split("."))
    place = f"command line: {without_secret(text)}"
    if not equals or len(key) != 2 or not all(key):
        raise ConfigError(f"{place}: expected section.key=value, such as optim.lr=0.001")
    return key, yamlfile.parse(value, place)[0]


def _sections() -> Iterator[tuple[str, type[Section]]]:
    for name, field in Config.model_fields.items():
        assert isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        yield name, field.annotation


def dump(config: Config) -> str:
    """The resolved configuration as YAML; ``load`` gives the same configuration back."""
    return yamlfile.dump(config.model_dump(mode="json"))


def differences(one: Config, other: Config, ignore: Sequence[str] = ()) -> list[str]:
    """``section.key: value in one -> value in other`` for every key that differs."""
    return [
        f"{name}.{key}: {value!r} -> {getattr(getattr(other, name), key)!r}"
        for name, section in one
        for key, value in section
        if f"{name}.{key}" not in ignore and value != getattr(getattr(other, name), key)
    ]


def interval(value: int | str, steps_per_epoch: int) -> int:
    """An ``Interval`` in optimiser steps."""
    return value if isinstance(value, int) else int(value.split()[0]) * steps_per_epoch


def reference() -> str:
    """Every key as a Markdown table; the README holds it, and a test compares."""
    rows = ["| key | default | what |", "|---|---|---|"]
    for name, section in _sections():
        for key, field in section.model_fields.items():
            default = json.dumps(field.default).replace('"', "") if field.default != "" else '""'
            rows.append(f"| `{name}.{key}` | `{default}` | {field.description}{_choices(field.annotation)} |")
    return "\n".join(rows)


def _choices(annotation: Any) -> str:
    values = getattr(annotation, "__args__", ())
    return f" ({', '.join(values)})" if values and all(isinstance(value, str) for value in values) else ""
