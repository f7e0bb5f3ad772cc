"""Whatever text somebody brings, looking at it costs in proportion to its length: no pattern tries it again and again."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

import pytest

import pipeline
from pipeline.data.inspection import names
from pipeline.data.readers import cells

PIECES = (
    "1",
    "1.",
    "e1",
    " ",
    "\t",
    '"',
    '""',
    "'",
    "_",
    "_1",
    ",",
    "1,",
    "a",
    "A",
    "\\",
    "\\'",
    "{",
    "\n",
    "@attribute ",
    ".0",
)
ENDS = ("", "x", "1x", ".x", "_", "'", '"')


def patterns() -> Iterator[tuple[str, Callable[[str], Any]]]:
    """Every pattern that a module of the package keeps, and what is built on such."""
    for found in pkgutil.walk_packages(pipeline.__path__, "pipeline."):
        if found.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(found.name)).items():
            if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
                yield f"{found.name}.{name}", value.fullmatch
    for function in (cells.is_number, cells.class_word, names.stem):
        yield function.__qualname__, function


def seconds(function: Callable[[str], Any], text: str) -> float:
    """The least of three times."""
    times = []
    for _ in range(3):
        began = process_time()
        function(text)
        times.append(process_time() - began)
    return min(times)


@pytest.mark.parametrize(("name", "function"), dict(patterns()).items())
def test_a_pattern_costs_in_proportion_to_the_length_of_the_text(name: str, function: Callable[[str], Any]) -> None:
    for piece in PIECES:
        for begin, end in ((begin, end) for begin in ("", "'", '"') for end in ENDS):
            short, long = (begin + piece * (length // len(piece)) + end for length in (1_500, 15_000))
            small = seconds(function, short)
            assert seconds(function, long) < 40 * max(small, 5e-4), (piece, end)
