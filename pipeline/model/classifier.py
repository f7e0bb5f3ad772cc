"""RecurrentClassifier: sequences of raw values -> one logit a class.

Shapes: B batch, T time steps, F features, P projection, H hidden size, D directions, K convolution channels, C classes.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.model import cpu_lstm, gpu_layer, initial, masked, streams
from pipeline.model.convolutions import BatchNorm, Convolutions
from pipeline.model.footprint import Sizes
from pipeline.model.masked import Attention

CELLS: dict[str, type[nn.Module]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class RecurrentClassifier(nn.Module):
    """A stack of recurrent layers, pooled over the valid steps, and a linear head.

    The stack is single-layer modules with dropout between them, because cuDNN's own dropout keeps its random
    state outside every checkpoint. A backward direction is a module of its own that reads each sequence
    reversed by its length, so that no PackedSequence is needed (it disables cuDNN's persistent kernels).
    Input normalisation, ``(values - mean) * scale`` for each feature, is part of the model and of its state.

    What a configuration does not ask for does not exist: neither its parameters nor its random numbers. If asked for,
    ``projection`` P is the width of a linear layer between the normalised features and the recurrence; ``layer_norm``
    normalises each output of each recurrent module (Ba et al., 2016, but outside of the cell, whose fused kernels stay);
    ``conv`` K adds a convolutional branch of that many channels, whose result stands beside the pooled state before
    the head (LSTM-FCN; Karim et al., 2018); ``head_dropout`` acts on what the head reads.

    ``features`` F, ``classes`` C; the other arguments are those of the configuration's ``model`` section (``cell``: of CELLS;
    ``init="chrono"`` begins as ``orthogonal``, and whoever knows the longest series calls ``initial.chrono``).
    ``recurrent`` holds the recurrent modules layer by layer, forward before backward. ``by_kernel``: whether they are
    trained by the kernel of ``cpu_lstm`` or ``gpu_lstm`` where it computes the same; False until it is set.
    ``two_streams``: whether the two directions of a layer are trained side by side on a GPU. ``trained_in``: None, or the
    dtype that the recurrent layers are trained in on a GPU; then projection and convolutions are under
    autocast to it if it has 16 bits, pooling and head are in single precision, and no autocast may be around the model.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        features: int,
        classes: int,
        cell: str = "lstm",
        hidden: int = 64,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        pooling: Literal["last", "mean", "max", "attention"] = "last",
        init: Literal["pytorch", "orthogonal", "chrono"] = "pytorch",
        projection: int = 0,
        layer_norm: bool = False,
        conv: int = 0,
        head_dropout: float = 0.0,
        conv_norm: Literal["layer", "batch"] = "layer",
    ) -> None:
        super().__init__()
        self.cell, self.hidden, self.pooling = cell, hidden, pooling
        self.dropout, self.head_dropout = dropout, head_dropout
        self.by_kernel = self.two_streams = False
        self.trained_in: torch.dtype | None = None
        self.directions = 2 if bidirectional else 1
        width = hidden * self.directions
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        make: Any = CELLS[cell]
        self.recurrent = nn.ModuleList(
            make(width if index >= self.directions else projection or features, hidden, batch_first=True)
            for index in range(layers * self.directions)
        )
        self.head = nn.Linear(width + conv, classes)
        # after the modules that every model has, so that those start with the same random numbers in every model
        self.projection = nn.Linear(features, projection) if projection else None
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in self.recurrent) if layer_norm else None
        self.attention = Attention(width) if pooling == "attention" else None
        self.convolutions = Convolutions(features, conv, conv_norm) if conv else None
        if init != "pytorch":
            linear = [self.projection, *(self.attention.children() if self.attention is not None else ())]
            initial.orthogonal(self.recurrent, linear)

    @property
    def sizes(self) -> Sizes:
        """What the memory of a forward pass follows from."""
        width = self.hidden * self.directions
        return Sizes(self.mean.shape[0], width, self.head.in_features - width, self.head.out_features)

    @property
    def stochastic(self) -> bool:
        """Whether a forward pass in training mode draws random numbers, from torch's global generator."""
        return bool(self.dropout or self.head_dropout)

    @property
    def batch_norms(self) -> list[BatchNorm]:
        """The modules whose statistics are of a batch."""
        return [module for module in self.modules() if isinstance(module, BatchNorm)]

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

    def forward(self, values: Tensor, lengths: Tensor | None = None, real: Tensor | None = None) -> Tensor:
        """Logits (B, C) of ``values`` (B, T, F), in the units of the data set, any real dtype.

        ``lengths`` (B), int64, from 1 to T: the valid steps of each sequence; what follows them is padding and
        changes neither the result nor its gradient, NaN included. None: all T steps are valid. The logits of a
        sequence of another length are NaN. ``real`` (B): which sequences count in the statistics of a batch; None: all.
        """
        wrong = None
        if lengths is not None:
            wrong, lengths = (lengths < 1) | (lengths > values.shape[1]), lengths.clamp(1, values.shape[1])  # both (B)
        values = values.to(self.mean.dtype) if values.is_floating_point() else values  # integers are cast by the subtraction
        valid = None if lengths is None else masked.mask(lengths, values.shape[1])  # (B, T, 1)
        features = masked.zero_padding((values - self.mean) * self.scale, valid)  # (B, T, F)
        low = self.trained_in is not None and self.training
        x = features if self.projection is None else self._beside(self.projection, features)  # (B, T, P)
        for index in range(0, len(self.recurrent), self.directions):
            if index and self.dropout:
                x = functional.dropout(x, self.dropout, self.training)
            x = self._layer(index, x, lengths)  # (B, T, D*H)
        if low and self.pooling not in ("last", "max"):  # which are exact in any dtype
            x = x.float()
        pooled = self._pool(x, lengths, valid)  # (B, D*H)
        if self.convolutions is not None:
            found = self._beside(self.convolutions, features, valid, self._counted(valid, real))
            pooled = torch.cat([pooled, found], 1)  # (B, D*H + K)
        if low:
            pooled = pooled.float()
        if self.head_dropout:
            pooled = functional.dropout(pooled, self.head_dropout, self.training)
        logits: Tensor = self.head(pooled)
        return logits if wrong is None else logits.masked_fill(wrong[:, None], torch.nan)

    def _beside(self, module: nn.Module, *inputs: Tensor | None) -> Tensor:
        """What a module beside the recurrent ones gives."""
        dtype = self.trained_in if self.training else None
        with nullcontext() if dtype in (None, torch.float32) else torch.autocast(self.mean.device.type, dtype):
            outputs: Tensor = module(*inputs)
        return outputs

    @staticmethod
    def _counted(valid: Tensor | None, real: Tensor | None) -> Tensor | None:
        """(B, T, 1) or (B, 1, 1): the valid steps of the real sequences; None: all steps."""
        if real is None:
            return valid
        return real[:, None, None] if valid is None else valid & real[:, None, None]

    def _layer(self, index: int, x: Tensor, lengths: Tensor | None) -> Tensor:
        """The outputs (B, T, D*H) of the layer whose modules begin at ``index``, normalised if that is asked for."""
        both = self._at_once(index, x, lengths)
        if both is not None:
            return self._normalised(index, both)
        if self.directions == 1:
            return self._normalised(index, self.recur(index, x))

        def backwards() -> Tensor:
            return masked.reverse(self.recur(index + 1, masked.reverse(x, lengths)), lengths)

        if self.two_streams and self.training:
            read = [x] if lengths is None else [x, lengths]
            backward, forward = streams.side_by_side(backwards, lambda: self.recur(index, x), read)
        else:
            backward, forward = backwards(), self.recur(index, x)
        return self._normalised(index, torch.cat([forward, backward], 2))

    def _at_once(self, index: int, x: Tensor, lengths: Tensor | None) -> Tensor | None:
        """The outputs (B, T, D*H) of a layer that is trained by one call for all its directions; None if it is not."""
        on_cpu = lengths is None and self.directions == 2 and self.norms is None and self._takes(x)
        if not on_cpu and (not self.training or self.trained_in is None or not (self.by_kernel or lengths is None)):
            return None
        modules: list[Any] = [self.recurrent[index + direction] for direction in range(self.directions)]  # a slice is slow
        if on_cpu:
            return cpu_lstm.lstm(x, _weights(*modules), 2)
        assert self.trained_in is not None
        return gpu_layer.read(modules, x, self.trained_in, self.by_kernel, lengths)

    def _normalised(self, index: int, outputs: Tensor) -> Tensor:
        """The outputs (B, T, D*H) of a layer, those of each direction normalised by its own norm."""
        if self.norms is None:
            return outputs
        parts = torch.split(outputs if self.trained_in is None else outputs.float(), self.hidden, 2)
        normalised = [self.norms[index + number](part) for number, part in enumerate(parts)]
        return normalised[0] if len(normalised) == 1 else torch.cat(normalised, 2)

    def recur(self, index: int, x: Tensor) -> Tensor:
        """The outputs (B, T, H) of the recurrent module ``index``, whose inputs are ``x`` (B, T, width)."""
        module: Any = self.recurrent[index]
        if self.trained_in is not None and self.training:
            return gpu_layer.read([module], x, self.trained_in, self.by_kernel)
        outputs: Tensor = cpu_lstm.lstm(x, _weights(module)) if self._takes(x) else module(x)[0]
        return outputs

    def _takes(self, x: Tensor) -> bool:
        return self.by_kernel and self.training and self.trained_in is None and cpu_lstm.takes(x)

    def _pool(self, x: Tensor, lengths: Tensor | None, valid: Tensor | None) -> Tensor:
        """(B, T, D*H) -> (B, D*H)."""
        match self.pooling:
            case "last":
                return masked.last(x, lengths, self.directions)
            case "mean":
                return masked.mean(x, valid)
            case "max":
                return masked.largest(x, valid)
        assert self.attention is not None
        pooled: Tensor = self.attention(x, valid)
        return pooled


def _weights(*modules: Any) -> list[Tensor]:
    """Of single-layer modules: input, recurrence and two biases of each."""
    return [weight for module in modules for weight in module.all_weights[0]]
