"""A recurrent layer as it is trained on a GPU: one call for all its directions, in the dtype that was asked for.

Autocast runs cuDNN's recurrent layers in fp16 whatever it is asked for, so that the gradients of bf16 would underflow.
Shapes: B batch, T time steps, F features, H hidden size, D directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.model.gpu_lstm import layer
from pipeline.model.torch_private import copy_all

LAYERS: dict[str, Any] = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh}


def read(
    modules: Sequence[nn.RNNBase], x: Tensor, dtype: torch.dtype, by_kernel: bool = False, lengths: Tensor | None = None
) -> Tensor:
    """The outputs (B, T, D*H) in ``dtype`` of ``modules``, one a direction, the backward one last, which start at zero.

    ``by_kernel``: by our own kernel, for LSTMs, which alone takes ``lengths`` (B); else by cuDNN.
    ``x`` (B, T, F) of any dtype; the gradients of the weights are of the weights' own. Nothing is cast but by this
    function: autocast must be off around it. The memory of the outputs is that of (T, B, D*H), as cuDNN writes it.
    """
    weights = [weight for module in modules for weight in module.all_weights[0]]
    if by_kernel:
        return layer.lstm(x, weights, dtype, lengths)
    assert lengths is None
    if len(modules) > 1 or dtype != weights[0].dtype:
        weights = list(_Cast.apply(dtype, *weights))
    # time-major in memory, as cuDNN reads it: else it would be copied so forward, and twice backward
    steps = x.transpose(0, 1).to(dtype, memory_format=torch.contiguous_format).contiguous()
    zero = steps.new_zeros(len(modules), x.shape[0], modules[0].hidden_size)
    start: Any = (zero, zero) if modules[0].mode == "LSTM" else zero
    options = True, 1, 0.0, modules[0].training, len(modules) == 2, False
    outputs: Tensor = LAYERS[modules[0].mode](steps, start, weights, *options)[0]
    return outputs.transpose(0, 1)


class _Cast(torch.autograd.Function):
    """Weights in another dtype, and their gradients back in that of the weights, in one kernel each.

    They lie side by side from the start of a buffer, the matrices of all directions before all biases, as cuDNN wants them:
    it would copy others together at every call.
    """

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        order = sorted(range(len(weights)), key=lambda number: number % 4 > 1)
        copies = dict(zip(order, _copied([weights[number] for number in order], dtype), strict=True))
        return tuple(copies[number] for number in range(len(weights)))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(grads if grads[0].dtype == torch.float32 else _copied(grads, torch.float32))


def _copied(tensors: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """In ``dtype``, side by side."""
    sizes = [tensor.numel() for tensor in tensors]
    pieces = torch.split(tensors[0].new_empty(sum(sizes), dtype=dtype), sizes)
    copies = [piece.view_as(tensor) for piece, tensor in zip(pieces, tensors, strict=True)]
    copy_all(copies, list(tensors))
    return tuple(copies)
