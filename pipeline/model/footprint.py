"""What follows from the sizes of a model alone, without PyTorch, whose import takes seconds.

Most of all how many series one pass without gradients reads at a time, so that memory stays bounded whatever the sizes are.
"""

from __future__ import annotations

from typing import NamedTuple

KERNELS = (8, 5, 3)  # of the fully convolutional network of Wang et al., 2017, which LSTM-FCN has as its branch
LIMITS = {"cpu": 2**28, "cuda": 2**32}  # bytes that a pass may take, about: a GPU needs more rows to be busy, and has memory
LOGITS = 2**26  # bytes of float64 logits of all rows


class Sizes(NamedTuple):
    """What the memory of a pass follows from."""

    features: int
    width: int  # units of all directions of a layer
    conv: int  # channels of the convolutional branch
    classes: int

    @property
    def step_bytes(self) -> int:
        """What one step of one series takes at the peak: values, their normal form, and the outputs of a layer or two."""
        return 4 * (3 * self.features + 4 * self.width + 8 * self.conv)


def rows_at_once(sizes: Sizes, steps: int, most: int, device: str = "cpu") -> int:
    """How many series of ``steps`` steps, with their padding, are read together: at most ``most``, and at least one."""
    by_steps = LIMITS.get(device, LIMITS["cpu"]) // (steps * sizes.step_bytes)
    return max(1, min(most, by_steps, LOGITS // (8 * sizes.classes)))
