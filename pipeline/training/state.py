"""What training changes, and how it is made ready.

Shapes: b slice, C classes, T time steps, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline import config
from pipeline.data.batches import Batches, Slice
from pipeline.distributed.collectives import gather, reduce_sum, together, world_size
from pipeline.errors import NonFiniteError, UserError
from pipeline.model import cpu_lstm
from pipeline.model.classifier import RecurrentClassifier
from pipeline.model.gpu_lstm import choices, layer
from pipeline.model.torch_private import leave_out_of_ddp

if TYPE_CHECKING:
    from accelerate import Accelerator

OVERLAPS = 25_000_000  # bytes of gradients beyond which DDP's sums, taken during the backward pass, are worth their launches

LEAST_SCALE = 2.0**-24  # of fp16, where a gradient of 1e12 still fits: if it overflows there, no scale helps


def class_weights(counts: Tensor) -> Tensor:
    """The weight (C) float32 of each class in the loss, from its ``counts`` (C) in the training split: n / (classes * count).

    Each class has the same share in the loss, as with scikit-learn's ``balanced`` (King and Zeng, 2001). The mean
    weight over the n examples is 1, so that the loss keeps its scale and no learning rate has to change. Classes
    without an example have the weight 0 and do not count as classes.
    """
    present = counts > 0
    weights = counts.sum() / (present.sum() * counts.clamp(min=1).double())
    return (weights * present).float()


def make_state(
    model: RecurrentClassifier, optimizer: torch.optim.Optimizer, train: config.Train, accelerator: Accelerator
) -> State:
    """Ready ``model``, which is on the device already, for training: DDP and mixed precision by Accelerate."""
    exact = bool(train.gradient_shards)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
    if accelerator.device.type == "cuda":
        model.trained_in, dtype = dtype or torch.float32, None
    layers, lanes = _choose_kernel(model, train, accelerator)
    ema = deepcopy(model).flatten_parameters() if train.ema else None
    # buffers are the same everywhere: DDP would send them to all at every step
    leave_out_of_ddp(model, [name for name, _ in model.named_buffers()])
    for norm in model.batch_norms if not exact else []:  # a shard of exact mode has statistics of its own
        norm.reduce = reduce_sum
    whole = exact or sums_at_once(model, train, accelerator.device)
    forward = accelerator.prepare_model(model, evaluation_mode=whole)  # without DDP where gradients are summed here
    accelerator.unwrap_model(forward, keep_fp32_wrapper=False)  # autocast is entered in training only, by slice_loss
    autocast = torch.autocast(accelerator.device.type, dtype) if dtype else nullcontext()
    nonfinite = torch.zeros((), device=accelerator.device)
    right = torch.zeros((), dtype=torch.float64, device=accelerator.device)
    more: dict[str, Any] = {"autocast": autocast, "nonfinite": nonfinite, "right": right, "layers": layers, "lanes": lanes}
    state = State(model, forward, optimizer, accelerator.scaler, ema, **more)
    if model.trained_in is not None:
        together(lambda: recurrent_dtype(state))
    return state


def sums_at_once(model: nn.Module, train: config.Train, device: torch.device) -> bool:
    """Whether the gradients of all processes are summed as one vector, without DDP, in plain mode."""
    size = sum(parameter.nbytes for parameter in model.parameters())
    return train.data_parallel == "flat" or (train.data_parallel == "auto" and device.type == "cuda" and size <= OVERLAPS)


def _choose_kernel(model: RecurrentClassifier, train: config.Train, accelerator: Accelerator) -> tuple[str, int]:
    """Let ``model`` train by a kernel of our own where all processes can and it is faster; what trains it, in words, and
    the lanes of the kernel, 1 on a GPU."""
    on_gpu = accelerator.device.type == "cuda"
    single = accelerator.mixed_precision == "no" and not on_gpu
    if (train.gpu_lstm if on_gpu else train.cpu_lstm) == "torch" or model.cell != "lstm" or not (single or on_gpu):
        return "by torch", 0
    problem, lanes = "", 1
    if on_gpu:
        problem, faster = _on_gpu(model, train, accelerator.device)
        if not faster:
            return "by torch", 0
    elif model.hidden % cpu_lstm.MULTIPLE or model.hidden > cpu_lstm.LARGEST:
        problem = f"model.hidden = {model.hidden} is no multiple of {cpu_lstm.MULTIPLE} up to {cpu_lstm.LARGEST}"
    else:
        try:
            lanes = cpu_lstm.library().lanes()
        except cpu_lstm.Unavailable as unavailable:
            problem = str(unavailable)
    problem = next((found for found in gather(problem) if found), "")
    model.by_kernel = not problem
    return (f"by torch, not by our own kernel: {problem}", 0) if problem else ("by our own kernel", lanes)


def _on_gpu(model: RecurrentClassifier, train: config.Train, device: torch.device) -> tuple[str, bool]:
    """Why our own kernel cannot train ``model`` on a GPU, in words, and whether it would be faster."""
    dtype, size = model.trained_in, train.batch // (train.gradient_shards or world_size() * train.accumulate)
    assert dtype is not None
    if not choices.faster(size * model.directions, model.hidden, dtype):
        return "", False
    problem = layer.problem(model.hidden, dtype, device)
    widths = {module.input_size for module in model.recurrent if isinstance(module, torch.nn.RNNBase)}
    for width in sorted(widths) if not problem else ():
        problem = problem or layer.unfit((size, width, model.hidden, model.directions), dtype, device)
    return problem, True


def recurrent_dtype(state: State) -> torch.dtype:
    """What the recurrent layers really compute in, as a step of one value says, forward and backward.

    Under autocast that may be another dtype than it was asked for. Where no autocast is used it is the one that was:
    raises UserError if this device cannot train in it.
    """
    model, asked, former = state.model, state.model.trained_in, state.model.training
    width = len(model.mean) if model.projection is None else model.projection.out_features
    model.train()
    try:
        with state.autocast:
            outputs = model.recur(0, torch.zeros(1, 1, width, device=model.mean.device))
        torch.autograd.grad(outputs.sum(), list(model.recurrent[0].parameters()))
    except RuntimeError as error:
        if asked in (None, torch.float32) or isinstance(error, torch.OutOfMemoryError):
            raise
        raise _refused(asked, " ".join(str(error).split())[:200]) from error
    finally:
        model.train(former)
    if asked is not None and outputs.dtype != asked:
        raise _refused(asked, f"they compute in {str(outputs.dtype).removeprefix('torch.')}")
    return outputs.dtype


def _refused(asked: torch.dtype, reason: str) -> UserError:
    name, other = ("bf16", "fp16 or fp32") if asked == torch.bfloat16 else ("fp16", "fp32")
    return UserError(
        f"train.precision = {name}: the recurrent layers cannot be trained in it on this GPU ({reason}); "
        f"set train.precision to {other}"
    )


Answer = tuple[Tensor, Slice]  # logits (b, C) without a graph, and the slice that they answer


def hits(answers: Sequence[Answer]) -> Tensor:
    """(): how many examples of a step this process predicted right. The host waits for nothing."""
    right = [(logits.argmax(1) == part.labels, part) for logits, part in answers]
    return reduce(add, [(found & (part.weights > 0) if part.padded else found).sum() for found, part in right])


@dataclass(frozen=True)
class Taken:
    """What one optimiser step gave, all on the device."""

    loss: Tensor  # (), this process's share
    answers: list[Answer]
    norm: Tensor | None  # (), of the gradient, before clipping


@dataclass(frozen=True)
class Gradient:
    """What a global batch gave besides the gradients of the parameters."""

    loss: Tensor  # (), this process's share
    answers: list[Answer]
    statistics: list[Tensor]  # of each batch normalisation, summed over the batch: the same on all processes


@dataclass
class State:
    """What training changes."""

    model: RecurrentClassifier
    forward: nn.Module  # ``model`` as it is called in training: wrapped for DDP where there are several processes
    optimizer: torch.optim.Optimizer
    scaler: Any = None  # of the loss, in fp16
    ema: RecurrentClassifier | None = None  # the averaged model, if there is one
    step: int = 0  # optimiser steps taken
    seen: int = 0  # examples that this training was shown, of all processes
    # entered around each forward pass; made once, as Accelerate makes a new one at every call
    autocast: AbstractContextManager[Any] = field(default_factory=nullcontext)
    right: Tensor = field(
        default_factory=lambda: torch.zeros(()).double()
    )  # (), on the device: of its own, those predicted right
    nonfinite: Tensor = field(default_factory=lambda: torch.zeros(()))  # (), on the device: 1 if a gradient is not finite
    class_weights: Tensor | None = None  # (C), if classes are weighted in the training loss
    layers: str = "by torch"  # what trains the recurrent layers, in words
    lanes: int = 0  # of our own kernel, which decide how it rounds; 0 for torch's
    say: Callable[[str], object] = print  # where the main process says what the user should know
    worked: float = 0.0  # seconds, of the steps since the last report that had them, before this process waited for others
    check: Callable[[], None] = lambda: None  # raises the NonFiniteError of a step that nobody waited for, if there is one

    @property
    def best_model(self) -> RecurrentClassifier:
        """The model to evaluate and to export: the averaged one if there is one."""
        return self.ema or self.model

    def nonfinite_error(self, batches: Batches) -> NonFiniteError:
        """What to raise instead of the update of the next step."""
        return NonFiniteError(
            f"step {self.step + 1}: the loss or its gradient is not finite; the weights are those of step {self.step}. "
            f"Rows of the training split in this batch: {batches.rows(self.step)}. "
            "Lower optim.lr, set a lower optim.clip, or train.on_nonfinite=skip, in a new run (run.dir=runs/NAME)"
        )
