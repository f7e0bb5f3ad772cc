"""Checkpoints: saved whole or not at all, verified when loaded, pruned only after the next one is safe.

``step_00000040/`` holds model.safetensors, optimizer.safetensors, ema.safetensors where there is one, state.json,
and manifest.json with the sha256 of each. Nothing is pickled: reading a checkpoint runs no code from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, RootModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline import files
from pipeline.data.store import fetched
from pipeline.errors import RunError
from pipeline.run import advice
from pipeline.run.environment import Program
from pipeline.run.marks import Step, all_of, marked, name_of, step_of
from pipeline.training.selection import Selection
from pipeline.training.state import State

FORMAT = 1
Name = Literal["model.safetensors", "optimizer.safetensors", "ema.safetensors", "state.json"]
ALWAYS: tuple[Name, ...] = ("model.safetensors", "optimizer.safetensors", "state.json")


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class Facts(_Strict):
    """What a checkpoint says of the run it belongs to."""

    selection: Selection  # before the evaluation at its own step
    data: str  # the digest of the prepared data
    processes: int = Field(ge=1)
    cpu_lstm: int = Field(0, ge=0)  # lanes of the own kernel that trained it
    gpu: str = ""  # the name of the GPU of process 0; empty: it was trained on CPUs, or by an earlier version
    program: Program | None = None  # what trained it; earlier versions did not say it


class _Scaler(_Strict):
    scale: float
    growth_factor: float
    backoff_factor: float
    growth_interval: int
    growth_tracker: int = Field(alias="_growth_tracker")


class _Manifest(RootModel[dict[Name, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]]):
    model_config = ConfigDict(strict=True)


class _Format(_Strict):
    format: int


class _Content(_Format):
    """state.json."""

    step: Step
    optimizer: dict[str, float | None]  # what is no tensor, by "parameter/what"
    scaler: _Scaler | None
    facts: Facts


def gpu_of(state: State) -> str:
    """The name of the GPU that trains; empty on CPUs."""
    device = state.model.mean.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: its folder, step and the facts it was saved with."""

    folder: Path
    step: int
    facts: Facts


def moved(found: Checkpoint, state: State) -> Iterator[str]:
    """What is said where another GPU, or another kernel, goes on than trained so far."""
    here = gpu_of(state)
    if found.facts.gpu not in ("", here):
        yield f"trained so far on {found.facts.gpu}; {here or 'a CPU'} goes on, and rounds differently"
    if found.facts.cpu_lstm != state.lanes:
        yield f"recurrent layers go on {state.layers}, which rounds differently from what trained them so far"


def is_finished(checkpoint: Checkpoint) -> bool:
    """Whether training ended with this checkpoint, and which one is the best is known."""
    folder = checkpoint.folder.parent
    return marked(folder, "finished") == checkpoint.step and not _is_lost(folder, checkpoint)


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
    """The best checkpoint, or the newest where there was no evaluation (a run without a validation split).

    Raises RunError if the best one is damaged or no longer known: another is never taken for it.
    """
    run = folder.parent
    again = advice.configured("train", str(run / "config.yaml"), [f"run.dir={run}"])
    step = marked(folder, "best")
    if step is not None:
        path = folder / name_of(step)
        if problem := problem_of(path):
            mark = folder / "best.json" if (folder / "best.json").exists() else folder / "best"
            raise RunError(f"{path}: {problem}; put an intact copy back, or remove {mark} and type, to choose another: {again}")
        return _open(path)
    checkpoint, _ = newest(folder)
    if checkpoint is None:
        if seeds := sorted(path.parent for path in run.glob("seed-*/config.yaml")):
            raise RunError(f"{run}: holds runs of several seeds and no model of its own; name one of them, such as {seeds[0]}")
        raise RunError(f"{folder}: no checkpoint yet; train first: {again}")
    if _is_lost(folder, checkpoint):
        raise RunError(
            f"{folder / 'best.json'}: is missing or damaged, so that the best checkpoint is not known "
            f"(a copy may have left out links); to find it again, type: {again}"
        )
    return checkpoint


def _is_lost(folder: Path, newest: Checkpoint) -> bool:
    """Whether there was a best checkpoint and which one it was is not known any more."""
    return newest.facts.selection.value is not None and marked(folder, "best") is None


def data_of(folder: Path) -> str | None:
    """The digest of the data that the newest checkpoint which says so was trained on; None if there is none."""
    for path in all_of(folder)[::-1]:
        with suppress(OSError, ValueError):
            return files.read_json(path / "state.json", _Content).facts.data
    return None


def restore(checkpoint: Checkpoint, state: State) -> None:
    """Make ``state``, of the same configuration, that of the checkpoint."""
    content = files.read_json(checkpoint.folder / "state.json", _Content)
    load_weights(checkpoint, state.model, averaged=False)
    if state.ema is not None:
        load_weights(checkpoint, state.ema)
    file = checkpoint.folder / "optimizer.safetensors"
    try:
        state.optimizer.load_state_dict(_unflatten(load_file(file) | content.optimizer, state))
    except ValueError as error:
        raise RunError(f"{file}: {error}") from None
    if state.scaler is not None:
        if content.scaler is None:
            raise RunError(f"{checkpoint.folder / 'state.json'}: holds no scale of fp16, which this run's config.yaml asks for")
        state.scaler.load_state_dict(content.scaler.model_dump(by_alias=True))
    state.step = checkpoint.step


def digest(model: nn.Module) -> str:
    """The SHA-256 of all weights."""
    total = sha256()
    for tensor in fetched(model.state_dict()).values():
        values: Any = tensor.contiguous().view(torch.uint8).numpy()
        total.update(values)
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


def problem_of(path: Path) -> str | None:
    """Why the checkpoint cannot be used; None if every file is what was written."""
    name = "manifest.json"
    try:
        manifest = files.read_json(path / name, _Manifest).root
        for name, digest in manifest.items():
            if files.sha256(path / name) != digest:
                return f"{name} was changed after it was written"
        if not manifest.keys() >= set(ALWAYS):
            return "manifest.json names too few files"
        name = "state.json"
        if (found := files.read_json(path / name, _Format).format) != FORMAT:
            return f"is of format {found}; this program reads {FORMAT}"
        if (step := files.read_json(path / name, _Content).step) != step_of(path):
            return f"{name} is that of step {step}"
        for name in manifest:  # a manifest that fits proves no more than that somebody wrote both
            if name.endswith(".safetensors"):
                with safe_open(path / name, framework="pt"):
                    pass
        return None
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, SafetensorError) as error:
        return f"{name} cannot be read ({error})"


def _open(path: Path) -> Checkpoint:
    content = files.read_json(path / "state.json", _Content)
    return Checkpoint(path, content.step, content.facts)
