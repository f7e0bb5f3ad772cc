"""What gpu_layer.py promises: the layer that torch computes, in the number format that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.model.classifier import RecurrentClassifier
from pipeline.model.gpu_layer import read

Make = Callable[..., RecurrentClassifier]
CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
B, T, F, H = 4, 5, 3, 6


def made(cell: str) -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    return CELLS[cell](F, H, batch_first=True), torch.randn(B, T, F)


def results(outputs: Tensor, module: nn.Module) -> list[Tensor]:
    """The outputs, and the gradients of the weights of a sum that differs by place."""
    seed = torch.linspace(-1, 1, outputs.numel()).view_as(outputs)
    return [outputs.detach(), *torch.autograd.grad((outputs.float() * seed).sum(), list(module.parameters()))]


def bidirectional(cell: str, forward: nn.Module, backward: nn.Module) -> nn.Module:
    """torch's own layer of two directions with the weights of two modules."""
    layer: nn.Module = CELLS[cell](F, H, batch_first=True, bidirectional=True)
    weights = dict(forward.state_dict())
    layer.load_state_dict(weights | {f"{name}_reverse": weight for name, weight in backward.state_dict().items()})
    return layer


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_in_single_precision_it_is_torchs_layer(cell: str, directions: int) -> None:
    modules = nn.ModuleList(CELLS[cell](F, H, batch_first=True) for _ in range(directions))
    other = modules[0] if directions == 1 else bidirectional(cell, modules[0], modules[1])
    x = torch.randn(B, T, F, requires_grad=True)
    ours, theirs = read(list(modules), x, torch.float32), other(x)[0]
    for one, expected in zip(results(ours, modules), results(theirs, other), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-5, atol=1e-6)
    for_inputs = [
        torch.autograd.grad(outputs.square().sum(), x)[0] for outputs in (read(list(modules), x, torch.float32), other(x)[0])
    ]
    torch.testing.assert_close(*for_inputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cell", CELLS)
def test_in_16_bits_it_is_the_layer_whose_weights_were_cast_one_by_one(cell: str, dtype: torch.dtype) -> None:
    module, x = made(cell)
    other: Any = CELLS[cell](F, H, batch_first=True).to(dtype)
    other.load_state_dict({name: weight.to(dtype) for name, weight in module.state_dict().items()})
    ours, theirs = results(read([module], x, dtype), module), results(other(x.to(dtype))[0], other)
    assert ours[0].dtype == dtype and {grad.dtype for grad in ours[1:]} == {torch.float32}
    near = 4 * torch.finfo(dtype).eps
    for one, cast in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.float(), cast.float(), rtol=0, atol=near * float(cast.abs().max()))


def test_the_first_step_in_bf16_is_the_one_computed_by_hand() -> None:
    """From a state of zero: ``c = i * g``, ``h = o * tanh(c)``, of weights and inputs that were rounded."""
    module, x = made("lstm")
    weight, bias = module.weight_ih_l0.bfloat16().float(), [module.bias_ih_l0, module.bias_hh_l0]
    gates = x[:, 0].bfloat16().float() @ weight.T + sum(one.bfloat16().float() for one in bias)
    i, _, g, o = gates.detach().chunk(4, 1)
    expected = o.sigmoid() * (i.sigmoid() * g.tanh()).tanh()
    found = read([module], x, torch.bfloat16)[:, 0].detach().float()
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.004)  # bf16 has 8 bits
    assert not torch.equal(found, module(x)[0][:, 0].detach())


def test_the_weights_lie_side_by_side_from_the_start_of_their_buffer() -> None:
    """Or cuDNN copies them together at every call."""
    module, _ = made("lstm")
    module.weight_hh_l0.data = module.weight_hh_l0.data.clone()
    seen: list[Tensor] = []

    def layer(x: Tensor, start: Any, weights: list[Tensor], *rest: Any) -> tuple[Tensor]:
        seen.extend(weights)
        return (x,)

    from pipeline.model import gpu_layer

    before = gpu_layer.LAYERS["LSTM"]
    try:
        gpu_layer.LAYERS["LSTM"] = layer
        read([module], torch.zeros(B, T, F), torch.bfloat16)
    finally:
        gpu_layer.LAYERS["LSTM"] = before
    assert [weight.shape for weight in seen] == [weight.shape for weight in module.parameters()]
    assert len({weight.untyped_storage().data_ptr() for weight in seen}) == 1
    ends = [weight.storage_offset() + weight.numel() for weight in seen]
    assert [weight.storage_offset() for weight in seen] == [0, *ends[:-1]] and all(weight.is_contiguous() for weight in seen)


VARIANTS: list[dict[str, Any]] = [
    {"pooling": "last"},
    {"pooling": "mean", "bidirectional": True},
    {"pooling": "max", "layers": 2, "cell": "gru"},
    {"pooling": "attention", "projection": 5, "layer_norm": True},
    {"conv": 4, "bidirectional": True, "layers": 2, "cell": "rnn"},
    {"conv": 4, "conv_norm": "batch", "layer_norm": True},
]


@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 2, 4, 1])])
@pytest.mark.parametrize("options", VARIANTS)
def test_a_model_trained_in_it_is_the_plain_one_in_single_precision(
    model: Make, options: dict[str, Any], lengths: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the path around the layers too: what is cast back, and where autocast is."""
    values = torch.randint(0, 256, (B, T, F))
    plain, low = model(**options), model(**options)
    low.trained_in = torch.float32
    monkeypatch.setattr(torch, "autocast", lambda device, dtype: torch.amp.autocast_mode.autocast(device, enabled=False))
    for one in (plain, low):
        functional.cross_entropy(one(values, lengths), torch.tensor([0, 1, 2, 3])).backward()
    for (name, ours), theirs in zip(low.named_parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None and theirs.grad is not None, name
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("options", VARIANTS)
def test_a_model_trained_in_16_bits_has_logits_and_gradients_in_32(
    model: Make, options: dict[str, Any], dtype: torch.dtype
) -> None:
    values = torch.randint(0, 256, (B, T, F))
    plain, low = model(**options), model(**options)
    low.trained_in = dtype
    logits, expected = low(values), plain(values)
    assert logits.dtype == torch.float32 and not torch.equal(logits, expected)
    torch.testing.assert_close(logits, expected, rtol=0, atol=0.05)
    logits.square().sum().backward()
    assert {parameter.grad.dtype for parameter in low.parameters() if parameter.grad is not None} == {torch.float32}
    assert all(parameter.grad is not None for parameter in low.parameters())
    assert torch.equal(low.eval()(values), plain.eval()(values)), "it is evaluated in single precision"
