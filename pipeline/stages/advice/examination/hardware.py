"""What this machine is made of: processors, memory, GPUs and the links between them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from pipeline.stages.advice.examination.results import Found, NotHere, Place
from pipeline.tuning import memory


def processors(place: Place) -> Found:
    """Processor, cores that this process may use, and memory that it may still have."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    values: dict[str, Any] = {"host": socket.gethostname(), "processor": _processor(), "cores": cores}
    values |= {"cores_of_machine": os.cpu_count(), "instructions": torch.backends.cpu.get_cpu_capability()}
    with suppress(OSError, KeyError, ValueError):
        values["memory"] = memory.available()
    said = f"{values['processor']}, {cores} of {values['cores_of_machine']} cores, {values['instructions']}"
    return Found(f"{said}, {values.get('memory', 0) / 1e9:.1f} GB of memory free", values)


def gpus(place: Place) -> Found:
    """Each GPU that this process sees, with the driver and NVIDIA's libraries."""
    if not torch.cuda.is_available():
        asked = _smi("--query-gpu=name,driver_version", "--format=csv,noheader")
        if not asked:
            raise NotHere("no GPU", "nothing, unless this machine has one: then install its driver (nvidia-smi shows it)")
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is built without CUDA"
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "unset")
        raise NotHere(
            f"the driver knows {asked.splitlines()[0]}, and torch sees none",
            f"torch {torch.__version__} {built}; check CUDA_VISIBLE_DEVICES = {visible}, and the version of the driver",
        )
    found = list[dict[str, Any]]()
    for number in range(torch.cuda.device_count()):
        one = torch.cuda.get_device_properties(number)
        free = torch.cuda.mem_get_info(number)[0]
        more = {"capability": f"{one.major}.{one.minor}", "multiprocessors": one.multi_processor_count}
        found.append({"name": one.name, "memory": one.total_memory, "free": free} | more)
    values: dict[str, Any] = {"gpus": found, "cuda": torch.version.cuda, "driver": driver()}
    values |= {"cudnn": _cudnn(), "nccl": _nccl()}
    values["visible"] = os.environ.get("CUDA_VISIBLE_DEVICES")
    first = found[0]
    said = f"{len(found)} x {first['name']}, {first['memory'] / 2**30:.0f} GiB, compute capability {first['capability']}"
    libraries = f"driver {values['driver']}, CUDA {values['cuda']}, cuDNN {values['cudnn']}, NCCL {values['nccl']}"
    mixed = ("the GPUs of this machine differ",) if len({one["name"] for one in found}) > 1 else ()
    return Found(f"{said}; {libraries}", values, warnings=mixed)


def links(place: Place) -> Found:
    """How the GPUs reach each other."""
    number = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number < 2:
        raise NotHere("fewer than two GPUs")
    pairs = {f"{a}-{b}": torch.cuda.can_device_access_peer(a, b) for a in range(number) for b in range(a + 1, number)}
    lines = [
        line.split() for line in _smi("topo", "-m").splitlines() if re.match(r"GPU\d", line)
    ]  # the head begins with a blank
    kinds = {f"{a}-{b}": lines[a][b + 1] for a in range(len(lines)) for b in range(a + 1, len(lines))}
    peers = f"{sum(pairs.values())} of {len(pairs)} pairs reach each other's memory"
    values = {"peers": pairs, "links": kinds}
    return Found(f"{', '.join(sorted(set(kinds.values()))) or 'links unknown'}; {peers}", values)


def _processor() -> str:
    with suppress(OSError):
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        return found[1] if found else os.uname().machine
    return os.uname().machine


def driver() -> str | None:
    """The version of NVIDIA's driver; None where it cannot be told."""
    with suppress(OSError):
        found = re.search(r"Kernel Module\s+(?:for \S+\s+)?(\S+)", Path("/proc/driver/nvidia/version").read_text())
        if found:
            return found[1]
    said = _smi("--query-gpu=driver_version", "--format=csv,noheader")
    return said.splitlines()[0].strip() if said else None


def _cudnn() -> str | None:
    with suppress(RuntimeError):
        number: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]  # of torch
        return None if number is None else f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return None


def _nccl() -> str | None:
    with suppress(RuntimeError, AttributeError, ImportError):
        return ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]  # of torch
    return None


def _smi(*words: str) -> str:
    """What nvidia-smi answers; empty where there is none."""
    if not shutil.which("nvidia-smi"):
        return ""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, timeout=15, check=True)
        return done.stdout.strip()
    return ""
