"""What an export says of the data that its model was trained on."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from pipeline import config
from pipeline.data.clean import Cleaning
from pipeline.data.manifest import Channels, SeriesInfo


class Said(BaseModel):
    """What every part of the facts has in common; other facts than those named here may be there."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class SeriesFacts(config.Policies, SeriesInfo):
    """What makes the model's input of a series: channels, policies, and the columns of the file that it was trained on."""

    model_config = Said.model_config

    columns: config.Columns

    @property
    def cleaning(self) -> Cleaning:
        """The policies, with what they took from the training part."""
        return Cleaning(**self.of(config.Policies), **self.of(Channels), trained=True)


class Facts(Said):
    """What an export says of the data that its model was trained on; ``image`` or ``series`` is there, and not both."""

    class_names: tuple[str, ...]
    length: int
    source: str
    value_range: tuple[float, float]
    image: tuple[int, int] | None = None  # height, width
    order: tuple[int, ...] | None = None
    series: SeriesFacts | None = None

    @property
    def limits(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The least and the greatest value of the training part: of each feature (F) of series, of all pixels (1) of images."""
        if self.series:
            return self.series.low, self.series.high
        low, high = self.value_range
        return (low,), (high,)

    def faults(self, features: int, classes: int) -> Iterator[str]:
        """What does not fit a model of so many features and classes, or contradicts itself."""
        if len(set(self.class_names)) != len(self.class_names) or len(self.class_names) != classes:
            yield f"class_names names {len(set(self.class_names))} classes, but the model has {classes}"
        if self.series:
            named = len(self.series.channels)
            of_file, of_model = (len(numbers) for numbers in (self.series.fill, self.series.low))
            if len(self.series.offset) not in (0, named):
                yield "series.offset is not of the same channels"
            elif {of_file, of_model - len(self.series.masked), len(self.series.high) - len(self.series.masked)} != {named}:
                yield "series.channels, masked, fill, low and high are not of the same channels"
            elif of_model != features or not set(self.series.masked) <= set(range(named)):
                yield f"series describes {of_model} features, but the model reads {features}"
        elif self.image is None:
            yield "it says neither image nor series"
        else:
            pixels = self.image[0] * self.image[1]
            places = range(pixels) if self.order is None else self.order
            if len(places) != self.length * features or not set(places) <= set(range(pixels)):
                yield f"image, order and length do not give {self.length} steps of {features} features"
