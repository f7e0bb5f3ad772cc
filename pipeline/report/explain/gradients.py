"""Which values of an example speak for a class: integrated gradients, and how much each step matters.

Sources: Sundararajan, Taly and Yan, 2017, "Axiomatic attribution for deep networks"; Ismail, Gunady, Corrada Bravo and Feizi,
2020, "Benchmarking deep learning interpretability in time series predictions" (temporal saliency rescaling: gradients blur over
the steps of a recurrent network; a step matters as much as the attribution changes without it). Captum has the first, equal to
this within rounding, and not the second.

Shapes: T time steps, F features, K points of a path, W windows of steps, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pipeline.data.manifest import Manifest

Model = Callable[[Tensor], Tensor]  # values (B, T, F) -> logits (B, C)
POINTS = 64, 256, 1024  # of the path, more where those before were too few
FEWER = 16  # points of the path for one window
WINDOWS = 32  # stretches of steps whose removal is tried, at most
TOLERANCE = 0.01  # of the difference of logits, or absolute if that is below 1
TOGETHER = 2**16  # time steps that are computed at once


def baseline_of(manifest: Manifest, values: Tensor) -> Tensor:
    """(T, F) what says nothing: the mean of each feature over the train split, and that no value was missing."""
    mean = torch.tensor(manifest.mean, dtype=values.dtype)
    if manifest.series and manifest.series.masked:
        mean[len(manifest.series.channels) :] = 0
    return mean.expand_as(values).clone()


@dataclass(frozen=True)
class Attribution:
    """What each value of an example adds to the logit of a class, compared with a baseline."""

    values: Tensor  # (T, F) integrated gradients
    relevance: Tensor  # (T), from 0 to 1: how much each step matters
    difference: float  # of the logit, example minus baseline

    @cached_property
    def rescaled(self) -> Tensor:
        """(T, F) the attribution, times how much its step matters: temporal rescaling."""
        return self.values * self.relevance[:, None]

    @property
    def total(self) -> float:
        """The sum of all attributions."""
        return float(self.values.sum())

    @property
    def is_complete(self) -> bool:
        """Whether they add up to the difference of the logit, as they must."""
        return _is_complete(self.values, self.difference)


def attribute(model: Model, example: Tensor, baseline: Tensor, target: int) -> Attribution:
    """The attribution of the logit of class ``target`` for an ``example`` (T, F), from a ``baseline`` (T, F), both float."""
    with torch.no_grad():
        logits = model(torch.stack([example, baseline]))[:, target]
    difference = float(logits[0] - logits[1])
    values = torch.zeros_like(example)
    for points in POINTS:
        values = integrated(model, example, baseline, target, points)
        if _is_complete(values, difference):
            break
    return Attribution(values, _relevance(model, example, baseline, target), difference)


def _is_complete(values: Tensor, difference: float) -> bool:
    return abs(float(values.sum()) - difference) <= TOLERANCE * max(1.0, abs(difference))


def integrated(model: Model, example: Tensor, baseline: Tensor, target: int, points: int) -> Tensor:
    """(T, F) the gradient of a logit, integrated over the straight path from the baseline, times the way.

    ``points`` K: of Gauss and Legendre's rule.
    """
    nodes, weights = np.polynomial.legendre.leggauss(points)
    way, total = example - baseline, torch.zeros_like(example)
    at_once = max(1, TOGETHER // len(example))
    for place in range(0, points, at_once):
        shares = torch.from_numpy((nodes[place : place + at_once] + 1) / 2).to(example)[:, None, None]  # (K, 1, 1)
        path = (baseline + shares * way).requires_grad_()  # (K, T, F)
        (slope,) = torch.autograd.grad(model(path)[:, target].sum(), path)
        some = torch.from_numpy(weights[place : place + at_once] / 2).to(example)
        total += (some[:, None, None] * slope).sum(0)
    return total * way


def _relevance(model: Model, example: Tensor, baseline: Tensor, target: int) -> Tensor:
    """(T) how much the attribution changes without each step, the most being 1. Of a long example, steps of one window are
    taken away together."""
    steps = len(example)
    windows = torch.arange(steps) * min(steps, WINDOWS) // steps  # (T)
    whole = integrated(model, example, baseline, target, FEWER)
    changes = []
    for number in range(int(windows.max()) + 1):
        without = torch.where((windows == number)[:, None], baseline, example)
        changes.append(float((whole - integrated(model, without, baseline, target, FEWER)).abs().sum()))
    most = max(changes)
    return torch.tensor([change / most if most else 1.0 for change in changes])[windows].to(example)
