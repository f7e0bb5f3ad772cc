"""Initial weights other than torch's own.

torch's gates are i, f, g, o of an LSTM and r, z, n of a GRU, and its two biases add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn


@torch.no_grad()
def orthogonal(recurrent: nn.ModuleList, linear: Iterable[nn.Module | None]) -> None:
    """Orthogonal recurrent weights (Saxe et al., 2014), one block a gate; Glorot input weights (Glorot and
    Bengio, 2010); biases zero but an LSTM's forget gate, which starts at 1 (Jozefowicz et al., 2015).
    ``linear``, which stand before a recurrence or a tanh, are Glorot's too. Convolutions stay torch's: the
    normalisation after them takes out their scale."""
    for name, hidden, parameter in _of(recurrent):
        if "weight" in name:
            fill = nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_
            for block in torch.split(parameter, hidden):
                fill(block)
        else:
            parameter.zero_()
            if isinstance(recurrent[0], nn.LSTM) and "bias_ih" in name:
                parameter[hidden : 2 * hidden] = 1
    for module in linear:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                module.bias.zero_()


@torch.no_grad()
def chrono(recurrent: nn.ModuleList, steps: int) -> None:
    """Let each unit of an LSTM or GRU forget over a time of its own, drawn evenly from 1 to ``steps`` - 1.

    A forget gate of bias log(t) keeps t/(t + 1) of the state at each step, and the input gate has the other sign
    (Tallec and Ollivier, 2018, section 3). A GRU's z gate is both at once.
    """
    for name, hidden, parameter in _of(recurrent):
        if "bias_ih" in name:
            times = torch.empty(hidden).uniform_(1, max(1, steps - 1)).log_()
            parameter[hidden : 2 * hidden] = times
            if isinstance(recurrent[0], nn.LSTM):
                parameter[:hidden] = -times


def _of(recurrent: nn.ModuleList) -> Iterator[tuple[str, int, Tensor]]:
    """Each parameter with its name and the number of units."""
    for module in recurrent:
        assert isinstance(module, nn.RNNBase)
        yield from ((name, module.hidden_size, parameter) for name, parameter in module.named_parameters())
