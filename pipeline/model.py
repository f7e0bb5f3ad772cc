"""RecurrentClassifier: sequences of raw values -> one logit a class.

Shapes: B batch, T time steps, F features, H hidden size, D directions, C classes.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

CELLS: dict[str, type[nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class RecurrentClassifier(nn.Module):
    """A stack of recurrent layers, pooled over the valid steps, and a linear head.

    The stack is single-layer modules with dropout between them, because cuDNN's own dropout keeps its random
    state outside every checkpoint. A backward direction is a module of its own that reads each sequence
    reversed by its length, so that no PackedSequence is needed (it disables cuDNN's persistent kernels).
    Input normalisation, ``(values - mean) * scale`` for each feature, is part of the model and of its state.

    ``features`` F, ``classes`` C; the other arguments are those of the configuration's ``model`` section.
    ``recurrent`` holds the recurrent modules layer by layer, forward before backward.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        features: int,
        classes: int,
        cell: Literal["lstm", "gru", "rnn"] = "lstm",
        hidden: int = 64,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        pooling: Literal["last", "mean", "max"] = "last",
        init: Literal["pytorch", "orthogonal"] = "pytorch",
    ) -> None:
        super().__init__()
        self.cell, self.hidden, self.pooling, self.dropout = cell, hidden, pooling, dropout
        self.directions = 2 if bidirectional else 1
        width = hidden * self.directions
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        make: Any = CELLS[cell]
        self.recurrent = nn.ModuleList(
            make(width if index >= self.directions else features, hidden, batch_first=True)
            for index in range(layers * self.directions)
        )
        self.head = nn.Linear(width, classes)
        if init == "orthogonal":
            self._orthogonal_init()

    @torch.no_grad()
    def _orthogonal_init(self) -> None:
        """Orthogonal recurrent weights (Saxe et al., 2014), one block a gate; Glorot input weights (Glorot and
        Bengio, 2010); biases zero but an LSTM's forget gate, which starts at 1 (Jozefowicz et al., 2015)."""
        for name, parameter in self.recurrent.named_parameters():
            if "weight" in name:
                fill = nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_
                for block in torch.split(parameter, self.hidden):
                    fill(block)
            else:
                parameter.zero_()
                if self.cell == "lstm" and "bias_ih" in name:  # torch's gates are i, f, g, o, and its two biases add up
                    parameter[self.hidden : 2 * self.hidden] = 1

    def set_normalization(self, mean: Tensor, scale: Tensor) -> None:
        """Make the model see ``(values - mean) * scale``; both are (F)."""
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def flatten_parameters(self) -> Self:
        """Lay each recurrent module's weights side by side, as cuDNN wants them and as a deep copy's are not."""
        for module in self.recurrent:
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()
        return self

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (B, C) of ``values`` (B, T, F), in the units of the data set, any real dtype.

        ``lengths`` (B), int64, from 1 to T: the valid steps of each sequence; what follows them is padding and
        does not change the result. None: all T steps are valid.
        """
        values = values.to(self.mean.dtype) if values.is_floating_point() else values  # integers are cast by the subtraction
        x = (values - self.mean) * self.scale  # (B, T, F)
        steps = None if lengths is None else torch.arange(x.shape[1], device=x.device)  # (T)
        for index in range(0, len(self.recurrent), self.directions):
            if index and self.dropout:
                x = functional.dropout(x, self.dropout, self.training)
            outputs = [self.recurrent[index](x)[0]]  # (B, T, H)
            if self.directions == 2:
                outputs.append(_reverse(self.recurrent[index + 1](_reverse(x, lengths, steps))[0], lengths, steps))
            x = torch.cat(outputs, 2) if self.directions == 2 else outputs[0]  # (B, T, D*H)
        logits: Tensor = self.head(self._pool(x, lengths, steps))
        return logits

    def _pool(self, x: Tensor, lengths: Tensor | None, steps: Tensor | None) -> Tensor:
        """(B, T, D*H) -> (B, D*H). The final state of the backward direction stands at the first step."""
        if self.pooling == "last":
            last = x[:, -1] if lengths is None else x[torch.arange(x.shape[0], device=x.device), lengths - 1]
            if self.directions == 1:
                return last
            half = x.shape[2] // 2
            return torch.cat([last[:, :half], x[:, 0, half:]], 1)
        if lengths is None or steps is None:
            return x.mean(1) if self.pooling == "mean" else x.amax(1)
        valid = (steps < lengths[:, None])[:, :, None]  # (B, T, 1)
        if self.pooling == "mean":
            return x.masked_fill(~valid, 0).sum(1) / lengths[:, None]
        return x.masked_fill(~valid, -torch.inf).amax(1)


def _reverse(x: Tensor, lengths: Tensor | None, steps: Tensor | None) -> Tensor:
    """(B, T, F) with the first ``lengths`` steps of each sequence in reverse order, the padding where it was."""
    if lengths is None or steps is None:
        return x.flip(1)
    last = lengths[:, None] - 1  # (B, 1)
    source = torch.where(steps <= last, last - steps, steps)  # (B, T)
    return x.gather(1, source[:, :, None].expand_as(x))
