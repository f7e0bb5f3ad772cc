"""The convolutional branch beside the recurrence, and its normalisation.

Shapes: B batch, T time steps, F features, K channels, W width of a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.model.footprint import KERNELS
from pipeline.model.masked import mean, zero_padding

Reduce = Callable[[Tensor], Tensor]  # the sum over all processes
MOMENTUM = 0.1  # the share of a step in the running statistics, as in torch.nn.BatchNorm1d


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy, 2015) over the valid steps of all series of a batch: (B, T, W) -> (B, T, W).

    In training, statistics are those of the batch, of all processes together if ``reduce`` sums over them. In
    evaluation they are fixed numbers, so that the result for a series never depends on its neighbours. They become
    those numbers when ``track`` is called, not in a forward pass, which may be one that is dropped.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))
        self.reduce: Reduce = _alone
        self.seen: Tensor | None = None  # sums (2W + 1) over the forward passes since they were taken: see ``taken``

    def forward(self, x: Tensor, counted: Tensor | None) -> Tensor:
        """``counted`` (B, T, 1): which steps the statistics are of; None: all."""
        x = x.float()
        if not self.training:
            return (x - self.mean) * ((self.var + self.eps).rsqrt() * self.weight) + self.bias
        normal, seen = _Normalised.apply(x, self.weight, self.bias, counted, self)
        self.seen = seen if self.seen is None else self.seen + seen
        return cast(Tensor, normal)

    def taken(self) -> Tensor:
        """Mean and variance (2W), times the number of steps, and that number, of the passes since the last call."""
        seen, self.seen = self.seen, None
        return torch.zeros(2 * len(self.mean) + 1, device=self.mean.device) if seen is None else seen

    def track(self, sums: Tensor, left_out: Tensor | None = None) -> None:
        """Move the running statistics towards those of ``taken`` (2W + 1), over however many passes and shards.

        ``left_out`` (): if it is 1 on the device, they stay.
        """
        average, var = (sums[:-1] / sums[-1]).reshape(2, -1)
        for running, now in ((self.mean, average), (self.var, var)):
            running.lerp_(now if left_out is None else torch.where(left_out > 0, running, now), MOMENTUM)


class _Normalised(torch.autograd.Function):
    """Batch normalisation by the statistics of the batch: as autograd would differentiate it, in a third of the time."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, counted: Tensor | None, norm: BatchNorm
    ) -> tuple[Tensor, Tensor]:
        """``x`` (B, T, W) normalised; and its mean and variance (2W), times the number of steps, and that number."""
        share = None if counted is None else torch.ones_like(x[..., :1]) * counted  # (B, T, 1)
        own = x.new_full((), x.shape[0] * x.shape[1]) if share is None else share.sum()
        sums = norm.reduce(torch.cat([(x if share is None else x * share).sum((0, 1)), own[None]]))
        count = sums[-1:].clamp(min=1)  # a shard may be of padding alone
        average = sums[:-1] / count
        centred = x - average
        squares = centred * centred
        var = norm.reduce((squares if share is None else squares.mul_(share)).sum((0, 1))) / count
        inverse = (var + norm.eps).rsqrt()
        seen = torch.cat([average * sums[-1], var * sums[-1], sums[-1:]])
        ctx.reduce = norm.reduce
        ctx.save_for_backward(centred, inverse, weight, count, share)
        ctx.mark_non_differentiable(seen)
        return torch.mul(centred, inverse * weight, out=squares).add_(bias), seen

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Through the statistics too, which all steps of all processes made."""
        centred, inverse, weight, count, share = ctx.saved_tensors
        product = grad * centred
        of_bias, of_scale = grad.sum((0, 1)), product.sum((0, 1))
        by_mean, by_scale = ctx.reduce(torch.stack([of_bias, of_scale])) / count
        through = torch.mul(centred, inverse * inverse * by_scale, out=product).add_(by_mean)
        if share is not None:
            through.mul_(share)
        return torch.sub(grad, through, out=product).mul_(inverse * weight), of_scale * inverse, of_bias, None, None


def _alone(sums: Tensor) -> Tensor:
    return sums


def filtered(x: Tensor, convolve: nn.Conv1d) -> Tensor:
    """The convolution of ``x`` (B, T, F), with zeros around it: (B, T, W)."""
    around: Tensor = functional.pad(x.transpose(1, 2), _around(convolve))  # (B, F, T + kernel - 1)
    return cast(Tensor, convolve(around)).transpose(1, 2)


def filtered_by_product(x: Tensor, convolve: nn.Conv1d) -> Tensor:
    """The same as one product of matrices, for training on GPUs.

    cuDNN's gradients of such convolutions do not repeat, and in single precision they took four times as long on an H200.
    """
    around = functional.pad(x, (0, 0, *_around(convolve)))  # (B, T + kernel - 1, F)
    windows = around.unfold(1, convolve.kernel_size[0], 1).transpose(2, 3).flatten(2)  # (B, T, kernel * F)
    return functional.linear(windows, convolve.weight.transpose(1, 2).flatten(1), convolve.bias)


def _around(convolve: nn.Conv1d) -> tuple[int, int]:
    """How many zeros stand before and after a series."""
    return (convolve.kernel_size[0] - 1) // 2, convolve.kernel_size[0] // 2


class Convolutions(nn.Module):
    """The convolutional branch of LSTM-FCN (Karim et al., 2018): (B, T, F) -> (B, K), for any T.

    Three temporal convolutions of K, 2K and K channels, each normalised and rectified, then the mean over the valid steps.
    Zeros surround each series (before every convolution), so that each has as many steps after it as before.
    ``norm``: ``batch`` as in the paper; or ``layer``, each step over its channels (LayerNorm; Ba et al., 2016).
    """

    def __init__(self, features: int, channels: int, norm: Literal["layer", "batch"] = "layer") -> None:
        super().__init__()
        widths = (channels, 2 * channels, channels)
        inputs = (features, *widths[:-1])
        self.filters = nn.ModuleList(map(nn.Conv1d, inputs, widths, KERNELS))
        self.norms = nn.ModuleList(map(nn.LayerNorm if norm == "layer" else BatchNorm, widths))

    def forward(self, x: Tensor, valid: Tensor | None, counted: Tensor | None = None) -> Tensor:
        """``x`` (B, T, F) must be zero after the end of a series; ``counted``: the steps that statistics are of, or None."""
        way = filtered_by_product if x.is_cuda and self.training else filtered
        for convolve, norm in zip(self.filters, self.norms, strict=True):
            given = way(x, cast(nn.Conv1d, convolve))  # (B, T, width)
            normal = norm(given, counted) if isinstance(norm, BatchNorm) else norm(given)
            x = zero_padding(functional.relu(normal), valid)  # (B, T, width)
        return mean(x, valid)
