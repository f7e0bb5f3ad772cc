"""The processes of this launch: how they meet, and what is said when they lose each other."""

from __future__ import annotations

import gc
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch
from torch import distributed as dist

from pipeline import config
from pipeline.distributed import cores, launcher, meeting, process
from pipeline.distributed.collectives import gather, patience, rank, reduce_sum, settled
from pipeline.errors import LostContactError, UserError

if TYPE_CHECKING:
    from accelerate import Accelerator


Precision = Literal["fp32", "bf16", "fp16"]


@contextmanager
def world(
    run: config.Run, precision: Precision = "fp32", static_graph: bool = True, repeats: bool = False
) -> Iterator[Accelerator]:
    """The processes of this launch as an Accelerator, torn down at the end whatever happens, and this process put back.

    ``repeats``: have the libraries on GPUs compute the same bits each time, as exact mode needs it.

    Raises UserError if the launch file asks for what this machine has not, if the processes did not find each other, or
    if this process is in another world already.
    """
    with process.kept(), _met(run, precision, static_graph, repeats or run.deterministic) as accelerator:
        yield accelerator


@contextmanager
def _met(run: config.Run, precision: Precision, static_graph: bool, repeats: bool) -> Iterator[Accelerator]:
    if repeats:  # cuBLAS reads it when CUDA starts
        os.environ.setdefault(process.WORKSPACE, ":4096:2")
    cpu = _on_cpu()
    if precision == "fp16" and cpu:
        raise UserError("train.precision: fp16 needs a GPU; on a CPU use bf16 or fp32")
    if precision == "bf16" and not cpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError("train.precision: this GPU has no bf16, which came with compute capability 8.0; use fp16 or fp32")
    torch.set_num_threads(run.threads)
    if run.deterministic:  # asked only then: the call imports torch's compiler, which takes seconds
        torch.use_deterministic_algorithms(True)
        # no kernel here reads such memory, and to fill it is 59 launches a step
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # of torch
    torch.backends.cudnn.deterministic = repeats
    torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32: by default cuDNN's LSTM rounds to TF32
    os.environ.setdefault(process.ANY_DEVICE, "true")
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    if process.launched():
        # what processes say to each other does not wait for a GPU
        meeting.join("gloo" if cpu else "cpu:gloo,cuda:nccl", run)
        if not cpu:
            _refuse_shared()
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
    patience.limit, patience.lost = run.timeout if dist.is_initialized() else math.inf, False
    try:
        _assert_world(accelerator)
        yield accelerator
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and not any(name in str(error) for name in ("gloo", "NCCL")):
            raise
        patience.lost = True
        raise LostContactError(
            f"process {accelerator.process_index} lost the others: one of them died, hangs for more than run.timeout = "
            f"{run.timeout} s, or cannot be reached ({' '.join(str(error).split())[:200]}); "
            "the same command goes on from the last checkpoint"
        ) from error
    finally:
        if dist.is_initialized() and (cpu or not patience.lost):  # to destroy what NCCL waits in has no end
            gc.collect()  # DDP lies in a reference cycle, and aborts the process if it outlives its group
            dist.destroy_process_group()


def _on_cpu() -> bool:
    """Whether to stay off GPUs: there is none, or the launch says so.

    Raises UserError if the launch asks for a GPU that is not there: it names which (CUDA_VISIBLE_DEVICES), its file says so, or
    ``accelerate launch`` was told to start several on GPUs. It then hands no ACCELERATE_USE_CPU on, whereas it hands
    "false" to one process whatever it was told, which so is no wish.
    """
    said, visible = os.environ.get("ACCELERATE_USE_CPU", "").lower(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if said in ("true", "1", "yes") or (visible is not None and set(visible.split(",")) <= {"-1", ""}):
        return True
    if torch.accelerator.is_available():
        return False
    several = {"LOCAL_RANK", "ACCELERATE_MIXED_PRECISION"} <= os.environ.keys() and not said
    if visible or several or launcher.WANTED in os.environ:
        raise UserError(
            "the launch asks for a GPU and this machine has none; use --config_file launch/cpu.yaml "
            "(make: LAUNCH=launch/cpu.yaml), or leave CUDA_VISIBLE_DEVICES unset"
        )
    return True


def _refuse_shared() -> None:
    """Raise UserError if two processes have the same GPU: one a GPU is fastest, and NCCL takes no more."""
    visible, name = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES", "")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = local % visible  # as Accelerate chooses it
    number = str(torch.cuda.get_device_properties(device).uuid)
    part = name.split(",")[device] if name.startswith("MIG") else ""  # of a GPU, whose number all its parts have
    everyone = gather([cores.machine(), number, part])
    own = everyone[rank()]
    if everyone.count(own) > 1:
        there = sum(other[0] == own[0] for other in everyone)
        raise UserError(
            f"{there} processes were started on this machine, and they see {visible} GPU{'s' * (visible != 1)}; start one a "
            f"GPU: --processes {visible} (make: PROCESSES={visible}), or check CUDA_VISIBLE_DEVICES = {name or 'unset'}"
        )


def _assert_world(accelerator: Accelerator) -> None:
    """An all-reduce of ones proves that the processes which were started are the ones that talk."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    answered = int(settled(reduce_sum(torch.ones((), device=accelerator.device))))
    if not accelerator.num_processes == started == answered:
        raise UserError(
            f"{started} processes were started, but {accelerator.num_processes} found each other and {answered} answered; "
            "on CPUs start them with launch/cpu.yaml, or set ACCELERATE_USE_CPU=true for torchrun"
        )
