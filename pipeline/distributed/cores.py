"""Which cores of a machine each of its processes keeps to."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.distributed.collectives import gather, rank


def machine() -> str:
    """What no other machine is called; host names may repeat."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return socket.gethostname()


@contextmanager
def pinned() -> Iterator[None]:
    """Keep this thread, and those begun meanwhile, to a share of the cores of its own, if there are several processes on this
    machine and all may use the same cores, as many as they are or more; who has bound them knows better. Collective."""
    before = os.sched_getaffinity(0)
    everyone = gather([machine(), sorted(before)])
    own = everyone[rank()]
    alike = [number for number, other in enumerate(everyone) if other == own]
    share = len(before) // len(alike)
    bound = 1 < len(alike) == sum(machine == own[0] for machine, _ in everyone) and share > 0
    if bound:
        # two processes on two cores, whose caches then stay theirs, took a fifth more samples a second so
        first = alike.index(rank()) * share
        with suppress(OSError):  # forbidden in some sandboxes, and never needed
            os.sched_setaffinity(0, sorted(before, key=_core)[first : first + share])
    try:
        yield
    finally:
        if bound:
            with suppress(OSError):
                os.sched_setaffinity(0, before)


def _core(cpu: int) -> tuple[int, int, int]:
    """Sorts the threads of a core side by side, and the cores of a package."""
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        return int((topology / "physical_package_id").read_text()), int((topology / "core_id").read_text()), cpu
    except (OSError, ValueError):
        return 0, cpu, cpu
