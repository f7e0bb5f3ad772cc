"""Several processes on this machine, started by Accelerate's launcher, which ends without a word of its own."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UserError

WANTED = "SEQUENCE_PIPELINE_GPU"  # set where the launch file of one process asks for a GPU and leaves it open which
ORDER = (2, 3, 143)  # of the exit statuses of several processes, the first that one of them has is that of all


def needs_launcher(file: Path | None, processes: int) -> bool:
    """Whether the processes of a launch file must be started; one process on one machine is the one that asks.

    For one process, what the file says of devices is made true in this process: no GPU (``use_cpu``), or which
    (``gpu_ids``). Raises UserError if the file cannot be read, or is for several machines.
    """
    said = _read(file) if file else {}
    if int(said.get("num_machines", 1)) > 1:
        raise UserError(
            f"{file}: is for {said['num_machines']} machines, and this command starts the processes of one; type on each, "
            f"with its number from 0: accelerate launch --config_file {file} --machine_rank 0 ... (docs/distributed.md)"
        )
    if processes > 1:
        return True
    if said.get("use_cpu"):
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")
    elif str(said.get("gpu_ids", "all")) != "all":
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", str(said["gpu_ids"]))
    elif said.get("use_cpu") is False:
        os.environ.setdefault(WANTED, "true")
    return False


def number(file: Path | None, asked: int | None, usual: Callable[[], int]) -> int:
    """How many processes to start by ``launch``; 0: none, this process is the one, or one of several.

    ``asked``: how many the user wants, if they said so; ``usual``: how many are fastest on CPUs.
    """
    from pipeline.distributed import process

    if process.launched():
        return 0
    started = needs_launcher(file, asked or 1)
    if asked is None and (file is None or os.environ.get("ACCELERATE_USE_CPU") == "true"):
        asked = usual()
    return asked or 0 if started or (asked or 1) > 1 else 0


def launch(file: Path | None, processes: int, arguments: Sequence[str]) -> int:
    """Run ``python -m pipeline ARGUMENTS`` as so many processes, and return the exit status that speaks for all.

    Without a ``file`` they are on the GPUs of this machine, or on its CPUs if it has none. What they print is the last
    thing on the screen; only a process that could say nothing, as it was killed, is named here.
    """
    import torch
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from pipeline.distributed import loopback

    devices = ["--multi_gpu"] if torch.accelerator.is_available() else ["--multi_gpu", "--gpu_ids=-1,-1"]
    alone = [*devices, "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    where = ["--config_file", str(file)] if file else alone
    more = ["--num_processes", str(processes), "--main_process_port", "0", "--num_cpu_threads_per_process", "1"]
    more += ["--rdzv_backend", loopback.RENDEZVOUS]
    loopback.register()
    signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), signal.SIGTERM))  # which the launcher hands on; not this one
    logging.disable(logging.CRITICAL)  # this process only launches: what its loggers say, the processes have said better
    try:
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
    order = ORDER[:2] if killed else ORDER  # the others of a killed one were stopped by the launcher
    return next((status for status in order if status in codes), 1)


def _read(file: Path) -> dict[str, Any]:
    try:
        said = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{file}: cannot be read as a launch file ({error}); there are some in launch/") from None
    if not isinstance(said, dict):
        raise UserError(f"{file}: is no launch file; there are some in launch/")
    return said
