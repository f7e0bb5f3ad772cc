"""Checkpoints are copied, written, marked and pruned, in a thread while training goes on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from pipeline import files
from pipeline.data.store import fetched
from pipeline.run.checkpoints import FORMAT, Facts, problem_of
from pipeline.run.marks import What, all_of, mark, marked, name_of, step_of
from pipeline.run.record import Record
from pipeline.training.state import State

LEFT = re.compile(r"\.old_step_\d+|\.step_\d+\..+|\.(best|finished)(\.json\..+)?")  # by a save or a removal that was killed


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint will hold, in host memory and independent of the training that goes on."""

    step: int
    tensors: dict[str, dict[str, Tensor]]  # file name -> tensors
    content: dict[str, Any]


def snapshot(state: State, facts: Facts) -> Snapshot:
    """Copy ``state`` to host memory."""
    optimizer, scalars = _flatten(state)
    tensors = {"model.safetensors": _on_cpu(state.model.state_dict()), "optimizer.safetensors": _on_cpu(optimizer)}
    if state.ema is not None:
        tensors["ema.safetensors"] = _on_cpu(state.ema.state_dict())
    scaler = state.scaler.state_dict() if state.scaler is not None else None
    content = {"format": FORMAT, "step": state.step, "optimizer": scalars, "scaler": scaler, "facts": facts.model_dump()}
    return Snapshot(state.step, tensors, content)


def save(folder: Path, taken: Snapshot, keep_last: int) -> Path:
    """Write a checkpoint below ``folder`` (runs/NAME/checkpoints), then remove all but the best and the newest ``keep_last``.

    Raises UserError if the disk is full or cannot be written; the checkpoints that were there are untouched then.
    """
    path = folder / name_of(taken.step)
    with files.disk_errors("a checkpoint", folder):
        if os.path.lexists(path):
            if problem_of(path) is None:
                return path
            files.remove(path)  # damaged: this run started from an older one and has come here again
        with files.whole_folder(path) as partial:
            for name, tensors in taken.tensors.items():
                files.save_tensors(partial / name, tensors)
            # plainly: the folder is what is whole or absent, and whole_folder forces every file in it to the disk
            (partial / "state.json").write_text(json.dumps(taken.content))
            manifest = {file.name: files.sha256(file) for file in sorted(partial.iterdir())}
            (partial / "manifest.json").write_text(json.dumps(manifest))
        _prune(folder, keep_last, taken.step)
    return path


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies with a storage each: cuDNN keeps an LSTM's weights as views of one, which safetensors must not see."""
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in fetched(tensors).items()}


def _flatten(state: State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of the optimiser's state by "parameter/what", and what else it holds by the same kind of name."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in state.model.named_parameters()}
    found = {
        f"{names[parameter]}/{what}": value for parameter, held in state.optimizer.state.items() for what, value in held.items()
    }
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    return tensors, {name: value for name, value in found.items() if name not in tensors}


def _prune(folder: Path, keep_last: int, step: int) -> None:
    best = marked(folder, "best")
    # one that is newer than what was just written was found damaged when the run was resumed; it counts for nothing
    usable = [path for path in all_of(folder) if (step_of(path) or 0) <= step]
    for path in usable[:-keep_last]:
        if step_of(path) != best:
            # renamed first, so that what is left of an interrupted removal is not taken for a checkpoint
            files.remove(path.rename(folder / f".old_{path.name}"))
    for path in folder.iterdir():
        if LEFT.fullmatch(path.name):
            files.remove(path)


class Writer:
    """Writes checkpoints in the order they are asked for, in a thread, while training goes on; one at a time.

    After a write that failed nothing more is written, ``failed`` is true, and ``wait`` raises its error.
    """

    def __init__(self, folder: Path, keep_last: int) -> None:
        self.folder, self.keep_last = folder, keep_last
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._error: Exception | None = None

    def save(self, taken: Snapshot, record: Record) -> None:
        """Write ``taken``, once what was asked for before is written, and what is recorded so far is on the disk."""
        self.wait()
        self._thread.submit(self._do, record.sync)
        self._thread.submit(self._do, lambda: save(self.folder, taken, self.keep_last))

    def mark(self, what: What, step: int) -> None:
        """``mark``, once its checkpoint is written."""
        self._thread.submit(self._do, lambda: mark(self.folder, what, step))

    def finish(self, step: int) -> None:
        """Mark the run as finished at ``step``, when all is written."""
        self.mark("finished", step)
        self.wait()

    @property
    def failed(self) -> bool:
        """Whether a write has failed; ``wait`` raises its error."""
        return self._error is not None

    def wait(self) -> None:
        """Return when all that was asked for is on the disk; raise the error of a write that failed."""
        self._thread.submit(lambda: None).result()
        if self._error is not None:
            raise self._error

    def _do(self, action: Callable[[], object]) -> None:
        if self._error is None:
            try:
                action()
            except Exception as error:
                self._error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown()
