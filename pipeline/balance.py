"""Weights against classes of unequal size.

Shapes: C classes.
"""

from __future__ import annotations

from torch import Tensor


def class_weights(counts: Tensor) -> Tensor:
    """The weight (C) float32 of each class in the loss, from its ``counts`` (C) in the training part: n / (classes * count).

    Each class has the same share in the loss, as with scikit-learn's ``balanced`` (King and Zeng, 2001). The mean
    weight over the n examples is 1, so that the loss keeps its scale and no learning rate has to change. Classes
    without an example have the weight 0 and do not count as classes.
    """
    present = counts > 0
    weights = counts.sum() / (present.sum() * counts.clamp(min=1).double())
    return (weights * present).float()
