"""The sections of the configuration: validated and immutable. A file states only what differs from the defaults below."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipeline.config.base import Section, ShareOrCount, field
from pipeline.config.data_section import Data

Interval = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^[1-9][0-9]* epochs?$")]


class Run(Section):
    """Where a run lies and what makes it repeat."""

    dir: str = field("", "the run folder; empty: `runs/` and the name of the configuration file")
    seed: int = field(0, "weights, order of the data, augmentation and dropout all follow from it", ge=0, lt=2**63)
    deterministic: bool = field(False, "refuse GPU kernels that do not repeat exactly (CPU runs always repeat)")
    timeout: int = field(600, "seconds a process waits for the others before it gives up with an error", ge=10)
    threads: int = field(1, "CPU threads a process; never inherited, since results depend on it bit for bit", ge=1, le=1024)
    pin: bool = field(True, "several processes on the CPUs of one machine keep to cores of their own while they train")


class Model(Section):
    """The arguments of RecurrentClassifier that are a choice."""

    cell: Literal["lstm", "gru", "rnn"] = field("lstm", "the recurrent cell")
    hidden: int = field(64, "units of each layer and direction", ge=1)
    layers: int = field(1, "stacked layers", ge=1)
    bidirectional: bool = field(False, "read the sequence from both ends")
    dropout: float = field(0.0, "between layers", ge=0, lt=1)
    pooling: Literal["last", "mean", "max", "attention"] = field(
        "last", "over the valid steps; `last`: each direction's final state; `attention`: a mean with learned weights"
    )
    init: Literal["pytorch", "orthogonal"] = field(
        "pytorch", "`orthogonal`: recurrent weights orthogonal, input weights Glorot, LSTM forget bias 1"
    )
    projection: int = field(0, "width of a linear layer between the features and the recurrence; 0: none", ge=0)
    layer_norm: bool = field(False, "normalise the outputs of each recurrent layer over its units")
    conv: int = field(0, "channels of a convolutional branch beside the recurrence, as in LSTM-FCN; 0: none", ge=0)
    head_dropout: float = field(0.0, "before the head", ge=0, lt=1)
    conv_norm: Literal["layer", "batch"] = field(
        "layer",
        "of the convolutional branch; `batch`: over the batch in training (in exact mode over each shard, with `accumulate` "
        "over each part), by fixed numbers afterwards; `layer`: each step over its channels",
    )


class Optim(Section):
    """The optimiser and its learning rate."""

    name: Literal["adam", "adamw", "sgd"] = field("adam", "the optimiser")
    lr: float = field(0.01, "the rate; the peak of the schedule", gt=0)
    weight_decay: float = field(0.0, "of matrices only, never of biases", ge=0)
    momentum: float = field(0.9, "of sgd", ge=0, lt=1)
    schedule: Literal["constant", "cosine", "linear", "one_cycle"] = field("constant", "the rate over the run")
    warmup: ShareOrCount = field(0, "a share of all steps (0.1) or a count (500); 0 with one_cycle: 0.3")
    clip: float = field(0.0, "the largest gradient norm; 0: no clipping", ge=0)


class Train(Section):
    """The training loop: batches, precision, what is kept and when."""

    epochs: int = field(10, "passes over the training part", ge=1)
    batch: int = field(64, "examples an optimiser step, over all processes together", ge=1)
    bucket: bool = field(False, "batches of similar length, for less padding; no effect where all lengths are equal")
    accumulate: int = field(1, "parts a batch is computed in, to save memory", ge=1)
    precision: Literal["fp32", "bf16", "fp16"] = field("fp32", "of the forward and backward pass")
    cpu_lstm: Literal["auto", "torch"] = field(
        "auto", "`auto`: on CPUs in fp32, our own LSTM kernel, compiled at the first start, where it can be; `torch`: PyTorch's"
    )
    cuda_graph: Literal["off", "auto"] = field(
        "off", "`auto`: on one GPU, a step is one CUDA graph where it can be; written without a GPU to try it on"
    )
    label_smoothing: float = field(0.0, "share of the target spread over all classes", ge=0, lt=1)
    ema: float = field(0.0, "decay of the averaged weights that are evaluated and exported; 0: none", ge=0, lt=1)
    early_stopping: int = field(0, "stop after this many evaluations without a better `monitor`; 0: never", ge=0)
    monitor: Literal["valid/accuracy", "valid/loss", "valid/macro_f1", "valid/balanced_accuracy"] = field(
        "valid/accuracy", "what makes a checkpoint the best"
    )
    class_weights: Literal["none", "balanced"] = field("none", "`balanced`: each class has the same share in the training loss")
    sampling: Literal["shuffle", "balanced"] = field(
        "shuffle", "`balanced`: an epoch holds each class equally often, examples of small classes again and again"
    )
    gradient_shards: int = field(0, "exact mode: parts of a batch whose gradients are summed in one fixed tree; 0: off", ge=0)
    log_every: int = field(50, "steps between records of the training loss", ge=1)
    evaluate_every: Interval = field("1 epoch", "steps, or `N epochs`, between evaluations on the validation part")
    checkpoint_every: Interval = field("1 epoch", "steps, or `N epochs`, between checkpoints")
    keep_last: int = field(2, "checkpoints kept besides the best", ge=1)
    compare_every: int = field(500, "steps between comparisons of the weights of all processes; 0: at checkpoints only", ge=0)
    on_nonfinite: Literal["stop", "skip"] = field(
        "stop", "a loss or gradient that is not finite stops the run or skips the update"
    )
    watch_test: int = field(0, "show accuracy on the first 2,000 test examples every so many steps; never used to choose", ge=0)


class Track(Section):
    """Views of a run besides metrics.jsonl."""

    backends: tuple[Literal["wandb", "tensorboard"], ...] = field(
        ("wandb",), "besides metrics.jsonl; [] for none", strict=False
    )
    project: str = field("sequence-pipeline", "the project's name there", min_length=1)
    name: str = field("", "the run's name there; empty: the name of the run folder")
    tags: tuple[str, ...] = field((), "labels there", strict=False)


class Export(Section):
    """Files for other software."""

    formats: tuple[Literal["safetensors", "onnx", "pt2"], ...] = field(
        ("safetensors", "onnx", "pt2"), "files written", strict=False
    )
    tolerance: float = field(1e-4, "largest difference of a logit from the original's", gt=0)


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


def interval(value: int | str, steps_per_epoch: int) -> int:
    """An ``Interval`` in optimiser steps."""
    return value if isinstance(value, int) else int(value.split()[0]) * steps_per_epoch
