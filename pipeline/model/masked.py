"""Layers and reductions over series of unequal lengths: what follows a series in its batch never reaches a result.

Shapes: B batch, T time steps, F features, W width, K channels. ``lengths`` (B) and ``valid`` (B, T, 1), which
``mask`` makes of them, are None where all T steps of all series are valid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mask(lengths: Tensor, steps: int) -> Tensor:
    """(B, T, 1), True at the first ``lengths`` of T ``steps``."""
    return (torch.arange(steps, device=lengths.device) < lengths[:, None])[:, :, None]


def zero_padding(x: Tensor, valid: Tensor | None) -> Tensor:
    """``x`` (B, T, W) with zeros after the end of each series, whatever stood there: a product with NaN would be NaN."""
    return x if valid is None else x.masked_fill(~valid, 0)


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, W) with the first ``lengths`` steps of each series in reverse order, the padding where it was."""
    if lengths is None:
        return x.flip(1)
    steps = torch.arange(x.shape[1], device=x.device)  # (T)
    last = lengths[:, None] - 1  # (B, 1)
    source = torch.where(steps <= last, last - steps, steps)  # (B, T)
    return x.gather(1, source[:, :, None].expand_as(x))


def last(x: Tensor, lengths: Tensor | None, directions: int) -> Tensor:
    """The final state (B, W) of each direction: a backward direction's, the second half of W, stands at the first step."""
    # cut from time-major memory, as cells write it, so that its gradient has that layout and is not copied
    final = x.transpose(0, 1)[-1] if lengths is None else x[torch.arange(x.shape[0], device=x.device), lengths - 1]
    if directions == 1:
        return final
    half = x.shape[2] // 2
    return torch.cat([final[:, :half], x[:, 0, half:]], 1)


def mean(x: Tensor, valid: Tensor | None) -> Tensor:
    """(B, T, W) -> (B, W), the mean over the valid steps."""
    # time-major, as cells write it, so that its gradient has that layout too and is not copied
    return x.transpose(0, 1).mean(0) if valid is None else zero_padding(x, valid).sum(1) / valid.sum(1)


def largest(x: Tensor, valid: Tensor | None) -> Tensor:
    """(B, T, W) -> (B, W), the maximum over the valid steps."""
    return (x if valid is None else x.masked_fill(~valid, -torch.inf)).amax(1)


class Attention(nn.Module):
    """Attention pooling: (B, T, W) -> (B, W), the mean of the valid steps weighted by what is learned to matter.

    ``softmax_t(query . tanh(key(x_t)))``, the additive score of Bahdanau et al., 2015, with one learned query for all
    series, as Yang et al., 2016, pool words. (Raffel and Ellis, 2016, show that it suits long series.)
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, 1, bias=False)  # a bias would not change the softmax

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """``x`` (B, T, W) must be finite after the end of a series too."""
        score: Tensor = self.query(torch.tanh(self.key(x)))  # (B, T, 1)
        weights = (score if valid is None else score.masked_fill(~valid, -torch.inf)).softmax(1)
        return (weights * x).sum(1)
