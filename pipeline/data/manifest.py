"""What a prepared folder says of itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Self, get_args

import numpy as np
from pydantic import Field, model_validator

from pipeline import config
from pipeline.data.series import Array

REPEATED_SHOWN = 5  # of the test examples that were found in the training split
FORMAT: Final = 1
RULES: Final = 2  # for series; 1 knew no offsets, took the largest groups, and cut between series of one time
Name = Literal["train", "valid", "test"]
NAMES: tuple[Name, ...] = get_args(Name)


def _later(default: Any) -> Any:
    """A field that older manifests lack: where it holds nothing it is left out, so that their digests stay the same."""
    return Field(default, exclude_if=lambda value: value == default)


class PartFile(config.Section):
    """A file that holds some rows of a part, or all."""

    file: str
    sha256: str


class PartInfo(config.Section):
    """One part in a manifest: examples, examples of each class, and the files that hold them."""

    count: int
    class_counts: tuple[int, ...]
    file: str
    sha256: str
    more: tuple[PartFile, ...] = _later(())
    lengths: tuple[int, int, float] | None = _later(None)  # steps of a series: least, most, mean; None: images
    missing: tuple[int, ...] = _later(())  # values that were missing in each channel of the file

    @property
    def files(self) -> tuple[PartFile, ...]:
        """All files, in the order of the rows."""
        return (PartFile(file=self.file, sha256=self.sha256), *self.more)


class Channels(config.Section):
    """The channels of a file, and what the policies for series took from the training split."""

    channels: tuple[str, ...]  # (C) of the file
    masked: tuple[int, ...] = ()  # numbers of those with an indicator of what was missing; the indicators come last in F
    fill: tuple[float, ...] = ()  # (C) what missing values are filled with: the mean of those that were there
    # (C) subtracted, in float64, before values are rounded to float32; () for nothing. All other numbers are of what is left.
    offset: tuple[float, ...] = _later(())
    timed: bool = _later(False)  # whether series were resampled at equal times; else, and in older ones, at equal steps

    @property
    def features(self) -> tuple[str, ...]:
        """(F) the name of each."""
        return (*self.channels, *(f"{self.channels[number]} missing" for number in self.masked))

    @property
    def offsets(self) -> tuple[float, ...]:
        """(F) ``offset``, with zeros for what has none."""
        offset = self.offset or (0.0,) * len(self.channels)
        return (*offset, *(0.0 for _ in self.masked))


class SeriesInfo(Channels):
    """What a manifest says of series beyond what it says of images. Statistics are of the training split alone."""

    low: tuple[float, ...]  # (F)
    high: tuple[float, ...]  # (F)


class Manifest(config.Section):
    """What a prepared folder holds. Statistics are of the training split alone."""

    format: Literal[1]
    settings: dict[str, str | int | float]
    source: str
    class_names: tuple[str, ...]
    length: int  # T; of series, the most steps in the training split
    features: int  # F
    image: tuple[int, int] | None  # height, width
    order: tuple[int, ...] | None  # position in the flattened sequence -> pixel of the flattened image; None: the same
    value_range: tuple[int, int] | tuple[float, float]
    parts: dict[Name, PartInfo]
    source_files: dict[str, str]  # name -> sha256
    mean: tuple[float, ...]  # (F), over examples and steps
    std: tuple[float, ...]  # (F), of the population; 0 for a constant feature
    global_mean: float
    global_std: float
    # Absent in folders made before they were looked for, which stay good: the examples are the same.
    repeated: int = 0  # test examples that equal one of the source's training examples
    repeated_rows: tuple[tuple[int, int], ...] = ()  # of the first of them: row in the test split, row in the training split
    series: SeriesInfo | None = _later(None)
    rules: int = _later(1)  # by which series were prepared
    adapted: str = _later("")  # what became of a default that did not fit, in words
    left_out: int = _later(0)  # series in no part, since they end when the time that is held out has begun
    doubts: tuple[str, ...] = _later(())  # warnings of the readers: what was taken for granted and may be otherwise

    @model_validator(mode="after")
    def _of_one_piece(self) -> Self:
        """A manifest that somebody sent may say anything."""
        counts = [(sum(info.class_counts), len(info.class_counts)) for info in self.parts.values()]
        fits = counts == [(info.count, len(self.class_names)) for info in self.parts.values()] and "train" in self.parts
        widths: list[Sized] = [self.mean, self.std]
        if self.series:
            channels = len(self.series.channels)
            widths += [self.series.low, self.series.high, self.series.features]
            fits = fits and all(0 <= number < channels for number in self.series.masked)
            fits = fits and {len(self.series.fill), len(self.series.offset)} <= {0, channels}
        else:
            pixels = math.prod(self.image or ())
            order = range(pixels) if self.order is None else self.order
            fits = fits and self.image is not None and len(order) == self.length * self.features
            fits = fits and min(order, default=-1) >= 0 and max(order, default=0) < pixels
        if not fits or any(len(width) != self.features for width in widths) or self.features < 1:
            raise ValueError("what it says contradicts itself")
        return self

    @property
    def places(self) -> Array:
        """Where each pixel of a flattened image stands in its flattened sequence, (h * w) int64."""
        assert self.image is not None
        pixels = math.prod(self.image)
        if self.order is None:
            return np.arange(pixels)
        result = np.empty(pixels, np.int64)
        result[np.array(self.order)] = np.arange(len(self.order))  # a view may hold a pixel twice: either place will do
        return result

    def normalization(self, mode: Literal["auto", "none", "unit", "global", "feature"]) -> tuple[Array, Array]:
        """Mean and scale, each (F) float32, of ``data.normalize``: the model's input is (values - mean) * scale.

        What is constant over the training split has scale 1. Indicators of missing values stay 0 and 1: their own standard
        deviation is the smaller the rarer they are, so that one missing value would outweigh its whole series.
        """
        (low, high), center, spread = self.value_range, self.global_mean, self.global_std
        measured = self.features
        if self.series and self.series.masked:
            measured = len(self.series.channels)
            low, high = min(self.series.low[:measured]), max(self.series.high[:measured])
            means, deviations = np.array(self.mean[:measured]), np.array(self.std[:measured])
            center = float(means.mean())
            spread = float(np.sqrt((deviations**2 + (means - center) ** 2).mean()))
        moments: dict[str, tuple[Sequence[float], Sequence[float]]] = {
            "none": ([0.0], [1.0]),
            "unit": ([low], [high - low]),
            "global": ([center], [spread]),
            "feature": (self.mean[:measured], self.std[:measured]),
        }
        moments["auto"] = moments["feature" if self.series else "global"]
        mean, scale = np.zeros(self.features, np.float32), np.ones(self.features, np.float32)
        mean[:measured] = moments[mode][0]
        scale[:measured] = [1 / width if width else 1.0 for width in moments[mode][1]]
        return mean, scale

    def steps_text(self, name: Name) -> str:
        """How long the examples of a part are, in words."""
        least, most, _ = self.parts[name].lengths or (self.length, self.length, 0)
        return f"{least} steps" if least == most else f"{least} to {most} steps"


class Statistics(NamedTuple):
    """Means and population standard deviations of the training split: of each feature (F), and of all values."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    global_mean: float
    global_std: float


