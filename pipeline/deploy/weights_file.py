"""model.safetensors -> the model.

Shapes: B batch, T time steps, F features, C classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from pipeline.data.series import Array
from pipeline.deploy import facts
from pipeline.deploy.facts import AGAIN, Arguments
from pipeline.errors import ExportError
from pipeline.model.classifier import RecurrentClassifier


def load_model(folder: Path) -> tuple[RecurrentClassifier, dict[str, Any]]:
    """The model in an export folder, on the CPU and in evaluation mode, and the facts of its ``config.json``.

    Raises ExportError if a file is missing, damaged or of an unknown format version.
    """
    contents = facts.read(folder / facts.CONFIG)
    return load(folder / "model.safetensors", contents.arguments), contents.facts.model_dump(mode="json")


def load(path: Path, arguments: Arguments) -> RecurrentClassifier:
    """The model of ``arguments`` with the weights in ``path``, on the CPU and in evaluation mode.

    Raises ExportError if the file is missing or damaged, or if its tensors are not those of such a model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            slices = {name: file.get_slice(name) for name in names}
            there = {name: (tuple(piece.get_shape()), piece.get_dtype()) for name, piece in slices.items()}
            made = _empty(path, arguments, there)
            made.to_empty(device="cpu").load_state_dict({name: file.get_tensor(name) for name in names})
    except FileNotFoundError:
        raise ExportError(f"{path}: no such file; export again, with safetensors among export.formats") from None
    except (OSError, SafetensorError) as error:
        raise ExportError(f"{path}: not readable as an exported model ({error}); {AGAIN}") from None
    return made.eval()


def _empty(path: Path, arguments: Arguments, there: dict[str, tuple[tuple[int, ...], str]]) -> RecurrentClassifier:
    """The model without memory for its weights, which have the names, shapes and types of those that are ``there``."""
    layers = sum(bool(re.fullmatch(r"recurrent\.\d+\.weight_hh_l0", name)) for name in there) / (1 + arguments.bidirectional)
    if layers != arguments.layers:  # looked at first, since each takes time to make
        raise ExportError(f"{path}: holds {layers:g} layers, but config.json says {arguments.layers}; {AGAIN}")
    with torch.device("meta"):
        made = RecurrentClassifier(**arguments.model_dump())
    wanted = {name: (tuple(value.shape), "F32") for name, value in made.state_dict().items()}
    for name in sorted({*wanted, *there}):
        if wanted.get(name) != there.get(name):
            said, meant = (" ".join(map(str, shapes[name])) if name in shapes else "none" for shapes in (there, wanted))
            raise ExportError(f"{path}: its tensor {name} is {said}, but config.json describes {meant}; {AGAIN}")
    return made


def runner(model: RecurrentClassifier) -> Callable[[Array, Array], Array]:
    """``model``, which is on the CPU, for arrays: values (B, T, F) float32 and lengths (B) int64 -> logits (B, C) float32."""

    def run(values: Array, lengths: Array) -> Array:
        with torch.no_grad():
            logits: Array = model(torch.from_numpy(values), torch.from_numpy(lengths)).numpy()
        return logits

    return run
