"""Examples -> what made the model say what it says of them, and whether that is true. A few: each costs many computations.

Shapes: T time steps, F features.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pipeline.data.manifest import Manifest
from pipeline.model.classifier import RecurrentClassifier
from pipeline.report.explain import deletion, gradients
from pipeline.report.page.shown import decoded, encoded

MOST = 12  # examples
WORK = 4_000_000  # time steps that are computed for all of them
SECONDS = 2.0  # of processors, after which no other example is begun: a report is written in a few seconds
EACH = 64 + gradients.FEWER * gradients.WINDOWS + (2 + deletion.ORDERS) * deletion.POINTS  # computations of an example


def of(model: RecurrentClassifier, manifest: Manifest, items: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Of some embedded examples of the test split, by their names: mistakes and right answers in turn, while there is time."""
    test = [name for name, item in items.items() if "guess" in item]
    wrong = [name for name in test if items[name]["guess"] != items[name]["label"]]
    right = [name for name in test if name not in wrong]
    turns = [name for number in range(MOST) for names in (wrong, right) for name in names[number : number + 1]]
    found: dict[str, Any] = {}
    left, began = WORK, time.process_time()
    frozen = copy.deepcopy(model).requires_grad_(False)  # gradients of weights, which nobody wants, would take most of the time
    for name in turns[:MOST]:
        left -= items[name]["steps"] * EACH
        if left < 0 or (found and time.process_time() - began > SECONDS):
            break
        found[name] = _reason(frozen, manifest, items[name])
    return found


def _reason(model: RecurrentClassifier, manifest: Manifest, item: Mapping[str, Any]) -> dict[str, Any]:
    raw = np.frombuffer(decoded(item["values"]), np.uint8 if item["bytes"] else "<f4").astype(np.float32)
    values = torch.from_numpy(raw).reshape(item["steps"], -1)  # (T, F)
    baseline = gradients.baseline_of(manifest, values)
    attribution = gradients.attribute(model, values, baseline, item["guess"])
    deleted = deletion.delete(model, values, baseline, item["guess"], attribution.rescaled.sum(1))
    return {
        "class": item["guess"],
        "values": encoded(attribution.values.numpy()),
        "total": attribution.total,
        "difference": attribution.difference,
        "complete": attribution.is_complete,
        "true": deleted.is_true,
        "gone": [round(share * item["steps"]) for share in deleted.shares],
        "falling": np.round(deleted.falling, 4).tolist(),
        "random": np.round(np.mean(deleted.random, 0), 4).tolist(),
        "rising": np.round(deleted.rising, 4).tolist(),
    }
