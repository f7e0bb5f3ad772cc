"""How many processes train a model fastest on the CPUs of one machine.

Processes exchange all gradients at every step, so that they bring something only where a step is long. Starting them and
letting them find each other takes seconds, so that a short training is over before.
"""

from __future__ import annotations

from pipeline import config
from pipeline.model.footprint import KERNELS

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
# multiplications in the forward pass of a process's share of a batch; below, the exchange took longer than it saved
ENOUGH = 1e8
# multiplications in the forward passes of a whole training; a process does some 10^10 a second with their backward passes, and
# two processes start about 5 s later than one, so that below they lost more than they could win
WORTH = 1e11
MOST = 4  # processes by default; more were not measured


def multiplications(model: config.Model, features: int, steps: int) -> int:
    """Those of the forward pass for one example of ``steps`` steps of ``features`` values, about."""
    directions = 2 if model.bidirectional else 1
    width = model.projection or features
    each = features * model.projection
    for _ in range(model.layers):
        each += directions * GATES[model.cell] * model.hidden * (width + model.hidden)
        width = directions * model.hidden
    if model.conv:
        first, second, third = KERNELS
        each += model.conv * (first * features + 2 * (second + third) * model.conv)  # the second layer has twice the channels
    return each * steps


def fastest(work: int, steps: int, cores: int) -> int:
    """The number of processes, a power of two, for so many steps on a global batch of ``work`` multiplications each."""
    number = 1
    if work * steps < WORTH:
        return number
    while 2 * number <= min(cores, MOST) and work >= 2 * number * ENOUGH:
        number *= 2
    return number
