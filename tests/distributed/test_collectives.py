"""What processes say to each other is text, numbers and errors of known kinds, and runs nothing where it arrives."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from torch import distributed as dist

from pipeline import errors
from pipeline.distributed import collectives
from tests.support.processes import everywhere

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


TIMEOUT = 5  # seconds


def outlast(number: int) -> Any:
    """Process 1 takes longer than the others wait for a word of it."""
    if number == 1:
        time.sleep(1.5 * TIMEOUT)
    return number


def fail_late(number: int) -> Any:
    if outlast(number) == 1:
        raise errors.DataError("changed")


def have_little_patience() -> None:
    """Now that all have started, however long that took."""
    dist.distributed_c10d._set_pg_timeout(timedelta(seconds=TIMEOUT), dist.group.WORLD)


def wait_patiently(number: int) -> Any:
    have_little_patience()
    met = [collectives.patiently(lambda: outlast(number))]
    try:
        collectives.patiently(lambda: fail_late(number))
    except errors.DataError as error:
        met.append(str(error))
    return met


def test_the_others_wait_for_long_work_of_one_process_beyond_their_timeout_and_get_its_error() -> None:
    assert everywhere(wait_patiently) == [[number, "changed"] for number in range(3)]
    assert "imed out" in str(everywhere(wait)), "which is no matter of course"


def wait(number: int) -> Any:
    have_little_patience()
    return collectives.together(lambda: outlast(number))
