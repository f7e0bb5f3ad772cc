"""What a run changes of the process that it is in, and puts back: a notebook, a server or a test goes on after it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from pipeline.errors import UserError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # without it, cuBLAS does not repeat
HOW_TO_MEET = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what a launcher says to each of its processes
WHICH = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
# Accelerate names the device of DDP by LOCAL_RANK, which is none where a process sees only its own GPU
ANY_DEVICE = "ACCELERATE_BYPASS_DEVICE_MAP"
MACHINE = "SEQUENCE_PIPELINE_MACHINE"  # which of several machines this is, for the processes that its launcher starts
_busy = threading.Lock()


class Machine(BaseModel):
    """One of several machines, ``at`` its number ``of`` so many, and where the processes of all of them meet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: int
    of: int
    address: str
    port: int


def _take_place() -> None:
    """Number this process among those of all machines: its launcher, if there is one, knows those of its own alone."""
    if said := os.environ.pop(MACHINE, ""):
        machine = Machine.model_validate_json(said)
        local, alike = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        place = {"LOCAL_RANK": local, "LOCAL_WORLD_SIZE": alike, "GROUP_RANK": machine.at, "GROUP_WORLD_SIZE": machine.of}
        place |= {"RANK": machine.at * alike + local, "WORLD_SIZE": machine.of * alike, "MASTER_PORT": machine.port}
        os.environ |= {name: str(value) for name, value in place.items()}
        # process 0 of all has the store where they meet, and not the launcher of each machine
        os.environ |= {"MASTER_ADDR": machine.address, "TORCHELASTIC_USE_AGENT_STORE": "False"}


def launched() -> bool:
    """Whether a launcher started this process as one of its own.

    Else the variables of a launcher that are left in the environment are taken out of it: libraries go by each alone.
    Raises UserError if they say that there are other processes, and not how to meet them.
    """
    _take_place()
    said = {name: os.environ[name] for name in (*WHICH, *HOW_TO_MEET) if name in os.environ}
    if all(name in said for name in HOW_TO_MEET):
        return True
    if said.get("RANK", "0") != "0" or said.get("WORLD_SIZE", "1") != "1":
        names = [name for name in WHICH if name in said]
        shown = " ".join(f"{name}={said[name]}" for name in names)
        absent = " and ".join(name for name in HOW_TO_MEET if name not in said)
        raise UserError(
            f"the environment says {shown}, that there are other processes, and not how to meet them, as {absent} is not set; "
            f"start them with a launcher (docs/distributed.md), or type: unset {' '.join(names)}"
        )
    for name in WHICH:
        os.environ.pop(name, None)
    return False


@contextmanager
def kept() -> Iterator[None]:
    """Have torch's threads, its choice of algorithms, its random numbers and Accelerate's state for this block
    alone; after it, they are as before.

    Raises UserError in another such block, in whatever thread: all of these belong to the process.
    """
    if not _busy.acquire(blocking=False):
        raise UserError("this process trains or evaluates another run; wait for its end, or start a process of its own")
    try:
        with _variables(), _accelerate(), _torch():
            yield
    finally:
        _busy.release()


@contextmanager
def _variables() -> Iterator[None]:
    before = {name: os.environ[name] for name in WHICH if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


@contextmanager
def _torch() -> Iterator[None]:
    cudnn, threads = torch.backends.cudnn, torch.get_num_threads()
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic, tf32 = cudnn.deterministic, cudnn.allow_tf32
    fills: Any = torch.utils.deterministic
    filled = fills.fill_uninitialized_memory
    unset = [name for name in (WORKSPACE, ANY_DEVICE) if name not in os.environ]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]  # of torch
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.set_num_threads(threads)
        cudnn.deterministic, cudnn.allow_tf32 = deterministic, tf32
        fills.fill_uninitialized_memory = filled
        for name in unset:
            os.environ.pop(name, None)
        after = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        if after != algorithms:  # the call imports torch's compiler, which takes seconds
            torch.use_deterministic_algorithms(algorithms[0], warn_only=algorithms[1])


@contextmanager
def _accelerate() -> Iterator[None]:
    """Accelerate has one state a process, and refuses a second Accelerator of another kind."""
    from accelerate.state import AcceleratorState, GradientState, PartialState

    states = [kind._shared_state for kind in (PartialState, AcceleratorState, GradientState)]
    before = [dict(state) for state in states]
    for state in states:
        state.clear()
    try:
        yield
    finally:
        for state, content in zip(states, before, strict=True):
            state.clear()
            state.update(content)
