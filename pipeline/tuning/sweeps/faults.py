"""What is wrong with a sweep file, beyond its shape: each fault with the key that it is about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from pipeline import config
from pipeline.errors import ConfigError
from pipeline.tuning.sweeps import space
from pipeline.tuning.sweeps.shape import EarlyTerminate, Metric, Parameter, Sweep

Fault = tuple[tuple[str, ...], str]
OWN = {
    "run.dir": "each trial has a folder of its own",
    "train.folds": "a trial is measured on the validation split; leave the folds out",
    "train.monitor": "metric.name says by what a checkpoint is chosen",
    "train.watch_test": "a sweep never looks at the test split",
}


def of_sweep(sweep: Sweep) -> Iterator[Fault]:
    """All faults of a sweep whose shape is right."""
    yield from of_metric(sweep.metric)
    keys: dict[str, str] = {}
    for name, parameter in sweep.parameters.items():
        place = ("parameters", name)
        found = [((*place, *inner), problem) for inner, problem in of_parameter(parameter)]
        try:
            key = ".".join(config.spelled(name, ""))
        except ConfigError as error:
            found.append((place, str(error).removeprefix(": ")))
        else:
            if key in keys:
                found.append((place, f"is {keys[key]} under another name"))
            keys[key] = name
            found += [] if found else [(place, problem) for problem in of_key(key, parameter)]
        yield from found
        if sweep.method == "grid" and not found and space.count(parameter) is None:
            yield place, f"a grid needs values, or q_uniform with q, in place of {parameter.kind}"
    if sweep.early_terminate:
        yield from ((("early_terminate", *inner), problem) for inner, problem in of_ending(sweep.early_terminate))


def of_metric(metric: Metric) -> Iterator[Fault]:
    """The goal must be that of the metric."""
    right = "minimize" if metric.name == "valid/loss" else "maximize"
    if metric.goal != right:
        yield ("metric", "goal"), f"expected {right} for {metric.name}, got {metric.goal!r}"


def of_parameter(parameter: Parameter) -> Iterator[Fault]:
    """The keys of a parameter that do not go together."""
    given = parameter.model_fields_set
    ways = [
        way for way, there in (("value", "value" in given), ("values", "values" in given), ("min", "min" in given)) if there
    ]
    if len(ways) != 1 or (ways == ["min"]) != ("max" in given):
        yield (), "expected one of: value; values; min and max"
        return
    kind, wanted = parameter.kind, {"constant": "value", "categorical": "values"}
    if wanted.get(kind, "min") != ways[0]:
        yield ("distribution",), f"{kind} needs {wanted.get(kind, 'min and max')}"
        return
    if "q" in given and not kind.startswith("q_"):
        yield ("q",), f"is of the distributions q_uniform and q_log_uniform_values, not of {kind}"
    if parameter.values is not None:
        different = {(type(value) is bool, value) for value in parameter.values}
        if not parameter.values or len(different) < len(parameter.values):
            yield ("values",), "expected different values, one at least"
    elif ways == ["min"]:
        yield from _of_range(parameter)


def _of_range(parameter: Parameter) -> Iterator[Fault]:
    low, high, kind = parameter.min, parameter.max, parameter.kind
    if low >= high:
        yield ("max",), f"expected more than min = {low}, got {high}"
    if kind.endswith("log_uniform_values") and low <= 0:
        yield ("min",), f"expected a number above 0 for {kind}, got {low}"
    if kind == "log_uniform" and high > 700:
        yield ("max",), f"log_uniform takes the exponents of e; for {low} to {high} themselves write log_uniform_values"
    if kind == "int_uniform" and not type(low) is type(high) is int:
        yield ("distribution",), "int_uniform needs whole numbers"
    if parameter.q is not None and not 0 < parameter.q <= high - low:
        yield ("q",), f"expected a distance above 0 and up to max - min, got {parameter.q}"


def of_key(key: str, parameter: Parameter) -> Iterator[str]:
    """Why a key of the configuration cannot be what the parameter says."""
    section, _, name = key.partition(".")
    field = config.Config.model_fields.get(section)
    known = field.annotation if field else None
    if not (isinstance(known, type) and issubclass(known, config.Section) and name in known.model_fields):
        near = config.nearest((section, name))
        yield "no key of the configuration" + f"; did you mean {near}?" * bool(near)
        return
    if key in OWN:
        yield OWN[key]
        return
    problems = [problem for value in space.examples(parameter) for problem in _refused(known, name, value)]
    whole = any("a whole number" in problem for problem in problems) and parameter.kind.endswith("uniform_values")
    more = "; for whole numbers write distribution: q_log_uniform_values and q: 1" if whole else ""
    yield from (problem + more for problem in dict.fromkeys(problems[:1] if more else problems))


def _refused(section: type[config.Section], name: str, value: Any) -> Iterator[str]:
    """What the section says of a value of one of its keys alone."""
    try:
        section.model_validate({name: value})
    except ValidationError as error:
        found = [fault for fault in error.errors() if fault["loc"][:1] == (name,)]
        if found:
            yield " or ".join(dict.fromkeys(config.expected_of(fault) for fault in found))


def of_ending(rule: EarlyTerminate) -> Iterator[Fault]:
    """The keys of early_terminate that do not go together."""
    if rule.type == "median":
        yield from (((name,), "is of hyperband") for name in ("max_iter", "s", "eta") if name in rule.model_fields_set)
    elif (rule.min_iter is None) == (rule.max_iter is None) or (rule.max_iter is None) != (rule.s is None):
        yield (), "hyperband needs min_iter, or max_iter and s"
