"""This process among the others: what the launch asked for, what all agree on, when to stop."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from pipeline import config
from pipeline.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
AGREE_EVERY = 8  # steps; a stop is seen by all processes at most twice this many steps after the signal


@contextmanager
def world(
    run: config.Run, precision: Literal["fp32", "bf16", "fp16"] = "fp32", static_graph: bool = True
) -> Iterator[Accelerator]:
    """The processes of this launch as an Accelerator, torn down at the end whatever happens.

    Raises UserError if the launch file asks for what this machine has not, or if the processes did not
    find each other.
    """
    if run.deterministic:  # cuBLAS reads it when CUDA starts
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:2")
    cpu = _on_cpu()
    if precision == "fp16" and cpu:
        raise UserError("train.precision: fp16 needs a GPU; on a CPU use bf16 or fp32")
    torch.set_num_threads(run.threads)
    torch.use_deterministic_algorithms(run.deterministic)
    torch.backends.cudnn.deterministic = run.deterministic
    torch.backends.cudnn.rnn.fp32_precision = "ieee"  # type: ignore[attr-defined]  # fp32 means fp32: by default cuDNN's LSTM rounds to TF32
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="OMP_NUM_THREADS")  # set by run.threads, here and below
        accelerator = Accelerator(
            cpu=cpu,
            mixed_precision={"fp32": "no", "bf16": "bf16", "fp16": "fp16"}[precision],
            kwargs_handlers=[
                DistributedDataParallelKwargs(gradient_as_bucket_view=True, static_graph=static_graph),
                InitProcessGroupKwargs(timeout=timedelta(seconds=run.timeout)),
            ],
        )
    torch.set_num_threads(run.threads)
    try:
        _assert_world(accelerator)
        yield accelerator
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _on_cpu() -> bool:
    """Whether to stay off GPUs: there is none, or the launch says so.

    Of what launch/cpu.yaml says, ``accelerate launch`` hands only the hidden GPUs (gpu_ids) on to several processes,
    and only ACCELERATE_USE_CPU to one. Raises UserError if the launch asks for a GPU that is not there.
    """
    said = os.environ.get("ACCELERATE_USE_CPU", "").lower()
    if said in ("true", "1", "yes") or set(os.environ.get("CUDA_VISIBLE_DEVICES", "all").split(",")) <= {"-1", ""}:
        return True
    if torch.accelerator.is_available():
        return False
    if said or "LOCAL_RANK" in os.environ:
        raise UserError(
            "the launch asks for a GPU and this machine has none; use --config_file launch/cpu.yaml "
            "(make: LAUNCH=launch/cpu.yaml), or ACCELERATE_USE_CPU=true with torchrun"
        )
    return True


def _assert_world(accelerator: Accelerator) -> None:
    """An all-reduce of ones proves that the processes which were started are the ones that talk."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    answered = int(reduce_sum(torch.ones((), device=accelerator.device)))
    if not accelerator.num_processes == started == answered:
        raise UserError(
            f"{started} processes were started, but {accelerator.num_processes} found each other and {answered} answered; "
            "on CPUs start them with launch/cpu.yaml, or set ACCELERATE_USE_CPU=true for torchrun"
        )


def reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of ``tensor`` over all processes, on each of them."""
    if dist.is_initialized():
        tensor = tensor.clone()
        dist.all_reduce(tensor)
    return tensor


def gather(value: Any) -> list[Any]:
    """``value`` of each process, in their order, on each of them."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def together(action: Callable[[], T]) -> T:
    """Do ``action`` in every process and wait for all; an error in one of them is raised in all."""
    if not dist.is_initialized():
        return action()
    problem: Exception | None = None
    try:
        result = action()
    except Exception as error:
        problem = error
    # an error of another kind may not survive the way to the other processes
    described = problem if problem is None or isinstance(problem, UserError) else RuntimeError(repr(problem))
    shared = next((other for other in gather(described) if other), None)
    if error := problem or shared:
        raise error
    return result


def on_main(accelerator: Accelerator, action: Callable[[], Any]) -> None:
    """Do ``action`` in the main process while the others wait; its error is raised in all of them."""
    together(lambda: action() if accelerator.is_main_process else None)


def assert_same(facts: dict[str, str]) -> None:
    """Raise UserError in all processes if one has other ``facts`` than the main process, naming what differs."""
    everyone = gather(facts)
    for number, other in enumerate(everyone):
        differing = [name for name, value in everyone[0].items() if value != other[name]]
        if differing:
            raise UserError(f"process {number} has another {' and '.join(differing)} than process 0; give all of them the same")


class StopSignal:
    """SIGTERM, SIGINT and SIGUSR1 ask for a stop; all processes learn of it at the same step.

    The handler only sets a flag. Every AGREE_EVERY steps an all-reduce of the flags is started, and its result
    is read AGREE_EVERY steps later, so that no step waits for it.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        self._group: Any = dist.new_group(backend="gloo") if dist.is_initialized() else None
        self._flag = torch.zeros((), dtype=torch.int32)
        self._pending: Any = None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)

    def agreed(self, step: int) -> bool:
        """Whether to stop after ``step``; every process calls this after each step and gets the same answer."""
        if self._group is None:
            return self.received is not None
        if step % AGREE_EVERY:
            return False
        stop = False
        if self._pending is not None:
            self._pending.wait()
            stop = bool(self._flag)
        self._flag = torch.tensor(int(self.received is not None), dtype=torch.int32)
        self._pending = dist.all_reduce(self._flag, dist.ReduceOp.MAX, self._group, async_op=True)
        return stop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Put back the handlers that were there before."""
        if self._pending is not None and error is None:
            self._pending.wait()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
