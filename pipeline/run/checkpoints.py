"""Checkpoints: saved whole or not at all, verified when loaded, pruned only after the next one is safe.

``step_00000040/`` holds model.safetensors, optimizer.safetensors, ema.safetensors where there is one, state.json,
and manifest.json with the sha256 of each. Nothing is pickled: reading a checkpoint runs no code from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline import files
from pipeline.errors import RunError
from pipeline.training.state import State

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: its folder, step and the JSON-able ``facts`` it was saved with."""

    folder: Path
    step: int
    facts: dict[str, Any]


def is_finished(checkpoint: Checkpoint) -> bool:
    """Whether training ended with this checkpoint."""
    link = checkpoint.folder.parent / "finished"
    return link.is_symlink() and link.readlink().name == checkpoint.folder.name


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that verifies, and why each newer one was skipped; None where there is none at all.

    Raises RunError if there are checkpoints and none verifies: a run is never silently started over.
    """
    skipped: list[str] = []
    for path in reversed(all_of(folder)):
        problem = problem_of(path)
        if problem is None:
            return _open(path), skipped
        skipped.append(f"{path}: {problem}")
    if skipped:
        raise RunError(
            "no checkpoint can be read:\n  "
            + "\n  ".join(skipped)
            + f"\nput an intact copy back, or delete {folder} to start over"
        )
    return None, []


def best(folder: Path) -> Checkpoint:
    """The best checkpoint, or the newest where none was marked (a run without a validation part)."""
    if (folder / "best").is_symlink():
        path = folder / (folder / "best").readlink()
        if problem := problem_of(path):
            raise RunError(f"{path}: {problem}; put an intact copy back, or remove {folder / 'best'} to use the newest")
        return _open(path)
    checkpoint, _ = newest(folder)
    if checkpoint is None:
        raise RunError(f"{folder}: no checkpoint yet; train first: python -m pipeline train --config FILE")
    return checkpoint


def restore(checkpoint: Checkpoint, state: State) -> None:
    """Make ``state``, of the same configuration, that of the checkpoint."""
    content = json.loads((checkpoint.folder / "state.json").read_text())
    load_weights(checkpoint, state.model, averaged=False)
    if state.ema is not None:
        load_weights(checkpoint, state.ema)
    file = checkpoint.folder / "optimizer.safetensors"
    try:
        state.optimizer.load_state_dict(_unflatten(load_file(file) | content["optimizer"], state))
    except ValueError as error:
        raise RunError(f"{file}: {error}") from None
    if state.scaler is not None:
        state.scaler.load_state_dict(content["scaler"])
    state.step = checkpoint.step


def digest(model: nn.Module) -> str:
    """The SHA-256 of all weights."""
    total = sha256()
    for tensor in model.state_dict().values():
        total.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return total.hexdigest()


def load_weights(checkpoint: Checkpoint, model: nn.Module, averaged: bool = True) -> None:
    """Fill ``model`` with the weights to evaluate and export: the averaged ones, if asked for and there are any."""
    file = checkpoint.folder / "ema.safetensors"
    if not (averaged and file.exists()):
        file = checkpoint.folder / "model.safetensors"
    try:
        model.load_state_dict(load_file(file))
    except RuntimeError as error:
        raise RunError(f"{file}: does not fit the model of this run's config.yaml: {error}") from None


def name_of(step: int) -> str:
    """The name of the folder of a checkpoint."""
    return f"step_{step:08d}"


def _unflatten(held: dict[str, Any], state: State) -> dict[str, Any]:
    """What ``_flatten`` made, as the optimiser's state dict. Raises ValueError if it is of another model."""
    parameters = dict(state.model.named_parameters())
    order = [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
    number = {parameter: index for index, parameter in enumerate(order)}
    result: dict[int, dict[str, Any]] = {}
    for key, value in held.items():
        name, what = key.split("/", 1)
        if name not in parameters or (isinstance(value, Tensor) and value.ndim and value.shape != parameters[name].shape):
            raise ValueError(f"{key} does not fit the model of this run's config.yaml")
        result.setdefault(number[parameters[name]], {})[what] = value
    groups = state.optimizer.state_dict()["param_groups"]  # they follow from the configuration
    return {"state": result, "param_groups": groups}


def all_of(folder: Path) -> list[Path]:
    """The folders of all checkpoints, whole or not, from the oldest to the newest."""
    return sorted(path for path in folder.glob("step_*") if path.is_dir()) if folder.is_dir() else []


def problem_of(path: Path) -> str | None:
    """Why the checkpoint cannot be used; None if every file is what was written."""
    name = "manifest.json"
    try:
        manifest = json.loads((path / name).read_text())
        for name, digest in manifest.items():
            if files.sha256(path / name) != digest:
                return f"{name} was changed after it was written"
        if not {"model.safetensors", "optimizer.safetensors", "state.json"} <= manifest.keys():
            return "manifest.json names too few files"
        name = "state.json"
        content = json.loads((path / name).read_text())
        if content["format"] != FORMAT:
            return f"is of format {content['format']}; this program reads {FORMAT}"
        if missing := {"step", "optimizer", "scaler", "facts"} - content.keys():
            return f"{name} lacks {', '.join(sorted(missing))}"
        for name in manifest:  # a manifest that fits proves no more than that somebody wrote both
            if name.endswith(".safetensors"):
                with safe_open(path / name, framework="pt"):
                    pass
        return None
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, AttributeError, TypeError, SafetensorError) as error:
        return f"{name} cannot be read ({error})"


def _open(path: Path) -> Checkpoint:
    content = json.loads((path / "state.json").read_text())
    return Checkpoint(path, content["step"], content["facts"])
