"""How much memory this process has used, and how much it may still have."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

# a control group's files, for its limit and for what is used of it: version 2, and the controller of version 1
GROUPS = {"": ("memory.max", "memory.current"), "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes")}


def peak(device: torch.device) -> int:
    """The most bytes that were in use at a time: by tensors on a GPU, by this process on a CPU.

    Pages of files, which the kernel can take back at any time, are left out; where it took some back, this is too much.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    sizes = _sizes(Path("/proc/self/status"))
    return sizes["VmHWM"] - sizes["RssFile"]


def room(device: torch.device) -> int:
    """What ``peak`` may become, in bytes, before the kernel kills processes, with a tenth of what is left as a margin.

    A GPU needs no such care: its allocator raises an error.
    """
    if device.type == "cuda":
        return sys.maxsize
    return _sizes(Path("/proc/self/status"))["RssAnon"] + available() * 9 // 10


def available(root: Path = Path("/")) -> int:
    """The bytes that this machine, or the control group of this process, can still give.

    ``root`` holds ``proc`` and ``sys``. A group's file pages count as used, which errs on the safe side.
    """
    least = _sizes(root / "proc/meminfo")["MemAvailable"]
    groups = re.findall(r"^\d+:(memory|):/(.*)$", (root / "proc/self/cgroup").read_text(), re.MULTILINE)
    for controller, own in groups:
        top = root / "sys/fs/cgroup" / controller
        limit, used = GROUPS[controller]
        # the groups around it may be narrower; in a container, only the last of them, the top, is seen
        for folder in (top / own, *(top / own).parents):
            if (folder / limit).is_file() and (allowed := (folder / limit).read_text().strip()) != "max":
                least = min(least, int(allowed) - int((folder / used).read_text()))
    return max(0, least)


def _sizes(path: Path) -> dict[str, int]:
    """The sizes in a file of ``Name:   123 kB`` lines, in bytes."""
    return {name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", path.read_text(), re.MULTILINE)}
