"""A function in each of several processes that talk over gloo."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

_fork = multiprocessing.get_context("forkserver")


def everywhere(work: Callable[[int], Any], processes: int = 3) -> list[Any]:
    """What ``work``, given its number, returns in each of several processes over gloo."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers = _fork.SimpleQueue()
    started = [_fork.Process(target=_work, args=(work, number, processes, port, answers)) for number in range(processes)]
    for process in started:
        process.start()
    said = dict(answers.get() for _ in started)
    for process in started:
        process.join(30)
    return [said[number] for number in range(processes)]


def _work(work: Callable[[int], Any], number: int, processes: int, port: int, answers: Any) -> None:
    from torch import distributed as dist

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=number, world_size=processes)
    try:
        answers.put((number, work(number)))
    except BaseException as error:
        answers.put((number, repr(error)))
    dist.destroy_process_group()
