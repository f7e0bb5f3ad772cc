"""The sections of the configuration: validated and immutable. A file states only what differs from the defaults below."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipeline.config.base import MOST, Section, ShareOrCount, field
from pipeline.config.data_section import Data

Interval = Annotated[int, Field(ge=1, le=MOST)] | Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8} epochs?$")]
WIDEST = 2**20  # of a layer: beyond what memory holds, and within what torch can count


class Run(Section):
    """Where a run lies and what makes it repeat."""

    dir: str = field(
        "", "the run folder; empty: `runs/` and the name of the configuration file, or the next free `runs/NAME-2` and so on"
    )
    seed: int = field(0, "seed of the weights, the order of the data, augmentation and dropout", ge=0, lt=2**63)
    deterministic: bool = field(False, "refusal of GPU kernels that do not repeat exactly; CPU runs always repeat")
    timeout: int = field(600, "seconds that a process waits for the others before it ends with an error", ge=10)
    join_timeout: int = field(300, "seconds that the processes of a launch have to find each other at the start", ge=5)
    threads: int = field(1, "CPU threads per process; never inherited, as results depend on it bit for bit", ge=1, le=1024)
    pin: bool = field(True, "cores of its own for each of several processes on one machine's CPUs")


class Model(Section):
    """The network: what RecurrentClassifier is made of."""

    cell: Literal["lstm", "gru", "rnn"] = field("lstm", "the recurrent cell")
    hidden: int = field(64, "units per layer and direction", ge=1, le=WIDEST)
    layers: int = field(1, "number of stacked layers", ge=1, le=1024)
    bidirectional: bool = field(False, "two directions: the sequence is read from both ends")
    dropout: float = field(0.0, "dropout between layers", ge=0, lt=1)
    pooling: Literal["last", "mean", "max", "attention"] = field(
        "last", "how the valid steps become one vector; `last`: each direction's final state; `attention`: a weighted mean"
    )
    init: Literal["pytorch", "orthogonal", "chrono"] = field(
        "pytorch",
        "initial weights; `orthogonal`: recurrent weights orthogonal, input weights Glorot, LSTM forget bias 1; `chrono`: "
        "the same, and units remember for times from 1 step to the longest series (LSTM, GRU)",
    )
    projection: int = field(0, "width of a linear layer between the features and the recurrence; 0: none", ge=0, le=WIDEST)
    layer_norm: bool = field(False, "layer normalisation of the outputs of each recurrent layer")
    conv: int = field(0, "channels of a convolutional branch beside the recurrence, as in LSTM-FCN; 0: none", ge=0, le=WIDEST)
    head_dropout: float = field(0.0, "dropout before the head", ge=0, lt=1)
    conv_norm: Literal["layer", "batch"] = field(
        "layer",
        "normalisation of the convolutional branch; `layer`: each step over its channels; `batch`: over the batch in training "
        "(in exact mode over each shard, with `accumulate` over each piece), by fixed numbers afterwards",
    )

    def disagreements(self) -> Iterator[tuple[str, str]]:
        """Keys that do not go together, each with what is wrong."""
        if self.init == "chrono" and self.cell == "rnn":
            yield "model.init", "chrono is about gates, which rnn has not; set it to orthogonal, or model.cell to lstm or gru"
        if self.dropout and self.layers == 1:
            yield "model.dropout", "acts between layers; set model.layers to 2 or more, or model.head_dropout"
        alone = "and one alone becomes a constant; set"
        if self.layer_norm and self.hidden == 1:
            yield "model.layer_norm", f"normalises the units of a layer, {alone} model.hidden to 2 or more"
        if self.conv == 1 and self.conv_norm == "layer":
            more = "it to 2 or more, or model.conv_norm to batch"
            yield "model.conv", f"the channels of each step are normalised, {alone} {more}"


class Optim(Section):
    """The optimiser and its learning rate."""

    name: Literal["adam", "adamw", "sgd"] = field("adam", "the optimiser")
    lr: float = field(0.01, "learning rate; the peak of the schedule", gt=0)
    weight_decay: float = field(0.0, "weight decay, of matrices only and never of biases", ge=0)
    momentum: float = field(0.9, "momentum of `sgd`", ge=0, lt=1)
    schedule: Literal["constant", "cosine", "linear", "one_cycle"] = field("constant", "learning rate over the run")
    warmup: ShareOrCount = field(
        0, "steps of rising learning rate: a share of all (0.1) or a count (500); 0 with `one_cycle`: 0.3"
    )
    clip: float = field(0.0, "maximum norm of the gradient; 0: no clipping", ge=0)


class Train(Section):
    """The training loop: batches, precision, what is kept and when."""

    epochs: int = field(10, "passes over the train split", ge=1)
    batch: int = field(64, "examples per optimiser step, over all processes together", ge=1)
    bucket: bool = field(False, "batches of similar length, for less padding; no effect where all lengths are equal")
    accumulate: int = field(1, "pieces that a batch is computed in, to save memory", ge=1)
    precision: Literal["fp32", "bf16", "fp16"] = field("fp32", "number format of the forward and backward pass")
    cpu_lstm: Literal["auto", "torch"] = field(
        "auto", "LSTM kernel on CPUs; `auto`: in fp32 our own, compiled at the first start, where it can be; `torch`: PyTorch's"
    )
    gpu_lstm: Literal["auto", "torch"] = field(
        "auto",
        "LSTM kernel on GPUs; `auto`: our own, compiled at the first start, for sizes where it is faster; `torch`: cuDNN's",
    )
    data_parallel: Literal["auto", "ddp", "flat"] = field(
        "auto",
        "how processes sum gradients; `ddp`: by torch's DDP, during the backward pass; `flat`: all at once after it; `auto`: "
        "`flat` on GPUs for gradients of up to 25 MB, else `ddp`",
    )
    cuda_graph: Literal["off", "auto"] = field(
        "auto", "a training step as one CUDA graph; `auto`: on GPUs, where it can be; `off`: launched kernel by kernel"
    )
    label_smoothing: float = field(0.0, "share of the target that is spread over all classes", ge=0, lt=1)
    ema: float = field(0.0, "decay of the averaged weights that are evaluated and exported; 0: none", ge=0, lt=1)
    early_stopping: int = field(0, "evaluations without a better `monitor` after which training stops; 0: never", ge=0)
    monitor: Literal["valid/accuracy", "valid/loss", "valid/macro_f1", "valid/balanced_accuracy"] = field(
        "valid/accuracy", "the metric that makes a checkpoint the best; of equal values the lower loss does"
    )
    class_weights: Literal["none", "balanced"] = field(
        "none", "weights of classes in the training loss; `balanced`: the same share for each class"
    )
    sampling: Literal["shuffle", "balanced"] = field(
        "shuffle", "examples of an epoch; `balanced`: each class equally often, by repeated examples of small classes"
    )
    gradient_shards: int = field(0, "exact mode: shards of a batch, whose gradients are summed in one fixed tree; 0: off", ge=0)
    folds: int = field(
        0,
        "cross-validation: parts of the training examples, each held out once from a training on the others; 0: none",
        ge=0,
        le=1000,
    )
    log_every: int = field(50, "steps between records of the training loss", ge=1)
    evaluate_every: Interval = field("1 epoch", "steps, or `N epochs`, between evaluations on the valid split")
    checkpoint_every: Interval = field("1 epoch", "steps, or `N epochs`, between checkpoints")
    keep_last: int = field(2, "checkpoints kept besides the best", ge=1)
    compare_every: int = field(500, "steps between comparisons of the weights of all processes; 0: at checkpoints only", ge=0)
    on_nonfinite: Literal["stop", "skip"] = field(
        "stop", "what follows a loss or gradient that is not finite: the run stops, or the update is skipped"
    )
    watch_test: int = field(
        0, "steps between looks at the accuracy on the first 2,000 test examples, which is never used; 0: none", ge=0
    )


class Track(Section):
    """Views of a run besides metrics.jsonl."""

    backends: tuple[Literal["wandb", "tensorboard", "mlflow", "trackio"], ...] = field(
        ("wandb",), "trackers besides metrics.jsonl, of wandb, tensorboard, mlflow and trackio; []: none", strict=False
    )
    project: str = field("sequence-pipeline", "name of the project in the tracker", min_length=1)
    name: str = field("", "name of the run in the tracker; empty: the name of the run folder")
    tags: tuple[str, ...] = field((), "tags of the run in the tracker", strict=False)
    entity: str = field("", "user or team in wandb that the run belongs to; empty: the one of the key")
    notes: str = field("", "notes on the run in the tracker")
    group: str = field("", "group of the run in the tracker; empty: of several seeds or folds, the name of the run folder")
    id: str = field("", "id of the run in wandb; empty: one that the run folder keeps", pattern=r"^[A-Za-z0-9_-]{0,64}$")
    system: bool = field(False, "use of GPU, CPU and memory, the host and the program in wandb too")
    git: bool = field(False, "the commit of the program in wandb too")


class Export(Section):
    """Files for other software."""

    formats: tuple[Literal["safetensors", "onnx", "pt2"], ...] = field(
        ("safetensors", "onnx", "pt2"), "formats of the exported model", strict=False
    )
    tolerance: float = field(1e-4, "maximum difference of a logit from the trained model's", gt=0)


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
        if train.folds == 1:
            yield "train.folds", "takes two parts or more; 0 for no cross-validation"
        if train.class_weights == train.sampling == "balanced":
            yield "train.sampling", "balances the classes already; set train.class_weights to none, or sampling to shuffle"
        if train.early_stopping and not self.data.validation:
            yield "train.early_stopping", "needs a validation split; set data.validation"
        yield from self.model.disagreements()


def interval(value: int | str, steps_per_epoch: int) -> int:
    """An ``Interval`` in optimiser steps."""
    return value if isinstance(value, int) else int(value.split()[0]) * steps_per_epoch
