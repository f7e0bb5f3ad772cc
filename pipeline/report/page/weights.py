"""A model -> numbers that the page computes with.

Shapes: C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.classifier import RecurrentClassifier
from pipeline.report.page.shown import encoded, size

LARGEST = 480_000  # bytes of weights; a page may have a megabyte


def refused(model: RecurrentClassifier) -> str:
    """Why a page cannot compute with ``model``; empty if it can."""
    count = 4 * sum(tensor.numel() for tensor in model.state_dict().values())
    if count > LARGEST:
        return f"its weights are {size(count)}; a page holds up to {size(LARGEST)}"
    return ""


def embedded(model: RecurrentClassifier) -> dict[str, Any]:
    """All that its logits follow from: what it is made of, where each tensor begins, and their float32 values in a row."""
    state = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
    places, start = {}, 0
    for name, values in state.items():
        places[name] = [start, *values.shape]
        start += values.size
    convolutions = model.convolutions
    return {
        "cell": model.cell,
        "hidden": model.hidden,
        "layers": len(model.recurrent) // model.directions,
        "directions": model.directions,
        "pooling": model.pooling,
        "conv_norm": None if convolutions is None else "batch" if model.batch_norms else "layer",
        "tensors": places,
        "weights": encoded(np.concatenate([values.reshape(-1) for values in state.values()])),
    }


def checks(names: list[str], logits: NDArray[Any], source: str) -> dict[str, Any]:
    """What the page holds its own logits against: those of ``source`` for the examples ``names``, (names, C)."""
    return {"source": source, "examples": names, "logits": [[float(f"{one:.8g}") for one in row] for row in logits]}
