"""Several processes on this machine, started by Accelerate's launcher, which ends without a word of its own.

On several machines the same is typed on each. Its launcher starts the processes of that machine alone and waits for no other
machine: the processes do that themselves, within ``run.join_timeout`` (``meeting``).
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.distributed import process

WANTED = "SEQUENCE_PIPELINE_GPU"  # set where the launch file of one process asks for a GPU and leaves it open which
# Of the exit statuses of several processes, the first that one of them has is that of all: an error speaks for those that the
# launcher stopped because of it.
ORDER = (2, 3, 1, 143)
PORT = 29500  # of the first machine, where the processes meet, if none is named


@dataclass(frozen=True)
class Asked:
    """What was typed of the places of the processes: a launch ``file``, how many ``processes`` in all, which ``machine`` this
    is of how many (0/2), and the address of the first one, the ``head``, with or without a port."""

    file: Path | None = None
    processes: int | None = None
    machine: str | None = None
    head: str | None = None


def needs_launcher(said: dict[str, Any], processes: int) -> bool:
    """Whether so many processes of one machine must be started; a single one is the one that asks.

    For one process, what a launch file ``said`` of devices is made true in this process: no GPU (``use_cpu``), or which
    (``gpu_ids``).
    """
    if processes > 1:
        return True
    if said.get("use_cpu"):
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")
    elif str(said.get("gpu_ids", "all")) != "all":
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", str(said["gpu_ids"]))
    elif said.get("use_cpu") is False:
        os.environ.setdefault(WANTED, "true")
    return False


def number(asked: Asked, usual: Callable[[], int]) -> int:
    """How many processes to start here by ``launch``; 0: none, this process is the one, or one of several.

    ``usual``: how many are fastest on the CPUs of one machine. Raises UserError if the launch file cannot be read, or what was
    typed of several machines makes no sense.
    """
    from pipeline.distributed import process

    if process.launched():
        return 0
    said = _read(asked.file) if asked.file else {}
    if machine := _machine(asked, int(said.get("num_machines", 1))):
        share = _share(asked, said, machine.of)
        os.environ[process.MACHINE] = machine.model_dump_json()
        return share if needs_launcher(said, share) else 0
    processes = asked.processes
    started = needs_launcher(said, processes or 1)
    if processes is None and (asked.file is None or os.environ.get("ACCELERATE_USE_CPU") == "true"):
        processes = usual()
    return processes or 0 if started or (processes or 1) > 1 else 0


def _machine(asked: Asked, machines: int) -> process.Machine | None:
    """Which of several machines this is, as it was typed; ``machines``: for how many the launch file is."""
    from pipeline.distributed import process

    typed = re.fullmatch(r"(\d+)/(\d+)", asked.machine or "")
    if not (typed and asked.head):
        if asked.machine is None and asked.head is None and machines == 1:
            return None
        wrong = f"{asked.file}: is for {machines} machines" if machines > 1 else "--machine and --head say where all meet"
        raise UserError(
            f"{wrong}; type the same on each of them, with its number from 0 and the address of the first: "
            f"--machine 0/{max(2, machines)} --head 10.0.0.1:{PORT} (docs/distributed.md)"
        )
    at, of = int(typed[1]), int(typed[2])
    if at >= of:
        raise UserError(
            f"--machine {asked.machine}: the machines are numbered from 0; type 0/{of} on the first, {of - 1}/{of} on the last"
        )
    address, _, port = asked.head.rpartition(":") if asked.head.count(":") == 1 else (asked.head, "", str(PORT))
    if not (port.isdecimal() and 0 < int(port) < 2**16 and address):
        raise UserError(f"--head {asked.head}: is no address with a port, such as 10.0.0.1:{PORT}")
    return process.Machine(at=at, of=of, address=address, port=int(port)) if of > 1 else None


def _share(asked: Asked, said: dict[str, Any], machines: int) -> int:
    """How many processes each machine has: of those that were typed, or that a launch file of several machines names, or one
    a GPU. Raises UserError if they cannot be dealt out equally."""
    import torch

    named = said.get("num_processes") if int(said.get("num_machines", 1)) > 1 else None
    processes = asked.processes or named or machines * max(1, torch.cuda.device_count())
    if processes % machines:
        raise UserError(
            f"--processes {processes}: those of all {machines} machines are counted, of which each has equally many; type "
            f"--processes {machines} or {2 * machines}"
        )
    return int(processes) // machines


def launch(file: Path | None, processes: int, arguments: Sequence[str]) -> int:
    """Run ``python -m pipeline ARGUMENTS`` as so many processes, and return the exit status that speaks for all.

    Without a ``file`` they are on the GPUs of this machine, or on its CPUs if it has none. What they print is the last
    thing on the screen; only a process that could say nothing, as it was killed, is named here.
    """
    import torch
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from pipeline.distributed import loopback, signals

    devices = ["--multi_gpu"] if torch.accelerator.is_available() else ["--multi_gpu", "--gpu_ids=-1,-1"]
    alone = [*devices, "--mixed_precision", "no", "--dynamo_backend", "no"]
    where = ["--config_file", str(file)] if file else alone
    more = ["--num_processes", str(processes), "--main_process_port", "0", "--num_cpu_threads_per_process", "1"]
    more += ["--rdzv_backend", loopback.RENDEZVOUS, "--num_machines", "1", "--machine_rank", "0"]
    loopback.register()
    signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), signal.SIGTERM))  # which the launcher hands on; not this one
    logging.disable(logging.CRITICAL)  # this process only launches: what its loggers say, the processes have said better
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ[signals.FAILED] = f"{folder}/failed"
            launch_command(launch_command_parser().parse_args([*where, *more, "-m", "pipeline", *arguments]))
    except ChildFailedError as failed:
        return _status([failure.exitcode for failure in failed.failures.values()])
    except SignalException as stopped:
        return 143 if stopped.sigval in (signal.SIGTERM, signal.SIGINT) else 128 + stopped.sigval
    except (ValueError, ConnectionError) as error:  # what accelerate says of a launch file
        raise UserError(f"{file or 'the launch'}: {error}") from None
    return 0


def _status(codes: list[int]) -> int:
    killed = [-code for code in codes if code < 0 and -code != signal.SIGTERM]
    for number in killed[:1]:
        print(
            f"a process was killed by {signal.Signals(number).name}, and the others were stopped; if memory ran out, lower "
            "train.batch; the same command goes on from the last checkpoint",
            file=sys.stderr,
        )
    order = ORDER[:-1] if killed else ORDER  # the others of a killed one were stopped by the launcher
    return next((status for status in order if status in codes), 1)


def _read(file: Path) -> dict[str, Any]:
    try:
        said = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{file}: cannot be read as a launch file ({error}); there are some in launch/") from None
    if not isinstance(said, dict):
        raise UserError(f"{file}: is no launch file; there are some in launch/")
    return said
