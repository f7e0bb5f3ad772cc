"""An export folder, or its ONNX file alone -> the model, ready to run, and what it says of the input that it was trained on.

Nothing in such a folder is trusted: facts are checked against each other and against the model before anything is computed.
Shapes: B batch, T time steps, F features, C classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pipeline import files
from pipeline.deploy import facts
from pipeline.deploy.facts import AGAIN, Arguments, Contents, Facts
from pipeline.errors import ExportError, needs
from pipeline.model.classifier import RecurrentClassifier

CONFIG, WEIGHTS, ONNX = "config.json", "model.safetensors", "model.onnx"
ONNX_PACKAGES = "onnx", "onnxruntime"
ACTS_IN_TRAINING = {"dropout", "init", "head_dropout"}  # arguments that no graph tells
OF_ONE = "copy all files of one export together"


@dataclass(frozen=True)
class Exported:
    """``run``: values (B, T, F) float32 and lengths (B) int64 -> logits (B, C), on the CPU."""

    path: Path
    run: Callable[[Tensor, Tensor], Tensor]
    arguments: Arguments
    facts: Facts

    @property
    def features(self) -> int:
        """F."""
        return self.arguments.features


def load(path: Path) -> Exported:
    """The model in an export folder, as ``model.onnx`` or else ``model.safetensors``, or in a ``.onnx`` file alone. Where the
    packages of ONNX are not installed, ``model.safetensors`` is read if it is there.

    Raises UserError if there is none, if a file is damaged or could do more than compute, or if its facts do not fit it.
    """
    if path.is_dir():
        names = (ONNX, WEIGHTS) if all(map(find_spec, ONNX_PACKAGES)) else (WEIGHTS, ONNX)
        for file in (path / name for name in names):
            if file.is_file() and (path / CONFIG).is_file():
                contents = facts.read(path / CONFIG)
                return _of_onnx(file, contents) if file.name == ONNX else _of_weights(file, contents)
        inner = path / "export"
        meant = f"type: --model {inner}" if inner.is_dir() else "name a folder that export wrote, such as runs/NAME/export"
        raise ExportError(f"{path}: holds no {CONFIG} with a {ONNX} or {WEIGHTS}; {meant}")
    if path.suffix == ".onnx":
        return _of_onnx(path)
    problem = "is not read here" if path.exists() else "there is no such file or folder"
    raise ExportError(f"{path}: {problem}; name the export folder, such as runs/NAME/export, or its {ONNX}")


def load_model(folder: Path) -> tuple[RecurrentClassifier, dict[str, Any]]:
    """The model in an export folder, on the CPU and in evaluation mode, and the facts of its ``config.json``.

    Raises ExportError if a file is missing, damaged or of an unknown format version.
    """
    contents = facts.read(folder / CONFIG)
    return weights(folder / WEIGHTS, contents.arguments), contents.facts.model_dump(mode="json")


def weights(path: Path, arguments: Arguments) -> RecurrentClassifier:
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


def _of_onnx(path: Path, contents: Contents | None = None) -> Exported:
    with needs(f"{path}:", *ONNX_PACKAGES):
        from pipeline.deploy import onnx_reader

        found = onnx_reader.load(path)
        run = found.runner()
    inner = facts.of_metadata(path, found.metadata)
    said = contents.facts if contents else inner
    made = _checked(Exported(path, run, found.arguments, said))
    if contents:
        _refuse_another(path, contents, found.sha256)
        unused = set() if found.arguments.conv else {"conv_norm"}
        apart = found.arguments.of(Arguments).keys() - ACTS_IN_TRAINING - unused
        for whole, part, names in ((contents.arguments, found.arguments, apart), (said, inner, Facts.model_fields)):
            for name in sorted(names):
                if getattr(whole, name) != getattr(part, name):
                    raise ExportError(f"{path}: its {name} is not that of {CONFIG} beside it; {OF_ONE}, or {AGAIN}")
    return made


def _of_weights(path: Path, contents: Contents) -> Exported:
    loaded = weights(path, contents.arguments)
    if contents.sha256:
        _refuse_another(path, contents, files.sha256(path))

    def run(values: Tensor, lengths: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = loaded(values, lengths)
        return logits

    return _checked(Exported(path.parent, run, contents.arguments, contents.facts))


def _refuse_another(path: Path, contents: Contents, sha256: str) -> None:
    if contents.sha256.get(path.name, sha256) != sha256:
        raise ExportError(f"{path}: is not the file that {CONFIG} was written with (SHA-256 differs); {OF_ONE}, or {AGAIN}")


def _checked(found: Exported) -> Exported:
    for mistake in found.facts.disagreements(found.features, found.arguments.classes):
        raise ExportError(f"{found.path}: its facts do not fit its model: {mistake}; {AGAIN}")
    return found
