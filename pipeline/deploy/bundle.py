"""An export folder, or its ONNX file alone -> the model, ready to run, and what it says of the input that it was trained on.

Nothing in such a folder is trusted: facts are checked against each other and against the model before anything is computed.
Shapes: B batch, T time steps, F features, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from pipeline.deploy import exporter, onnx_reader
from pipeline.deploy.exporter import ExportError
from pipeline.deploy.facts import Facts, Said

AGAIN = "export it again: python -m pipeline export --run RUN"


class _Config(Said):
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
    proto = onnx_reader.load(path)
    if facts is None:
        said = {entry.key: entry.value for entry in proto.metadata_props}
        try:
            facts = Facts.model_validate_json(said.get("facts", ""))
        except ValidationError as error:
            raise _fault(path, error) from None
    shapes = [value.type.tensor_type.shape.dim for value in (proto.graph.input[0], proto.graph.output[0])]
    features, classes = (shape[-1].dim_value if shape else 0 for shape in shapes)
    return _checked(Exported(path, onnx_reader.runner(proto, path), features, facts), classes)


def _of_safetensors(folder: Path, facts: Facts) -> Exported:
    model, _ = exporter.load(folder)

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
