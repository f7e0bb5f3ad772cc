"""The software of this machine: versions, the compiler and the kernel that it makes, wandb."""

from __future__ import annotations

import importlib.util
import netrc
import os
import platform
import shutil
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from pipeline import __version__
from pipeline.model import cpu_lstm
from pipeline.stages.advice.examination.results import Found, NotHere, Place

NEEDED = ("torch", "accelerate", "numpy", "safetensors", "pydantic")
OPTIONAL = {
    "polars": "to read tables",
    "scikit-learn": "for the digits",
    "torchvision": "to download images",
    "matplotlib": "for pictures",
    "onnx": "to write ONNX files",
    "onnxruntime": "to check them",
    "wandb": "for track.backends=[wandb]",
    "tensorboard": "for track.backends=[tensorboard]",
}


def versions(place: Place) -> Found:
    """Of this program, Python and the packages that it uses."""
    there = {name: _version(name) for name in (*NEEDED, *OPTIONAL)}
    missing = [f"{name} ({why})" for name, why in OPTIONAL.items() if there[name] is None]
    values: dict[str, Any] = {"pipeline": __version__, "python": platform.python_version(), "packages": there}
    values |= {"system": platform.platform(), "torch_cuda": torch.version.cuda, "torch_git": torch.version.git_version}
    said = f"pipeline {__version__}, Python {values['python']}, " + ", ".join(f"{name} {there[name]}" for name in NEEDED[:3])
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs"
    do = f"missing: {', '.join(missing)}; make setup installs all" if missing else ""
    return Found(f"{said} ({build})", values, do=do)


def kernel(place: Place) -> Found:
    """The compiler, and the kernel for LSTMs on CPUs that it makes."""
    compiler = shutil.which("g++") or shutil.which("c++")
    try:
        lanes = cpu_lstm.library().lanes()
    except cpu_lstm.Unavailable as why:
        do = "training on CPUs goes by torch's kernel, which is slower; on GPUs it makes no difference"
        raise NotHere(f"compiler: {compiler or 'none'}; {why}", do) from None
    return Found(f"{compiler}; kernel built and used, {lanes} lanes", {"compiler": compiler, "lanes": lanes})


def wandb(place: Place) -> Found:
    """Whether wandb is there, and whether a key is known; never the key."""
    mode, there = os.environ.get("WANDB_MODE", ""), _version("wandb")
    if not importlib.util.find_spec("wandb"):
        raise NotHere("not installed", "pip install wandb, or set track.backends=[]; the record of a run needs none of it")
    key = "WANDB_API_KEY" if os.environ.get("WANDB_API_KEY") else _netrc()
    values = {"version": there, "mode": mode or None, "key": bool(key)}
    said = f"wandb {there}, WANDB_MODE {mode or 'not set'}, " + (f"logged in by {key}" if key else "not logged in")
    do = "" if key or mode in ("offline", "disabled") else "runs are kept offline; type: wandb login"
    return Found(said, values, do=do)


def _netrc() -> str:
    """The file that holds a key for wandb; empty if there is none."""
    path = Path(os.environ.get("NETRC", "~/.netrc"))
    with suppress(OSError, RuntimeError, netrc.NetrcParseError):
        hosts = netrc.netrc(str(path.expanduser())).hosts
        if any("wandb" in host for host in hosts):
            return str(path)
    return ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
