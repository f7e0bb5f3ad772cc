"""This process among the others: what the launch asked for, what all agree on, when to stop."""

from __future__ import annotations

import gc
import os
import signal
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous

from pipeline import config
from pipeline.errors import LostContactError, TrainingError, UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


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
    if run.deterministic:  # asked only then: the call imports torch's compiler, which takes seconds
        torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = run.deterministic
    torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32: by default cuDNN's LSTM rounds to TF32
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    if "RANK" in os.environ:
        _join("gloo" if cpu else "nccl", timedelta(seconds=run.timeout))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="OMP_NUM_THREADS")  # set by run.threads, here and below
        accelerator = Accelerator(
            cpu=cpu,
            mixed_precision={"fp32": "no", "bf16": "bf16", "fp16": "fp16"}[precision],
            kwargs_handlers=[
                DistributedDataParallelKwargs(gradient_as_bucket_view=True, static_graph=static_graph),
            ],
        )
    torch.set_num_threads(run.threads)
    try:
        _assert_world(accelerator)
        yield accelerator
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise LostContactError(
            f"process {accelerator.process_index} lost the others: one of them died, hangs for more than run.timeout = "
            f"{run.timeout} s, or cannot be reached ({' '.join(str(error).split())[:200]}); "
            "the same command goes on from the last checkpoint"
        ) from error
    finally:
        if dist.is_initialized():
            gc.collect()  # DDP lies in a reference cycle, and aborts the process if it outlives its group
            dist.destroy_process_group()


def _join(backend: str, timeout: timedelta) -> None:
    """Meet the other processes of this launch; Accelerate takes the group that it finds.

    The store of a launcher with static rendezvous outlives a restart of its processes (torch 2.15), and with it the
    addresses of those that died; so each attempt has names of its own in it.
    """
    try:
        store, rank, number = next(rendezvous("env://", timeout=timeout))
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        own = dist.PrefixStore(f"attempt_{attempt}", store)  # type: ignore[attr-defined]  # in no stub
        dist.init_process_group(backend, store=own, rank=rank, world_size=number, timeout=timeout)
    except RuntimeError as error:
        raise LostContactError(
            f"process {os.environ['RANK']} did not find the others within run.timeout = {timeout.seconds} s "
            f"({' '.join(str(error).split())[:200]}); start the same command again"
        ) from error


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
    described = problem if problem is None or isinstance(problem, UserError | TrainingError) else RuntimeError(repr(problem))
    shared = next((other for other in gather(described) if other), None)
    if problem is None:
        problem = shared
    if problem is not None:
        raise problem
    return result


def on_main(accelerator: Accelerator, action: Callable[[], Any]) -> None:
    """Do ``action`` in the main process while the others wait; its error is raised in all of them."""
    together(lambda: action() if accelerator.is_main_process else None)


def assert_same(facts: dict[str, str], error: type[Exception], remedy: str) -> None:
    """Raise ``error`` in all processes if one of them has other ``facts`` than most, naming it and what differs."""
    everyone = gather(facts)
    for name in facts:
        values = [other[name] for other in everyone]
        usual = max(values, key=values.count)  # the first of equals: of two processes, that of process 0
        odd = [str(number) for number, value in enumerate(values) if value != usual]
        if odd:
            raise error(f"process {', '.join(odd)} has another {name} than process {values.index(usual)}; {remedy}")


@contextmanager
def pinned() -> Iterator[None]:
    """Keep this thread, and those begun meanwhile, to a share of the cores of its own, if there are several processes on this
    machine and all may use the same cores, as many as they are or more; who has bound them knows better. Collective."""
    before = os.sched_getaffinity(0)
    everyone = gather((_machine(), before))
    own = everyone[_rank()]
    alike = [number for number, other in enumerate(everyone) if other == own]
    share = len(before) // len(alike)
    bound = 1 < len(alike) == sum(machine == own[0] for machine, _ in everyone) and share > 0
    if bound:
        # two processes on two cores, whose caches then stay theirs, took a fifth more samples a second so
        first = alike.index(_rank()) * share
        with suppress(OSError):  # forbidden in some sandboxes, and never needed
            os.sched_setaffinity(0, sorted(before, key=_core)[first : first + share])
    try:
        yield
    finally:
        if bound:
            with suppress(OSError):
                os.sched_setaffinity(0, before)


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _machine() -> str:
    """What no other machine is called; host names may repeat."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return socket.gethostname()


def _core(cpu: int) -> tuple[int, int, int]:
    """Sorts the threads of a core side by side, and the cores of a package."""
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        return int((topology / "physical_package_id").read_text()), int((topology / "core_id").read_text()), cpu
    except (OSError, ValueError):
        return 0, cpu, cpu


class StopSignal:
    """SIGTERM, SIGINT and SIGUSR1 ask for a stop, and so do ``failed``, when it says so, and the death of the launcher;
    all processes learn of it at the same step.

    The handler only sets a flag. Now and then an all-reduce of the flags is started, and its result is read the next
    time, so that no step waits for it. How many questions lie between follows from how long they are apart in the
    slowest process, which travels along with the flag: about EXCHANGE_SECONDS.
    """

    EXCHANGE_SECONDS = 0.25
    MOST_STEPS = 64

    def __init__(self, failed: Callable[[], bool]) -> None:
        self.failed = failed
        launched = {"TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION"} & os.environ.keys()
        self._launcher = os.getppid() if launched else None
        self.received: signal.Signals | None = None
        self._previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        self._group: Any = dist.new_group(backend="gloo") if dist.is_initialized() else None
        self._pending: Any = None
        self._message = torch.zeros(2, dtype=torch.int64)
        self._asked = self._last = self._next = 0
        self._agreed = False
        self._time = time.monotonic()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)

    def agreed(self, always: bool = False) -> bool:
        """Whether to stop; every process asks equally often and gets the same answer. Once it is yes, it stays yes.
        ``always``: ask the others each time, as where the time between questions is not that between steps."""
        if self._group is None or self._agreed:
            self._agreed = self._agreed or self.wanted
            return self._agreed
        self._asked += 1
        if self._asked < self._next and not always:
            return False
        interval = 1
        if self._pending is not None:
            self._pending.wait()
            self._agreed, interval = bool(self._message[0]), -int(self._message[1])
        now = time.monotonic()
        seconds = (now - self._time) / max(1, self._asked - self._last)
        most = min(self.MOST_STEPS, max(1, int(self.EXCHANGE_SECONDS / max(seconds, 1e-6))))
        # the maximum is taken: of the wishes to stop, and of the intervals, negative, so that the shortest counts
        self._message = torch.tensor([self.wanted, -most], dtype=torch.int64)
        self._pending = dist.all_reduce(self._message, dist.ReduceOp.MAX, self._group, async_op=True)
        self._next, self._last, self._time = self._asked + interval, self._asked, now
        return self._agreed

    @property
    def wanted(self) -> bool:
        """Whether this process wants to stop: it was told to, a part of it failed, or its launcher died."""
        orphaned = self._launcher is not None and self._launcher != os.getppid()
        return self.received is not None or self.failed() or orphaned

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Put back the handlers that were there before."""
        if self._pending is not None and error is None:
            self._pending.wait()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
