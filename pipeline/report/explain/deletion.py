"""Whether an attribution is true: steps are taken away in its order, and the model must notice more than of others.

Source: Petsiuk, Das and Saenko, 2018, "RISE" (the deletion curve); steps are replaced by the baseline.

Shapes: T time steps, P points of a curve, R orders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.report.explain.gradients import TOGETHER, Model

POINTS = 50  # of a curve, at most
ORDERS = 20  # at random
SEED = 0
ROUNDING = 1e-6  # of an area


@dataclass(frozen=True)
class Deletion:
    """The probability of a class while more and more steps are taken away, in several orders."""

    shares: list[float]  # (P) of the steps that are gone, from 0 to 1
    falling: list[float]  # (P) those first that speak most for the class
    rising: list[float]  # (P) those first that speak most against it
    random: list[list[float]]  # (R, P)

    def area(self, curve: list[float]) -> float:
        """The mean probability over the curve: the less, the sooner the model noticed."""
        return float(np.trapezoid(curve, self.shares))

    @property
    def areas(self) -> dict[str, float]:
        """The area of each order, of the random ones their mean."""
        random = [self.area(curve) for curve in self.random]
        return {
            "falling": self.area(self.falling),
            "random": sum(random) / len(random),
            "rising": self.area(self.rising),
        }

    @property
    def equalled(self) -> int:
        """How many of the random orders are no better than that of the attribution."""
        own = self.area(self.falling)
        return sum(self.area(curve) >= own - ROUNDING for curve in self.random)

    @property
    def is_true(self) -> bool:
        """Whether the attribution found steps that matter: one random order of twenty is better at most, and their mean is
        worse."""
        areas = self.areas
        return self.equalled >= len(self.random) - 1 and areas["falling"] < areas["random"] - ROUNDING


@torch.no_grad()
def delete(model: Model, example: Tensor, baseline: Tensor, target: int, scores: Tensor) -> Deletion:
    """Take steps away from an ``example`` (T, F), and put the ``baseline`` (T, F) there, in the order of ``scores`` (T)."""
    steps = len(example)
    counts = sorted({round(steps * number / POINTS) for number in range(POINTS + 1)})
    random = torch.Generator().manual_seed(SEED)
    falling = scores.argsort(descending=True, stable=True)
    orders = [falling, falling.flip(0), *(torch.randperm(steps, generator=random) for _ in range(ORDERS))]
    curves = [_curve(model, example, baseline, target, order, counts) for order in orders]
    return Deletion([count / steps for count in counts], curves[0], curves[1], curves[2:])


def _curve(model: Model, example: Tensor, baseline: Tensor, target: int, order: Tensor, counts: list[int]) -> list[float]:
    rank = order.argsort()  # (T) when each step goes
    found: list[float] = []
    at_once = max(1, TOGETHER // len(example))
    for place in range(0, len(counts), at_once):
        gone = rank < torch.tensor(counts[place : place + at_once])[:, None]  # (P, T)
        values = torch.where(gone[:, :, None], baseline, example)
        found += model(values).softmax(1)[:, target].tolist()
    return found
