"""Parameter groups and the learning rate as a pure function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from pipeline import config


def make_optimizer(model: nn.Module, optim: config.Optim) -> torch.optim.Optimizer:
    """The configured optimiser, fused: one kernel for all parameters. Biases are not decayed."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": optim.weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    if not optim.weight_decay:
        groups = [{"params": parameters, "weight_decay": 0.0}]  # a group costs 12 us a step and more; AdamW would decay by 0.01
    match optim.name:
        case "adam":
            return torch.optim.Adam(groups, lr=optim.lr, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=optim.lr, fused=True)
        case "sgd":
            descent = torch.optim.SGD(groups, lr=optim.lr, momentum=optim.momentum, fused=True)
            for parameter in parameters if optim.momentum else ():
                # torch makes it of unset memory, which an update that is skipped at the first step would leave in it
                descent.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return descent


def lr_at(step: int, steps: int, optim: config.Optim) -> float:
    """The learning rate of the update that follows ``step`` updates, of ``steps`` in all (0 <= step < steps).

    ``one_cycle`` (Smith and Topin, 2018; the constants are those of torch's OneCycleLR): half a cosine from
    lr / 25 up to lr, then half a cosine down to lr / 250,000. Both also lower the momentum while the rate is high; here
    it stays ``optim.momentum``, which a schedule of the rate does not overrule (cycled from 0.95 to 0.85 and back, SGD
    reached no other validation loss on the digits). The others warm up linearly, then stay (constant) or fall to
    zero along a line or half a cosine (Loshchilov and Hutter, 2017).
    """
    if optim.schedule == "one_cycle":
        low, end, peak = optim.lr / 25, optim.lr / 25e4, max(_warmup(steps, optim) - 1, 0)
        if step < peak:
            return _cosine(low, optim.lr, step / peak)
        return _cosine(optim.lr, end, (step - peak) / ((steps - 1 - peak) or 1))
    warmup = warmup_steps(steps, optim)
    if step < warmup:
        return optim.lr * (step + 1) / warmup
    left = (steps - step) / (steps - warmup)
    match optim.schedule:
        case "constant":
            return optim.lr
        case "linear":
            return optim.lr * left
        case "cosine":
            return _cosine(0.0, optim.lr, left)


def warmup_steps(steps: int, optim: config.Optim) -> int:
    """``optim.warmup``, a share of all steps or a count, as the nearest count of at most ``steps``."""
    return round(_warmup(steps, optim))


def _warmup(steps: int, optim: config.Optim) -> float:
    """``optim.warmup`` in steps, at most ``steps``; of a share a part of a step too: the peak may lie between two."""
    share = optim.warmup or (0.3 if optim.schedule == "one_cycle" else 0)
    return min(steps, share if isinstance(share, int) else share * steps)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
