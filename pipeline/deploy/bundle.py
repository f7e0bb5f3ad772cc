"""An export folder, or its ONNX file alone -> the model, ready to run, and what it says of the input that it was trained on.

Nothing in such a folder is trusted: facts are checked against each other and against the model before anything is computed.
Shapes: B batch, T time steps, F features, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipeline import files
from pipeline.data.series import Array
from pipeline.deploy import facts
from pipeline.deploy.facts import AGAIN, Arguments, Contents, Facts
from pipeline.errors import ExportError, needs

WEIGHTS, ONNX = "model.safetensors", "model.onnx"
ONNX_PACKAGES = "onnx", "onnxruntime"
ACTS_IN_TRAINING = {"dropout", "init", "head_dropout"}  # arguments that no graph tells
OF_ONE = "copy all files of one export together"


@dataclass(frozen=True)
class Exported:
    """``run``: values (B, T, F) float32 and lengths (B) int64 -> logits (B, C) float32."""

    path: Path
    run: Callable[[Array, Array], Array]
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
            if file.is_file() and (path / facts.CONFIG).is_file():
                contents = facts.read(path / facts.CONFIG)
                return _of_onnx(file, contents) if file.name == ONNX else _of_weights(file, contents)
        inner = path / "export"
        meant = f"type: --model {inner}" if inner.is_dir() else "name a folder that export wrote, such as runs/NAME/export"
        raise ExportError(f"{path}: holds no {facts.CONFIG} with a {ONNX} or {WEIGHTS}; {meant}")
    if path.suffix == ".onnx":
        return _of_onnx(path)
    problem = "is not read here" if path.exists() else "there is no such file or folder"
    raise ExportError(f"{path}: {problem}; name the export folder, such as runs/NAME/export, or its {ONNX}")


def _of_onnx(path: Path, contents: Contents | None = None) -> Exported:
    with needs(f"{path}:", *ONNX_PACKAGES):
        from pipeline.deploy.onnx_file import reader

        found = reader.load(path)
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
                    raise ExportError(f"{path}: its {name} is not that of {facts.CONFIG} beside it; {OF_ONE}, or {AGAIN}")
    return made


def _of_weights(path: Path, contents: Contents) -> Exported:
    from pipeline.deploy import weights_file  # only where they are read: PyTorch takes seconds

    loaded = weights_file.load(path, contents.arguments)
    if contents.sha256:
        _refuse_another(path, contents, files.sha256(path))
    return _checked(Exported(path.parent, weights_file.runner(loaded), contents.arguments, contents.facts))


def _refuse_another(path: Path, contents: Contents, sha256: str) -> None:
    if contents.sha256.get(path.name, sha256) != sha256:
        problem = f"is not the file that {facts.CONFIG} was written with (SHA-256 differs)"
        raise ExportError(f"{path}: {problem}; {OF_ONE}, or {AGAIN}")


def _checked(found: Exported) -> Exported:
    for mistake in found.facts.disagreements(found.features, found.arguments.classes):
        raise ExportError(f"{found.path}: its facts do not fit its model: {mistake}; {AGAIN}")
    return found
