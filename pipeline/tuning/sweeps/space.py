"""What a parameter may be -> values of a key, drawn by Optuna or counted through.

A *draw* is the number or word that Optuna knows; the value of the key follows from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pipeline.config import strict_yaml
from pipeline.errors import ConfigError
from pipeline.tuning.sweeps.shape import Parameter, Scalar, Sweep

Draws = Mapping[str, Any]
EVEN = ("int_uniform", "q_uniform")  # distributions of evenly spaced values


def distribution(parameter: Parameter) -> Any:
    """Optuna's distribution of the draws of a parameter that is no constant."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    low, high, kind = parameter.min, parameter.max, parameter.kind
    if kind == "categorical":
        return CategoricalDistribution(parameter.values)
    if kind == "log_uniform":
        return FloatDistribution(math.exp(low), math.exp(high), log=True)
    if kind in EVEN:
        q, high = q_of(parameter), _nth(parameter, steps(parameter))
        return IntDistribution(low, high, step=q) if type(high) is int else FloatDistribution(low, high, step=q)
    return FloatDistribution(low, high, log=kind != "uniform")


def draw(parameter: Parameter, name: str, trial: Any) -> None:
    """Have one of Optuna's trials draw a parameter, if it has not."""
    found = None if parameter.kind == "constant" else distribution(parameter)
    if found is not None and parameter.kind == "categorical":
        trial.suggest_categorical(name, found.choices)
    elif found is not None:
        suggest = trial.suggest_int if type(found.low) is int else trial.suggest_float
        step = {} if found.step is None else {"step": found.step}
        suggest(name, found.low, found.high, log=found.log, **step)


def value(parameter: Parameter, draw: Any) -> Scalar:
    """The value of the key that a draw stands for."""
    if parameter.kind == "constant":
        return parameter.value  # type: ignore[no-any-return]
    if parameter.kind == "q_log_uniform_values":
        q = q_of(parameter)
        return _short(min(max(round(draw / q) * q, parameter.min), parameter.max))
    return _short(draw) if parameter.kind in EVEN else draw


def steps(parameter: Parameter) -> int:
    """The number of the last value of a parameter of evenly spaced values; the first has the number 0."""
    return int((parameter.max - parameter.min) / q_of(parameter) + 1e-9)


def count(parameter: Parameter) -> int | None:
    """How many values there are; None if there is no end of them."""
    if parameter.kind == "constant":
        return 1
    if parameter.kind == "categorical":
        return len(parameter.values or ())
    return steps(parameter) + 1 if parameter.kind in EVEN else None


def examples(parameter: Parameter) -> list[Scalar]:
    """Values that tell whether all of them fit a key: each of a list, or the lowest, the highest and some between."""
    if parameter.kind == "constant":
        return [value(parameter, None)]
    if parameter.kind == "categorical":
        return list(parameter.values or ())
    if parameter.kind in EVEN:
        return [_nth(parameter, place) for place in (0, min(1, steps(parameter)), steps(parameter))]
    found = distribution(parameter)
    return [value(parameter, found.low + (found.high - found.low) * share) for share in (0.0, 0.31, 1.0)]


def points(sweep: Sweep) -> int:
    """The number of points of a grid."""
    return math.prod(count(parameter) or 0 for parameter in sweep.parameters.values())


def point(sweep: Sweep, number: int) -> dict[str, Any]:
    """The draws of a point of a grid, by its number from 0; the last parameter changes first."""
    draws: dict[str, Any] = {}
    for name, parameter in reversed(sweep.parameters.items()):
        number, place = divmod(number, count(parameter) or 1)
        if parameter.kind != "constant":
            draws[name] = (parameter.values or ())[place] if parameter.kind == "categorical" else _nth(parameter, place)
    return draws


def values(sweep: Sweep, draws: Draws) -> dict[str, Scalar]:
    """The value of each key of the sweep, in the order of its file; those that are not drawn yet are left out."""
    known = {name: parameter for name, parameter in sweep.parameters.items() if name in draws or parameter.kind == "constant"}
    return {name: value(parameter, draws.get(name)) for name, parameter in known.items()}


def override(key: str, value: Scalar) -> str:
    """``section.key=value`` as one would type it."""
    if not isinstance(value, str):
        return f"{key}={json.dumps(value)}"
    plain = False
    with suppress(ConfigError):
        plain = value.isprintable() and value == value.strip() and strict_yaml.parse(value, key)[0] == value
    return f"{key}={value if plain else json.dumps(value)}"


def q_of(parameter: Parameter) -> Any:
    """The distance of two values."""
    return 1 if parameter.kind == "int_uniform" or parameter.q is None else parameter.q


def _nth(parameter: Parameter, place: int) -> Any:
    return _short(parameter.min + place * q_of(parameter))


def _short(number: float) -> float:
    """A sum of multiples without what the binary numbers add to it: 0.3 and not 0.30000000000000004."""
    return float(f"{number:.12g}") if isinstance(number, float) else number
