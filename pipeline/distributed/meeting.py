"""How the processes of a launch find each other, and what is said if one does not come.

All meet at the store of the launch. It may outlive the processes, and each host counts its own restarts alone
(TORCHELASTIC_RESTART_COUNT), so that no name in it tells one attempt from another. Process 0 therefore makes a new mark for
each attempt. The others arrive under it, and process 0 answers with all that arrived; a mark that another process has arrived
under is of an attempt that is over.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from torch import distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # in no stub

from pipeline import config
from pipeline.distributed import loopback, places
from pipeline.errors import LostContactError

MARK = "pipeline/mark"
ASK = 0.1  # seconds between two looks for those who are missing; the store itself complains of a wait that ends
SAY = 1.0  # seconds that process 0 gives the others to read who is missing

Arrivals = dict[int, dict[str, Any]]  # what each process said of itself, by its number


def join(backend: str, run: config.Run) -> None:
    """Meet the other processes of this launch within ``run.join_timeout`` seconds; torch's default group is theirs then.

    Raises LostContactError, which names those who did not come.
    """
    rank, end = int(os.environ["RANK"]), time.monotonic() + run.join_timeout
    loopback.keep_to_loopback()
    try:
        store, number = _store(rank, end)
        own = places.here() | {"token": secrets.token_hex(8)}
        mark, arrived = _lead(store, number, own, end) if rank == 0 else _follow(store, rank, number, own, end)
        if "GLOO_SOCKET_IFNAME" not in os.environ and (
            name := places.interface([each["address"] for each in arrived.values()])
        ):
            os.environ["GLOO_SOCKET_IFNAME"] = name
        prefixed = dist.PrefixStore(mark, store)  # type: ignore[attr-defined]  # in no stub
        later, timeout = getattr(dist, "set_timeout", None), timedelta(seconds=run.timeout)
        # gloo tries four times to connect, and waits for the whole time at each
        soon = timedelta(seconds=max(5, run.join_timeout / 5)) if later else timeout
        dist.init_process_group(backend, store=prefixed, rank=rank, world_size=number, timeout=soon)
        if later:
            later(timeout)
    except (RuntimeError, OSError) as error:
        why = " ".join(str(error).split())[:200]
        said = why if isinstance(error, _Missing) else f"they cannot reach each other ({why})"
        raise LostContactError(
            f"process {rank} did not find the others within run.join_timeout = {run.join_timeout} s: {said}; "
            "start the same command again on all hosts"
        ) from error


class _Missing(RuntimeError):
    """Says who did not come."""


def _store(rank: int, end: float) -> tuple[Any, int]:
    """The store of this launch and the number of its processes; without a launcher, process 0 has the store."""
    address, port, number = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), int(os.environ["WORLD_SIZE"])
    hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    left = timedelta(seconds=max(1.0, end - time.monotonic()))
    if rank == 0 and not hosted:
        if address in (loopback.ADDRESS, "localhost"):
            return loopback.serve(port, left), number
        return TCPStore(address, port, None, True, left, wait_for_workers=False), number
    try:
        _knock(address, port, end)
        left = timedelta(seconds=max(1.0, end - time.monotonic()))
        return TCPStore(address, port, None, False, left), number
    except (RuntimeError, OSError) as error:
        why = " ".join(str(error).split())[:200]
        raise _Missing(f"process 0 does not answer at MASTER_ADDR = {address}, port {port} ({why})") from error


def _knock(address: str, port: int, end: float) -> None:
    """Return once somebody answers at that port. torch, which is as patient, writes a page for each time that nobody does.

    Raises OSError at the ``end``.
    """
    while True:
        try:
            socket.create_connection((address, port), max(1.0, min(10.0, end - time.monotonic()))).close()
        except OSError:
            if time.monotonic() + ASK > end:
                raise
            time.sleep(ASK)
        else:
            return


def _lead(store: Any, number: int, own: Mapping[str, Any], end: float) -> tuple[str, Arrivals]:
    """Process 0: the mark of this attempt, and all that arrived. Raises _Missing at the ``end``, in all that did."""
    mark = f"pipeline/{secrets.token_hex(8)}"
    store.set(f"{mark}/0", json.dumps(own))
    store.set(MARK, mark)
    while not store.check([f"{mark}/{rank}" for rank in range(number)]):
        if time.monotonic() > end:
            said = places.missing(_arrived(store, mark, number), number)
            store.set(f"{mark}/missing", said)
            time.sleep(SAY)
            raise _Missing(said)
        time.sleep(ASK)
    arrived = _arrived(store, mark, number)
    store.set(f"{mark}/all", json.dumps(arrived))
    return mark, arrived


def _follow(store: Any, rank: int, number: int, own: Mapping[str, Any], end: float) -> tuple[str, Arrivals]:
    """Another process: the same. A mark under which another process has been here is of an attempt before."""
    mark, said = "", json.dumps(own)
    while time.monotonic() < end:
        if store.check([MARK]):
            mark = store.get(MARK).decode()
            mine = store.compare_set(f"{mark}/{rank}", "", said).decode() == said
            if mine and store.check([f"{mark}/missing"]):
                raise _Missing(store.get(f"{mark}/missing").decode())
            if mine and store.check([f"{mark}/all"]):
                arrived = {int(key): each for key, each in json.loads(store.get(f"{mark}/all")).items()}
                if arrived.get(rank) == own:
                    return mark, arrived
        time.sleep(ASK)
    raise _Missing(places.missing(_arrived(store, mark, number), number) if mark else "process 0 did not arrive")


def _arrived(store: Any, mark: str, number: int) -> Arrivals:
    keys = {rank: f"{mark}/{rank}" for rank in range(number)}
    return {rank: json.loads(store.get(key)) for rank, key in keys.items() if store.check([key])}
