"""What processes say to each other is text, numbers and errors of known kinds, and runs nothing where it arrives."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from pipeline import errors
from pipeline.distributed import collectives

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


VALUES = [None, "", "Ärger \U0001f600 \udcff", 7, -(2**63), 1.5e-300, True, [1, [2, "x" * 100_000]], {"a": {"b": [None]}}]


def say(number: int) -> Any:
    """Each process says values of its own length."""
    return [collectives.gather(value if number else [value, value]) for value in VALUES]


def test_values_arrive_as_they_are_in_the_order_of_the_processes() -> None:
    for answer in everywhere(say):
        assert answer == [[[value, value], value, value] for value in VALUES]


def test_a_value_that_is_no_text_or_number_is_a_defect_with_one_process_too() -> None:
    with pytest.raises(TypeError):
        collectives.gather({1, 2})


def fail(number: int) -> Any:
    """Process 1 fails in one way after another."""
    met = []
    for kind in KINDS:

        def action(kind: str = kind) -> int:
            if number == 1:
                raise getattr(errors, kind, KeyError)(f"{kind}\nsecond line")
            return number

        try:
            collectives.together(action)
        except Exception as error:
            met.append((type(error).__name__, str(error)))
    return met


KINDS = ["UserError", "ConfigError", "DataError", "RunError", "TrainingError", "NonFiniteError", "LostContactError", "other"]


def test_an_error_of_one_process_is_raised_in_all_with_its_kind_and_its_text() -> None:
    answers = everywhere(fail)
    for number, met in enumerate(answers):
        assert len(met) == len(KINDS), met
        for kind, (name, text) in zip(KINDS, met, strict=True):
            other = "KeyError" if number == 1 else "RuntimeError"
            assert name == (kind if kind != "other" else other)
            assert kind in text and ("second line" in text)
