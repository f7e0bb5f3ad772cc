"""What all processes say, do and agree on."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from pipeline import errors

T = TypeVar("T")
BEAT = 1.0  # seconds between two words of processes that wait for each other, far below any run.timeout
KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}

POLL = 0.0005  # seconds between two looks at whether a GPU has come so far


class Patience:
    """How long this process waits for its GPU, which may wait for a process that is gone."""

    limit = math.inf  # seconds: run.timeout where there are several processes
    lost = False  # whether it has waited in vain: nothing may wait for the GPU from then on, its work has no end
    look: Callable[[], object] = staticmethod(lambda: None)  # raises if contact is lost: what to ask meanwhile


patience = Patience()


def recorded() -> Any:
    """An event behind all that the device was given."""
    event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return event


def until(event: Any) -> None:
    """Return when the device has come to ``event``. Signals are heard meanwhile, which they are not within CUDA.

    Raises DistError after ``patience.limit`` seconds, and what ``patience.look`` raises."""
    began = time.monotonic()
    while not event.query():
        try:
            patience.look()
            if time.monotonic() - began > patience.limit:
                raise dist.DistError(f"the GPU has waited {patience.limit:.0f} s for NCCL")
        except RuntimeError:
            patience.lost = True
            raise
        time.sleep(POLL)


def settled(tensor: Tensor) -> Tensor:
    """``tensor``, once the device that it is on has computed it, so that to read it is no wait. Raises as ``until``."""
    if tensor.device.type == "cuda" and world_size() > 1:
        until(recorded())
    return tensor


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of ``tensor`` over all processes, on each of them."""
    if dist.is_initialized():
        tensor = tensor.clone()
        dist.all_reduce(tensor)
    return tensor


def gather(value: Any) -> list[Any]:
    """``value`` of each process, in their order, on each of them: text, numbers, None, lists and dicts, which travel as JSON.

    Pickle, as which torch sends objects, runs what it is told where it arrives.
    """
    text = json.dumps(value).encode()
    if not dist.is_initialized():
        return [json.loads(text)]
    sizes = _all(torch.tensor([len(text)]))
    padded = torch.zeros(max(map(int, sizes)), dtype=torch.uint8)
    padded[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    texts = _all(padded)
    return [json.loads(bytes(said[: int(size)].tolist())) for said, size in zip(texts, sizes, strict=True)]


def _all(tensor: Tensor) -> list[Tensor]:
    """``tensor``, of one shape in all processes, of each of them."""
    found = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(found, tensor)
    return found


def together(action: Callable[[], T]) -> T:
    """Do ``action`` in every process and wait for all; an error in one of them is raised in all.

    The others get it with its text, and with its kind if that is one of ``pipeline.errors``, else as RuntimeError.
    """
    if not dist.is_initialized():
        return action()
    problem: Exception | None = None
    try:
        result = action()
    except dist.DistError:
        raise  # there is nobody to tell
    except Exception as error:
        problem = error
    said = next((other for other in gather(_described(problem)) if other), None)
    if problem is not None:
        raise problem
    if said is not None:
        raise KINDS.get(said[0], RuntimeError)(said[1])
    return result


def _described(error: Exception | None) -> list[str] | None:
    """The kind of an error, of those that all processes know, and its text."""
    if error is None:
        return None
    kind = next((known.__name__ for known in type(error).__mro__ if known.__name__ in KINDS), "")
    return [kind, str(error) if kind else repr(error)]


def patiently(action: Callable[[], T]) -> T:
    """``together`` for what may take longer than ``run.timeout`` in some processes: the others wait for as long as it takes.

    ``action``, which runs in a thread of its own, may not talk to other processes.
    """
    if not dist.is_initialized():
        return action()
    done: Future[T] = Future()
    threading.Thread(target=_fulfil, args=(done, action), daemon=True).start()
    while True:
        wait([done], BEAT)
        if all(gather(done.done())):
            return together(done.result)


def _fulfil(done: Future[T], action: Callable[[], T]) -> None:
    try:
        done.set_result(action())
    except BaseException as error:
        done.set_exception(error)


def on_main(action: Callable[[], object]) -> None:
    """Do ``action`` in the main process while the others wait; its error is raised in all of them."""
    together(lambda: action() if rank() == 0 else None)


def assert_same(facts: dict[str, str], error: type[Exception], remedy: str) -> None:
    """Raise ``error`` in all processes if one of them has other ``facts`` than most, naming it and what differs."""
    everyone = gather(facts)
    for name in facts:
        values = [other[name] for other in everyone]
        usual = max(values, key=values.count)  # the first of equals: of two processes, that of process 0
        odd = [str(number) for number, value in enumerate(values) if value != usual]
        if odd:
            raise error(f"process {', '.join(odd)} has another {name} than process {values.index(usual)}; {remedy}")
