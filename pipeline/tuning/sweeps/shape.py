"""What a sweep file may hold: the part of wandb's format that this program understands too."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from pipeline.config import Train

METRICS: tuple[str, ...] = get_args(Train.model_fields["monitor"].annotation)
Scalar = bool | int | float | str


def _number(value: Any) -> Any:
    if type(value) not in (int, float):
        raise PydanticCustomError("number", "a number")
    return value


def _scalar(value: Any) -> Any:
    if type(value) not in (bool, int, float, str):
        raise PydanticCustomError("scalar", "a number, a word, true or false")
    return value


Number = Annotated[Any, AfterValidator(_number)]
Value = Annotated[Any, AfterValidator(_scalar)]
Distribution = Literal[
    "constant",
    "categorical",
    "int_uniform",
    "uniform",
    "q_uniform",
    "log_uniform",
    "log_uniform_values",
    "q_log_uniform_values",
]


class Shape(BaseModel):
    """Strict types, no unknown keys, no changes."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Parameter(Shape):
    """What one key of the configuration may be: one value, several, or a range."""

    value: Value = None
    values: tuple[Value, ...] | None = Field(None, strict=False)
    min: Number = None
    max: Number = None
    q: Number = None  # the distance of two values, of the distributions whose names begin with q
    distribution: Distribution | None = None

    @property
    def kind(self) -> Distribution:
        """The distribution, as wandb takes it where none is said."""
        if self.distribution:
            return self.distribution
        if self.values is not None or self.value is not None:
            return "categorical" if self.values is not None else "constant"
        return "int_uniform" if type(self.min) is type(self.max) is int else "uniform"


class Metric(Shape):
    """What makes one trial better than another."""

    name: Literal["valid/accuracy", "valid/loss", "valid/macro_f1", "valid/balanced_accuracy"]
    goal: Literal["minimize", "maximize"] = "minimize"


class EarlyTerminate(Shape):
    """When a bad trial is stopped. An iteration is one evaluation on the validation split."""

    type: Literal["hyperband", "median"]
    min_iter: int | None = Field(None, ge=1)
    max_iter: int | None = Field(None, ge=2)
    s: int | None = Field(None, ge=1)
    eta: int = Field(3, ge=2)

    @property
    def first(self) -> int:
        """The iteration at which a trial may be stopped for the first time."""
        if self.min_iter is not None or self.max_iter is None:
            return self.min_iter or 1
        return max(1, int(self.max_iter / self.eta ** (self.s or 1)))


class Sweep(Shape):
    """A sweep. ``program``, ``command`` and those up to ``entity`` are for wandb alone."""

    program: str | None = None
    command: tuple[Value, ...] | None = Field(None, strict=False)
    name: str | None = None
    description: str | None = None
    project: str | None = None
    entity: str | None = None
    method: Literal["grid", "random", "bayes"]
    metric: Metric
    parameters: dict[str, Parameter] = Field(min_length=1)
    early_terminate: EarlyTerminate | None = None
    run_cap: int | None = Field(None, ge=1, le=1_000_000)

    @property
    def is_maximized(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric.goal == "maximize"
