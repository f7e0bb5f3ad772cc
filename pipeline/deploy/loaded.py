"""An exported model as an object of Python: ``from pipeline import load``.

Shapes: N examples, B batch, T time steps, F features, C classes.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline import config
from pipeline.data.series import Array
from pipeline.deploy import arrays, bundle, inputs, predictor
from pipeline.deploy.bundle import Exported
from pipeline.errors import UserError


class Predicted(NamedTuple):
    """What a model says of N examples, in their order."""

    names: Array  # (N) str: of the most probable class
    probabilities: Array  # (N, C) float64, in the order of ``class_names``
    ids: tuple[str, ...]  # (N): of a table's id column, of a file's name, or the number of the example


class Trained:
    """A model out of an export, on the CPU. It does not change, and threads may share it."""

    def __init__(self, exported: Exported) -> None:
        self._exported = exported

    @property
    def class_names(self) -> tuple[str, ...]:
        """(C)."""
        return self._exported.facts.class_names

    @property
    def features(self) -> int:
        """F, of what ``model(values, lengths)`` reads."""
        return self._exported.features

    @property
    def channels(self) -> tuple[str, ...] | None:
        """The names of the channels of a series, in the order that arrays have them; None for images."""
        return self._exported.facts.series.channels if self._exported.facts.series else None

    def __call__(self, values: Any, lengths: Any = None) -> Tensor:
        """Logits (B, C) float32 of ``values`` (B, T, F), prepared as the model card says; nothing is done to them.

        ``lengths`` (B): the valid steps of each, from 1 to T; what follows them is padding. None: all are T.
        """
        made = torch.as_tensor(values, dtype=torch.float32, device="cpu")
        if made.ndim != 3 or made.shape[2] != self.features or not made.numel():
            raise UserError(f"values have the shape {tuple(made.shape)}, but the model reads (batch, time, {self.features})")
        steps = torch.full(made.shape[:1], made.shape[1]) if lengths is None else torch.as_tensor(lengths, device="cpu").long()
        if steps.shape != made.shape[:1] or not bool(((steps >= 1) & (steps <= made.shape[1])).all()):
            raise UserError(f"lengths must be {len(made)} numbers from 1 to {made.shape[1]}, the steps of values")
        return torch.from_numpy(self._exported.run(made.numpy(), steps.numpy()))

    def predict(self, examples: Any, *, source: str | None = None, **columns: str) -> Predicted:
        """The class of each example. A warning says so if values lie far outside of those of the training.

        ``examples``: a path, as ``predict`` of the command line takes it; an array (N, T, channels) or a sequence of arrays
        (T_i, channels), with NaN for what is missing; a frame of polars or pandas in the layout of the training's table; for
        images, an array (N, height, width) or a sequence of arrays. All in raw units.
        ``source`` (of a path), ``layout``, ``id``, ``time``, ``label``, ``group``, ``channels``: as the options of ``predict``.

        Raises UserError, which names the example, for what does not fit the model.
        """
        facts = self._exported.facts
        if unknown := columns.keys() - config.Columns.model_fields.keys():
            raise TypeError(f"predict() got an unexpected keyword argument {min(unknown)!r}")
        if isinstance(examples, str | os.PathLike):
            path = Path(examples)
            blocks = inputs.read(path, source or inputs.source_of(path), facts, self.features, columns)
        elif source is not None:
            raise UserError(f"source={source}: is of a file; leave it out")
        else:
            blocks = arrays.read(examples, facts, self.features, columns)
        ids: list[str] = []
        found: list[Array] = [np.empty((0, len(self.class_names)))]
        for block in blocks:
            found.append(predictor.predict(self._exported, block).probabilities)
            ids += block.ids
            far, said = predictor.far_values(block, facts)
            if len(far):
                warnings.warn(f"{said}; are the units those of the training data?", stacklevel=2)
        probabilities = np.concatenate(found)
        return Predicted(np.array(self.class_names)[probabilities.argmax(1)], probabilities, tuple(ids))


def load(path: str | os.PathLike[str]) -> Trained:
    """The model in the export folder ``path``, or in its ``model.onnx`` alone, ready to predict.

    Nothing in it is trusted: no file is unpickled, and no code in it is run.
    Raises UserError if there is none, or if it is damaged.
    """
    return Trained(bundle.load(Path(path)))
