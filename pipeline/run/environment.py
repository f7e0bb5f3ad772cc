"""Where and by what a run was made."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import socket
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline import __version__

PACKAGE = Path(__file__).parents[1]
PACKAGES = ("torch", "torchvision", "accelerate", "wandb", "numpy", "polars", "safetensors", "onnx", "onnxruntime")


def environment() -> dict[str, Any]:
    """Versions, code, host and command of this process."""
    import torch

    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]]),
        "launch": {key: os.environ[key] for key in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE") if key in os.environ},
        "version": __version__,
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changes": bool(_git("status", "--porcelain")),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


class Program(BaseModel):
    """What trains: two that are equal compute the same on the same machine."""

    model_config = ConfigDict(strict=True, frozen=True)

    version: str
    code: str  # the SHA-256 of its source files
    torch: str

    def __str__(self) -> str:
        return f"version {self.version} (code {self.code[:8]}) with torch {self.torch}"


def program() -> Program:
    """This program, as its files are now."""
    import torch

    total = hashlib.sha256()
    for path in sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".cpp")):
        total.update(path.read_bytes())
    return Program(version=__version__, code=total.hexdigest(), torch=torch.__version__)


def _git(*arguments: str) -> str | None:
    """The answer of git about the folder of this program; None where there is no git, or no repository that holds it.

    An installed package may lie in an environment within a repository that knows nothing of it.
    """
    try:
        done = [
            subprocess.run(["git", "-C", str(PACKAGE), *words], capture_output=True, text=True, timeout=10, check=True)
            for words in (("ls-files", "--error-unmatch", "__init__.py"), arguments)
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return done[1].stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
