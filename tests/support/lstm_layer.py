"""An LSTM layer step by step in any precision, for comparison, and the errors of our kernels for GPUs by Triton's interpreter.

TRITON_INTERPRET=1 python -m tests.support.lstm_layer        # one JSON: for each of CASES its errors
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from pipeline.model.gpu_lstm import layer
from pipeline.model.gpu_lstm.choices import Choice, Scan, Sums

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def reference(x: Tensor, weights: list[Tensor], lengths: Tensor | None) -> Tensor:
    """The outputs (B, T, D * H) of a layer, step by step in the type of ``x``; zero after the end of a series."""
    halves = []
    for one in range(len(weights) // 4):
        w_ih, w_hh, b_ih, b_hh = weights[4 * one : 4 * one + 4]
        h = c = x.new_zeros(x.shape[0], w_hh.shape[1])
        found: list[Tensor] = []
        for t in range(x.shape[1]) if not one else reversed(range(x.shape[1])):
            i, f, g, o = (x[:, t] @ w_ih.t() + h @ w_hh.t() + b_ih + b_hh).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            if lengths is not None:
                valid = (t < lengths)[:, None]
                c, h = torch.where(valid, c, 0.0), torch.where(valid, h, 0.0)
            found.append(h)
        halves.append(torch.stack(found if not one else found[::-1], 1))
    return torch.cat(halves, 2)


def example(sizes: tuple[int, ...], unequal: bool, seed: int = 0) -> tuple[Tensor, list[Tensor], Tensor | None, Tensor]:
    """Values, weights, lengths and the gradient of the outputs; ``sizes``: B, T, F, H, D."""
    batch, steps, features, hidden, directions = sizes
    random = torch.Generator().manual_seed(seed)
    shapes = [(4 * hidden, features), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,)] * directions
    bound = hidden**-0.5
    weights = [(torch.rand(shape, generator=random) * 2 - 1) * bound for shape in shapes]
    x = torch.randn(batch, steps, features, generator=random)
    grad = torch.randn(batch, steps, directions * hidden, generator=random)
    lengths = torch.randint(1, steps + 1, (batch,), generator=random) if unequal else None
    if lengths is not None:
        grad *= (torch.arange(steps) < lengths[:, None])[:, :, None]
    return x, weights, lengths, grad


def exactly(sizes: tuple[int, ...], unequal: bool) -> list[Tensor]:
    """Outputs and gradients of an example in double precision: of the values, then of the weights."""
    x, weights, lengths, grad = example(sizes, unequal)
    leaves = [leaf.double().requires_grad_() for leaf in (x, *weights)]
    outputs = reference(leaves[0], leaves[1:], lengths)
    return [outputs.detach(), *torch.autograd.grad(outputs, leaves, grad.double())]


def shares(results: list[Tensor], wanted: list[Tensor]) -> list[float]:
    """The largest error of each, as a share of the largest value."""
    pairs = zip(results, wanted, strict=True)
    return [float((got.detach().cpu().double() - want).abs().max() / want.abs().max()) for got, want in pairs]


@dataclass(frozen=True)
class Case:
    """``sizes``: B, T, F, H, D. ``turned``: the values lie time-major."""

    sizes: tuple[int, ...]
    dtype: str = "fp32"
    unequal: bool = False
    turned: bool = False
    scan: Scan = field(default_factory=lambda: Scan(8, True))
    fused: bool = True


CASES = [
    Case((5, 4, 3, 16, 1)),
    Case((1, 1, 1, 5, 1)),
    Case((21, 5, 17, 20, 2), unequal=True),
    Case((21, 5, 17, 20, 2), unequal=True, turned=True, fused=False, scan=Scan(16, False)),
    Case((9, 3, 40, 64, 2), fused=False),
    Case((33, 3, 63, 32, 1), scan=Scan(32, True)),
    Case((9, 7, 28, 64, 1), dtype="fp16", turned=True),
    Case((18, 6, 5, 100, 2), dtype="fp16", unequal=True, scan=Scan(16, False)),
    Case((9, 3, 80, 128, 1), dtype="fp16", fused=False),
]


def errors(case: Case) -> dict[str, object]:
    """Of our kernels, and whether padding is zero and the same is found twice."""
    x, weights, lengths, grad = example(case.sizes, case.unequal)
    choice = Choice(case.scan, case.scan, Sums(columns=64), case.fused)
    results = []
    for _ in range(2):
        leaves = [leaf.clone().requires_grad_() for leaf in weights]
        values = (x.transpose(0, 1).contiguous().transpose(0, 1) if case.turned else x.clone()).requires_grad_()
        layer.chosen = partial(lambda *_, chosen: chosen, chosen=choice)
        outputs = layer.lstm(values, leaves, DTYPES[case.dtype], lengths)
        results.append([outputs.detach(), *torch.autograd.grad(outputs, [values, *leaves], grad.to(outputs.dtype))])
    padding = 0.0
    if lengths is not None:
        after = (torch.arange(x.shape[1]) >= lengths[:, None])[:, :, None]
        padding = max(float((results[0][part] * after).abs().max()) for part in (0, 1))
    same = all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    return {"shares": shares(results[0], exactly(case.sizes, case.unequal)), "padding": padding, "same": same}


if __name__ == "__main__":
    assert os.environ.get("TRITON_INTERPRET") == "1"
    print(json.dumps([errors(case) for case in CASES]))
