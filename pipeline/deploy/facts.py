"""What an export says of its model and of the data that the model was trained on: ``config.json``.

Nothing of it is trusted: every number has a limit, and all of them are compared before anything is made of them.
Shapes: C channels of a file, F features of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    computed_field,
    field_serializer,
    model_serializer,
)

from pipeline import config
from pipeline.data.clean import Cleaning
from pipeline.data.manifest import Channels, SeriesInfo
from pipeline.errors import ExportError
from pipeline.model.footprint import Sizes

CONFIG = "config.json"
AGAIN = "export it again: python -m pipeline export --run RUN"
LARGEST = 2**26  # bytes of config.json
MOST = 2**24  # features, or classes
Side = Annotated[int, Field(ge=1, lt=2**16)]  # of an image
Grey = Annotated[int, Field(ge=-(2**53), le=2**53)]  # a value of a pixel, which float64 has too
Range = tuple[Grey, Grey] | tuple[float, float]


class Said(BaseModel):
    """What every part of an export's facts has in common; other facts than those named here may be there."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class SeriesFacts(config.Policies, SeriesInfo):
    """What makes the model's input of a series: channels, policies, and the columns of the file that it was trained on."""

    model_config = Said.model_config

    columns: config.Columns

    @field_serializer("columns")
    def _as_before(self, columns: config.Columns) -> dict[str, Any]:
        """Without what says nothing here and is unknown to other readers of format 1."""
        return {key: getattr(columns, key) for key in config.FIRST} | columns.later

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated property
    @property
    def features(self) -> tuple[str, ...]:
        """(F) the name of each; those of indicators follow from those of their channels."""
        return super().features

    @property
    def cleaning(self) -> Cleaning:
        """The policies, with what they took from the training split."""
        return Cleaning(**self.of(config.Policies), **self.of(Channels), trained=True)

    def disagreements(self, features: int) -> Iterator[str]:
        """What contradicts itself, or does not fit a model of so many features."""
        named, indicators = len(self.channels), len(self.masked)
        if len(self.offset) not in (0, named):
            yield "series.offset is not of the same channels"
        elif len(self.fill) != named or len(self.low) != named + indicators or len(self.high) != named + indicators:
            yield "series.channels, masked, fill, low and high are not of the same channels"
        elif named + indicators != features:
            yield f"series describes {named + indicators} features, but the model reads {features}"
        elif len(set(self.masked)) != indicators or not all(0 <= number < named for number in self.masked):
            yield f"series.masked does not name some of {named} channels"


class Measured(Said):
    """What the evaluation on the test split gave."""

    model_config = ConfigDict(allow_inf_nan=True)

    split: str = "test"
    step: int | None = None
    count: int
    accuracy: float
    loss: float


class Facts(Said):
    """What an export says of the data that its model was trained on; ``image`` or ``series`` is there, and not both."""

    class_names: tuple[str, ...]
    length: int = Field(ge=1, lt=2**31)  # T in training: of images all, of series the most
    source: str
    view: str | None = None  # how an image became a sequence
    value_range: Range
    series: SeriesFacts | None = None
    image: tuple[Side, Side] | None = None  # height, width
    order: tuple[Annotated[int, Field(ge=0)], ...] | None = None  # place in the sequence -> pixel; None: the same
    configuration: dict[str, dict[str, Any]] = {}  # the sections ``optim`` and ``train``
    step: int | None = None  # of the checkpoint
    test: Measured | None = None

    @property
    def limits(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The minimum and maximum of the training split: of each feature (F) of series, of all pixels (1) of images."""
        if self.series:
            return self.series.low, self.series.high
        low, high = self.value_range
        return (low,), (high,)

    def disagreements(self, features: int, classes: int) -> Iterator[str]:
        """What contradicts itself, or does not fit a model of so many features and classes."""
        if len(set(self.class_names)) != len(self.class_names) or len(self.class_names) != classes:
            yield f"class_names names {len(set(self.class_names))} classes, but the model has {classes}"
        if self.series:
            yield from self.series.disagreements(features)
        elif self.image is None:
            yield "it says neither image nor series"
        else:
            pixels = self.image[0] * self.image[1]
            places = pixels if self.order is None else len(self.order)
            if places != self.length * features or max(self.order or (0,)) >= pixels:
                yield f"image, order and length do not give {self.length} steps of {features} features"


class Arguments(config.Model):
    """What RecurrentClassifier is made with: the section ``model``, and what follows from the data."""

    features: int = Field(ge=1, le=MOST)
    classes: int = Field(ge=1, le=MOST)

    @property
    def sizes(self) -> Sizes:
        """What the memory of a forward pass follows from."""
        return Sizes(self.features, self.hidden * (1 + self.bidirectional), self.conv, self.classes)

    @model_serializer(mode="wrap")
    def _as_before(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what says nothing here and is unknown to other readers of format 1."""
        return {key: value for key, value in written(self).items() if (key, value) != ("conv_norm", "layer")}


class Contents(Said):
    """``config.json``: all that an export says of itself."""

    format_version: Literal[1, 2]
    arguments: Arguments
    facts: Facts
    sha256: dict[str, str] = {}  # of the files beside it, by name; none in older exports


def contents_of(arguments: Arguments, facts: Facts) -> Contents:
    """The contents of a new export. Format 2 only where a reader of format 1 would make another input of a series."""
    series = facts.series
    unknown_to_1 = series is not None and (bool(series.offset) or series.z_norm or series.timed)
    return Contents(format_version=2 if unknown_to_1 else 1, arguments=arguments, facts=facts)


def read(path: Path) -> Contents:
    """The ``config.json`` of an export. Raises ExportError if it is missing, damaged, of another format or without sense."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror}); {AGAIN}") from None
    if len(content) > LARGEST:
        raise ExportError(f"{path}: is larger than {LARGEST >> 20} MB; {AGAIN}")
    try:
        return Contents.model_validate_json(content)
    except ValidationError as error:
        raise error_at(path, error) from None


def of_metadata(path: Path, metadata: Mapping[str, str]) -> Facts:
    """The facts in the ONNX file ``path``. Raises ExportError if there are none, or if they are without sense."""
    try:
        return Facts.model_validate_json(metadata.get("facts", ""))
    except ValidationError as error:
        raise error_at(path, error) from None


def error_at(path: Path, error: ValidationError) -> ExportError:
    """The first of the mistakes of ``path``, with its place in it."""
    first: Any = error.errors()[0]
    place = ".".join(map(str, first["loc"])) or "its facts"
    if place == "format_version" and first["type"] == "literal_error":
        wanted = "this program reads 1 and 2; use the version that wrote it, or"
        return ExportError(f"{path}: format version {first['input']!r:.20}; {wanted} {AGAIN}")
    return ExportError(f"{path}: {place}: {first['msg']}; {AGAIN}")
