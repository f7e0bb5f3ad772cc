"""A sweep file -> ``Sweep``, or all its faults, each with its file and line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline import config
from pipeline.config import strict_yaml
from pipeline.errors import ConfigError
from pipeline.tuning.sweeps import faults
from pipeline.tuning.sweeps.shape import EarlyTerminate, Metric, Parameter, Sweep

LEVELS: dict[str, type[BaseModel]] = {"metric": Metric, "parameters": Parameter, "early_terminate": EarlyTerminate}


def read(path: Path) -> Sweep:
    """The sweep in a file. Raises ConfigError that lists every fault as ``file:line: key: what was expected``."""
    if not path.exists():
        raise ConfigError(f"{path}: cannot be read: No such file or directory{config.near_file(path)}")
    values, lines = strict_yaml.read(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}:1: expected method, metric and parameters, got {config.without_secret(repr(values))}")
    try:
        sweep = Sweep.model_validate(values)
    except ValidationError as error:
        found = list(_of_shape(error))
    else:
        found = list(faults.of_sweep(sweep))
        if not found:
            return sweep
    raise ConfigError("\n".join(_lines(found, lines, path)))


def _of_shape(error: ValidationError) -> Iterator[faults.Fault]:
    for fault in error.errors():
        place = tuple(part for part in fault["loc"] if isinstance(part, str))
        yield place, _said(place, fault)


def _said(place: tuple[str, ...], fault: ErrorDetails) -> str:
    if fault["type"] == "missing":
        return "is missing"
    if fault["type"] in ("model_type", "dict_type"):
        return f"expected key: value lines, got {config.without_secret(repr(fault['input']))[:100]}"
    if fault["type"] != "extra_forbidden":
        return config.expected_of(fault)
    if place[-1] == "parameters" and len(place) > 2:
        return f"is not read within another; write the whole key, {place[1]}.KEY, in its place"
    known = list(LEVELS[place[0]].model_fields if len(place) > 1 else Sweep.model_fields)
    near = difflib.get_close_matches(place[-1], known, 1)
    return "unknown key; " + (f"did you mean {near[0]}?" if near else f"valid: {', '.join(known)}")


def _lines(found: list[faults.Fault], lines: Mapping[strict_yaml.Key, int], path: Path) -> list[str]:
    """A message a fault, in the order of the file; a key that is not there has the line of what it belongs to."""

    def line(place: tuple[str, ...]) -> int:
        return next((lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), 1)

    said: dict[tuple[str, ...], list[Any]] = {}
    for place, problem in sorted(found, key=lambda fault: line(fault[0])):
        said.setdefault(place, []).append(problem)
    return [f"{path}:{line(place)}: {'.'.join(place)}: {' or '.join(dict.fromkeys(said[place]))}" for place in said]
