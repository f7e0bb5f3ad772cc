"""A recurrent layer trained in 16 bits on a GPU, in the number format that was asked for.

Autocast runs cuDNN's recurrent layers in fp16 whatever it is asked for, so that the gradients of bf16 would underflow.
Shapes: B batch, T time steps, F features, H hidden size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.model.torch_private import copy_all

LAYERS: dict[str, Any] = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh}


def read(module: nn.RNNBase, x: Tensor, dtype: torch.dtype) -> Tensor:
    """The outputs (B, T, H) in ``dtype`` of a module of one layer and one direction that starts at zero.

    ``x`` (B, T, F) of any dtype; the gradients of the weights are of the weights' own. Nothing is cast but by this
    function: autocast must be off around it.
    """
    weights = list(_Cast.apply(dtype, *module.all_weights[0]))
    x = x.to(dtype)
    zero = x.new_zeros(1, x.shape[0], module.hidden_size)
    start: Any = (zero, zero) if module.mode == "LSTM" else zero
    outputs: Tensor = LAYERS[module.mode](x, start, weights, True, 1, 0.0, module.training, False, True)[0]
    return outputs


class _Cast(torch.autograd.Function):
    """Weights in another dtype, and their gradients back in that of the weights, in one kernel each.

    They lie side by side from the start of a buffer, as cuDNN wants them: it would copy others together at every call.
    """

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        return _copied(weights, dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_copied(grads, torch.float32)


def _copied(tensors: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """In ``dtype``, side by side."""
    sizes = [tensor.numel() for tensor in tensors]
    pieces = torch.split(tensors[0].new_empty(sum(sizes), dtype=dtype), sizes)
    copies = [piece.view_as(tensor) for piece, tensor in zip(pieces, tensors, strict=True)]
    copy_all(copies, list(tensors))
    return tuple(copies)
