"""What processes say to each other is text, numbers and errors of known kinds, and runs nothing where it arrives."""

from __future__ import annotations

from typing import Any

import pytest

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
