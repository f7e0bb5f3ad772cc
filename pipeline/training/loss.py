"""The training loss.

Shapes: b examples, C classes.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor
from torch.nn import functional


def summed_loss(
    logits: Tensor, labels: Tensor, smoothing: float, class_weights: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """The sum () over examples of the cross-entropy, in nats, of ``logits`` (b, C) against ``labels`` (b), the share
    ``smoothing`` of which is spread over all classes; each times the weight (C) of its class and its own (b).

    Not by torch's weights of classes: those weigh the smoothed share of each class by that class, so that beyond a ratio
    of weights the target of a frequent class is a rare one.
    """
    entropy = partial(functional.cross_entropy, logits, labels, label_smoothing=smoothing)
    if class_weights is None and weights is None:
        return entropy(reduction="sum")  # one kernel
    losses = entropy(reduction="none")
    for factor in (None if class_weights is None else class_weights[labels], weights):
        losses = losses if factor is None else losses * factor
    return losses.sum()
