"""An export folder, or its ONNX file alone -> the model, ready to run, and what it says of the input that it was trained on.

Nothing in such a folder is trusted: facts are checked against each other and against the model before anything is computed.
Shapes: B batch, T time steps, F features, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from pipeline import export, onnx_file
from pipeline.data.clean import Cleaning
from pipeline.export import ExportError

AGAIN = "export it again: python -m pipeline export --run RUN"


class _Said(BaseModel):
    """What every part of the facts has in common; other facts than those named here may be there."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class ColumnFacts(_Said):
    """What was what in the file that the model was trained on, as in the section ``data``."""

    layout: Literal["long", "wide"]
    id: str
    time: str
    label: str
    group: str
    channels: tuple[str, ...]


class SeriesFacts(_Said):
    """What makes the model's input of a series; (C) channels of the file, (F) features."""

    channels: tuple[str, ...]  # (C)
    masked: tuple[int, ...]
    fill: tuple[float, ...]  # (C)
    low: tuple[float, ...]  # (F) of the training part
    high: tuple[float, ...]  # (F)
    missing: Literal["error", "mean", "forward", "mask"]
    max_length: int
    truncate: Literal["error", "start", "end"]
    resample: int
    columns: ColumnFacts

    @property
    def cleaning(self) -> Cleaning:
        """The policies, with what they took from the training part."""
        policies = (self.missing, self.max_length, self.truncate, self.resample)
        return Cleaning(*policies, self.channels, self.fill, self.masked, trained=True)


class Facts(_Said):
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
            if {of_file, of_model - len(self.series.masked), len(self.series.high) - len(self.series.masked)} != {named}:
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


class _Config(_Said):
    """``config.json``, without what only ``export.load`` needs."""

    format_version: Literal[1]
    facts: Facts


@dataclass(frozen=True)
class Exported:
    """``run``: values (B, T, F) float32 and lengths (B) int64 -> logits (B, C), on the CPU. ``features``: F."""

    path: Path
    run: Callable[[Tensor, Tensor], Tensor]
    features: int
    facts: Facts


def load(path: Path) -> Exported:
    """The model in an export folder, as ``model.onnx`` or else ``model.safetensors``, or in a ``.onnx`` file alone.

    Raises UserError if there is none, if a file is damaged or could do more than compute, or if its facts do not fit it.
    """
    if path.is_dir():
        for file in (path / "model.onnx", path / "model.safetensors"):
            if file.is_file() and (path / "config.json").is_file():
                facts = _read_config(path / "config.json")
                return _of_onnx(file, facts) if file.suffix == ".onnx" else _of_safetensors(path, facts)
        inner = path / "export"
        meant = f"type: --model {inner}" if inner.is_dir() else "name a folder that export wrote, such as runs/NAME/export"
        raise ExportError(f"{path}: holds no config.json with a model.onnx or model.safetensors; {meant}")
    if path.suffix == ".onnx":
        return _of_onnx(path)
    problem = "is not read here" if path.exists() else "there is no such file or folder"
    raise ExportError(f"{path}: {problem}; name the export folder, such as runs/NAME/export, or its model.onnx")


def _read_config(path: Path) -> Facts:
    try:
        return _Config.model_validate_json(path.read_bytes()).facts
    except ValidationError as error:
        raise _fault(path, error) from None
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror}); {AGAIN}") from None


def _of_onnx(path: Path, facts: Facts | None = None) -> Exported:
    proto = onnx_file.load(path)
    if facts is None:
        said = {entry.key: entry.value for entry in proto.metadata_props}
        try:
            facts = Facts.model_validate_json(said.get("facts", ""))
        except ValidationError as error:
            raise _fault(path, error) from None
    shapes = [value.type.tensor_type.shape.dim for value in (proto.graph.input[0], proto.graph.output[0])]
    features, classes = (shape[-1].dim_value if shape else 0 for shape in shapes)
    return _checked(Exported(path, onnx_file.runner(proto, path), features, facts), classes)


def _of_safetensors(folder: Path, facts: Facts) -> Exported:
    model, _ = export.load(folder)

    def run(values: Tensor, lengths: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = model(values, lengths)
        return logits

    return _checked(Exported(folder, run, model.mean.shape[0], facts), model.head.out_features)


def _checked(found: Exported, classes: int) -> Exported:
    for fault in found.facts.faults(found.features, classes):
        raise ExportError(f"{found.path}: its facts do not fit its model: {fault}; {AGAIN}")
    return found


def _fault(path: Path, error: ValidationError) -> ExportError:
    first: Any = error.errors()[0]
    place = ".".join(map(str, first["loc"])) or "its facts"
    return ExportError(f"{path}: {place}: {first['msg']}; {AGAIN}")