@dataclass(frozen=True)
class Content:
    """What images and series alike are made into: all that a manifest says but where it came from."""

    class_names: tuple[str, ...]
    length: int
    features: int
    value_range: tuple[int, int] | tuple[float, float]
    parts: dict[Name, PartInfo]
    statistics: Statistics
    repeated: Sequence[tuple[int, int]]  # row in the test split, row in the training split
    image: tuple[int, int] | None = None
    order: tuple[int, ...] | None = None
    series: SeriesInfo | None = None
    left_out: int = 0
    doubts: tuple[str, ...] = ()
    adapted: str = ""


def manifest_of(
    data: config.Data, settings: dict[str, str | int | float], content: Content, source_files: Mapping[str, str]
) -> Manifest:
    """The manifest of ``content``, which was made of ``data``; ``settings``: those that decided it; ``source_files``: the raw
    files, each with its SHA-256."""
    return Manifest(
        format=FORMAT,
        settings=settings,
        source=data.source,
        class_names=content.class_names,
        length=content.length,
        features=content.features,
        image=content.image,
        order=content.order,
        value_range=content.value_range,
        parts=content.parts,
        source_files=dict(source_files),
        **content.statistics._asdict(),
        repeated=len(content.repeated),
        repeated_rows=tuple(content.repeated[:REPEATED_SHOWN]),
        series=content.series,
        rules=RULES if content.series else 1,
        left_out=content.left_out,
        doubts=content.doubts,
        adapted=content.adapted,
    )
