"""Several processes: exact mode, what an all-reduce costs, and how their hosts differ."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch
from torch import distributed as dist

from pipeline import __version__
from pipeline.data.prepared import open_prepared
from pipeline.distributed import collectives
from pipeline.errors import DataError
from pipeline.stages.advice.examination import disk, hardware, speeds, task
from pipeline.stages.advice.examination.promises import STEPS
from pipeline.stages.advice.examination.results import Found, NotHere, Place

SHARDS = 8  # of exact mode: processes that divide it compute the same
LATE = 1.0  # seconds that the clocks of two hosts may differ
SIZES = {"4 KB": 2**12, "128 KB": 2**17, "1 MB": 2**20, "25 MB": 25 * 2**20}


def exact(place: Place) -> Found:
    """The weights that exact mode gives with this number of processes."""
    if SHARDS % collectives.world_size():
        raise NotHere(f"{SHARDS} shards cannot be cut for {collectives.world_size()} processes", "start 2, 4 or 8")
    train = task.options(gradient_shards=SHARDS)
    with task.met(repeats=True) as accelerator:
        own = task.sha256(task.made(accelerator, train).to(STEPS))
        everyone = collectives.gather(own)
    same = len(set(everyone)) == 1
    said = f"{STEPS} steps on {len(everyone)} processes: weights {own[:12]}" + ("" if same else ", and others elsewhere")
    return Found(said, {"sha256": everyone[0], "processes": len(everyone)}, same, "" if same else odd(everyone))


def all_reduce(place: Place) -> Found:
    """Time and GB/s of a sum over all processes, by size."""
    number = collectives.world_size()
    if number == 1:
        raise NotHere("one process")
    values: dict[str, Any] = {}
    with task.met() as accelerator:
        for name, size in SIZES.items():
            vector = torch.zeros(size // 4, device=accelerator.device)
            took = speeds.in_turns({name: lambda vector=vector: dist.all_reduce(vector)}, 0.1, 3)[name]  # type: ignore[misc]
            rate = size / took / 1e9
            # the second is what a link carries: each process sends and takes nearly all of it twice
            values[name] = {"us": 1e6 * took, "gb_per_s": rate, "bus_gb_per_s": rate * 2 * (number - 1) / number}
    said = ", ".join(f"{name} {one['us']:,.0f} us ({one['gb_per_s']:.2f} GB/s)" for name, one in values.items())
    return Found(f"{number} processes: {said}", {"processes": number} | values)


def hosts(place: Place) -> Found:
    """Whether all processes run the same program on machines of the same kind, and read the same data."""
    facts = {
        "version of the pipeline": __version__,
        "version of torch": torch.__version__,
        "version of accelerate": version("accelerate"),
        "version of numpy": version("numpy"),
        "prepared data": _prepared(place),
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "driver": hardware.driver() or "none" if torch.cuda.is_available() else "none",
    }
    everyone = collectives.gather({"host": socket.gethostname(), "facts": facts})
    named = [f"process {number} (host {other['host']})" for number, other in enumerate(everyone)]
    wrong, strange = list[str](), list[str]()
    for name in everyone[0]["facts"]:
        column = [other["facts"][name] for other in everyone]
        usual = max(column, key=column.count)
        for who, value in zip(named, column, strict=True):
            if value != usual:
                said = f"{who} has another {name}: {value}, most have {usual}"
                (strange if name in ("GPU", "driver") else wrong).append(said)
    clocks = clock_differences()
    late = [f"the clock of {who} differs by {by:.1f} s" for who, by in zip(named, clocks, strict=True) if abs(by) > LATE]
    names = sorted({other["host"] for other in everyone})
    same = f"{len(everyone)} processes on {len(names)} host{'s' * (len(names) > 1)}: the same program and data"
    values = {"hosts": [other["host"] for other in everyone], "clocks": clocks, "facts": everyone}
    do = "install the same versions on all hosts, and give all the same prepared data" if wrong else ""
    strange += [f"{line}; records of a run and requeued jobs go by it" for line in late]
    return Found("; ".join(wrong) or same, values, not wrong, do, tuple(strange))


def _prepared(place: Place) -> str:
    """The digest of the prepared data of the configuration that was named."""
    if not place.settings:
        return "not looked at"
    try:
        return open_prepared(place.settings.data, verify=()).digest
    except DataError:
        return "not there"


def clock_differences() -> list[float]:
    """Seconds that the clock of each process is ahead of that of process 0, as near as one exchange tells."""
    found: list[list[float]] = []
    for _ in range(3):
        collectives.gather(0)  # all leave it at about the same time
        told = collectives.gather(time.time())
        found.append([one - told[0] for one in told])
    return [min((row[number] for row in found), key=abs) for number in range(len(found[0]))]


def product(place: Place) -> Found:
    """Whether each process computes the same bits, as memory and processors that are sound do."""
    with task.met(repeats=True) as accelerator:
        random = torch.Generator().manual_seed(task.SEED)
        one, other = (torch.randn(1024, 1024, generator=random).to(accelerator.device) for _ in range(2))
        result = one @ other
        for _ in range(8):
            result = (result @ other).tanh()
        own = hashlib.sha256(result.cpu().numpy().tobytes()).hexdigest()
    everyone = collectives.gather(own)
    same = len(set(everyone)) == 1
    said = f"a product of matrices: {'the same bits on all' if same else 'other bits'} ({len(everyone)} processes)"
    return Found(said, {"sha256": everyone}, same, "" if same else odd(everyone))


def odd(everyone: Sequence[str]) -> str:
    """What to do about the processes that found otherwise than most, by the names of their hosts."""
    names = collectives.gather(socket.gethostname())
    usual = max(everyone, key=list(everyone).count)
    who = ", ".join(f"process {n} (host {names[n]})" for n, said in enumerate(everyone) if said != usual)
    return f"{who} computes otherwise than most: another kind of processor, or one that fails; leave that host out"


def disks(place: Place) -> Found:
    """How fast the disk of the run folder writes, seen from each host."""
    own = disk.writes(place) if int(os.environ.get("LOCAL_RANK", "0")) == 0 else None
    told = collectives.gather([socket.gethostname(), own and own.said, own and own.values])
    firsts = [one for one in told if one[1]]
    said = "; ".join(f"host {host}: {words}" for host, words, _ in firsts) if len(firsts) > 1 else firsts[0][1]
    return Found(said, {host: values for host, _, values in firsts})
