"""What RecurrentClassifier promises: torch's own recurrences, and padding that cannot be seen."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import product
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.model import masked
from pipeline.model.classifier import CELLS, RecurrentClassifier
from pipeline.training import loop
from pipeline.training.state import State
from tests.conftest import C, F, T

B, H = 5, 6
Make = Callable[..., RecurrentClassifier]
KINDS = list(product(("lstm", "gru", "rnn"), (False, True), ("last", "mean", "max", "attention")))
EXTRAS: list[dict[str, Any]] = [{"projection": 4}, {"layer_norm": True}, {"conv": 4}]
EXTRAS.append({"projection": 4, "layer_norm": True, "conv": 4, "layers": 2})
LENGTHS = torch.tensor([5, 3, 1, 4, 5])


def values(dtype: torch.dtype = torch.float32) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (B, T, F), generator=random).to(dtype)


def stack(model: RecurrentClassifier, layers: int) -> nn.RNNBase:
    """torch's own stack with the weights of ``model``."""
    bidirectional = model.directions == 2
    made = CELLS[model.cell](F, H, num_layers=layers, bidirectional=bidirectional, batch_first=True)
    with torch.no_grad():
        for index, module in enumerate(model.recurrent):
            layer, backward = divmod(index, model.directions)
            for name, parameter in module.named_parameters():
                made.get_parameter(name.replace("l0", f"l{layer}") + "_reverse" * backward).copy_(parameter)
    return made


def layer(model: RecurrentClassifier, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (L, D*H) and final states (D*H) of one series (L, F) by torch's own layer, normalised a direction at a time."""
    modules = range(index * model.directions, (index + 1) * model.directions)
    stack = CELLS[model.cell](x.shape[1], H, bidirectional=model.directions == 2)
    weights = {}
    for module, suffix in zip(modules, ("", "_reverse"), strict=False):
        weights |= {name + suffix: value for name, value in model.recurrent[module].state_dict().items()}
    stack.load_state_dict(weights)
    outputs, final = stack(x[:, None])
    final = (final[0] if model.cell == "lstm" else final)[:, 0]  # (D, H)
    norms: list[Any] = [nn.Identity()] * 2 if model.norms is None else [model.norms[module] for module in modules]
    halves = [norm(half) for norm, half in zip(norms, outputs[:, 0].split(H, 1), strict=False)]
    return torch.cat(halves, 1), torch.cat([norm(state) for norm, state in zip(norms, final, strict=False)])


def convolved(model: RecurrentClassifier, x: Tensor) -> Tensor:
    """The convolutional branch (K) of one series (L, F)."""
    assert model.convolutions is not None
    for convolve, norm in zip(model.convolutions.filters, model.convolutions.norms, strict=True):
        x = functional.conv1d(x.T[None], convolve.weight, convolve.bias, padding="same")[0].T
        x = functional.layer_norm(x, x.shape[1:], norm.weight, norm.bias).clamp(min=0)
    return x.mean(0)


def alone(model: RecurrentClassifier, series: Tensor) -> Tensor:
    """The logits (C) of one series (L, F), without a batch and by way of torch's own modules."""
    x = features = (series - model.mean) * model.scale
    if model.projection is not None:
        x = features @ model.projection.weight.T + model.projection.bias
    for index in range(len(model.recurrent) // model.directions):
        x, final = layer(model, index, x)
    match model.pooling:
        case "last":
            pooled = final
        case "mean":
            pooled = x.mean(0)
        case "max":
            pooled = x.max(0).values
        case "attention":
            assert model.attention is not None
            scores = torch.stack([torch.tanh(model.attention.key(step)) @ model.attention.query.weight[0] for step in x])
            pooled = sum(weight * step for weight, step in zip(scores.exp() / scores.exp().sum(), x, strict=True))
    if model.convolutions is not None:
        pooled = torch.cat([pooled, convolved(model, features)])
    return model.head(pooled)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("cell", "bidirectional", "pooling"), KINDS)
@pytest.mark.parametrize("extra", [{}, {"layers": 2}, *EXTRAS])
@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_logits_of_a_series_are_those_it_has_alone_whatever_stands_in_its_padding_and_beside_it(
    model: Make, cell: str, bidirectional: bool, pooling: str, extra: dict[str, Any], training: bool
) -> None:
    made = model(cell=cell, bidirectional=bidirectional, pooling=pooling, **extra).train(training)
    expected = torch.stack([alone(made, x[:length]) for x, length in zip(values(), LENGTHS.tolist(), strict=True)])
    assert (expected.std(0) > 1e-3).all(), "a model that tells series apart"
    for padding in (0.0, 255.0, -1e30, float("nan"), float("inf")):
        padded = functional.pad(values(), (0, 0, 0, 2), value=padding)
        padded[torch.arange(T + 2) >= LENGTHS[:, None]] = padding
        logits = made(padded, LENGTHS)
        assert logits.shape == (B, C) and logits.dtype == torch.float32
        torch.testing.assert_close(logits, expected, rtol=0, atol=2e-6)
        order = torch.tensor([2, 4])
        torch.testing.assert_close(made(padded[order], LENGTHS[order]), expected[order], rtol=0, atol=2e-6)
    for row, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(made(values()[row : row + 1, :length])[0], expected[row], rtol=0, atol=2e-6)


@pytest.mark.parametrize(("cell", "bidirectional", "pooling"), KINDS)
@pytest.mark.parametrize("extra", [{}, EXTRAS[-1]])
@torch.no_grad()
def test_a_length_that_the_batch_has_not_gives_no_number_and_changes_nothing_beside_it(
    model: Make, cell: str, bidirectional: bool, pooling: str, extra: dict[str, Any]
) -> None:
    made = model(cell=cell, bidirectional=bidirectional, pooling=pooling, **extra)
    logits = made(values(), torch.tensor([5, 0, -1, 4, T + 1]))
    assert logits.isnan().all(1).tolist() == [False, True, True, False, True]
    torch.testing.assert_close(logits[[0, 3]], made(values(), LENGTHS)[[0, 3]], rtol=0, atol=0)


@pytest.mark.parametrize(("cell", "bidirectional", "pooling"), KINDS)
@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_equal_lengths_give_the_same_logits_said_or_not(
    model: Make, cell: str, bidirectional: bool, pooling: str, layers: int
) -> None:
    made = model(cell=cell, bidirectional=bidirectional, pooling=pooling, layers=layers, conv=4)
    torch.testing.assert_close(made(values()), made(values(), torch.full((B,), T)), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("cell", "bidirectional"), [kind[:2] for kind in KINDS[::4]])
@torch.no_grad()
def test_logits_are_those_of_torchs_stack_and_packed_sequences(model: Make, cell: str, bidirectional: bool) -> None:
    made = model(cell=cell, bidirectional=bidirectional, layers=3)
    x = pack_padded_sequence((values() - made.mean) * made.scale, LENGTHS, batch_first=True, enforce_sorted=False)
    _, final = stack(made, 3)(x)
    final = final[0] if cell == "lstm" else final  # (layers * D, B, H)
    expected = made.head(torch.cat(list(final[-made.directions :]), 1))
    torch.testing.assert_close(made(values(), LENGTHS), expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_bytes_are_taken_for_the_numbers_they_are(model: Make) -> None:
    made = model(bidirectional=True)
    assert torch.equal(made(values(torch.uint8)), made(values()))
    assert torch.equal(made(values(torch.int64), LENGTHS), made(values(torch.uint8), LENGTHS))


def test_what_is_not_asked_for_has_no_weights_and_draws_no_random_numbers(model: Make) -> None:
    made = model(layers=2, bidirectional=True)
    after = torch.rand(3)
    torch.manual_seed(0)
    recurrent = [nn.LSTM(F, H), nn.LSTM(F, H), nn.LSTM(2 * H, H), nn.LSTM(2 * H, H)]
    weights = {f"recurrent.{n}.{name}": value for n, lstm in enumerate(recurrent) for name, value in lstm.state_dict().items()}
    weights |= {f"head.{name}": value for name, value in nn.Linear(2 * H, C).state_dict().items()}
    assert torch.equal(torch.rand(3), after)
    assert made.state_dict().keys() == {*weights, "mean", "scale"}
    everything = model(layers=2, bidirectional=True, layer_norm=True, pooling="attention", conv=4)
    for name, value in weights.items():
        assert torch.equal(made.state_dict()[name], value)
        assert name.startswith("head") or torch.equal(everything.state_dict()[name], value), "other parts come after it"


def test_normalisation_belongs_to_the_model_and_travels_with_its_state(model: Make) -> None:
    made, mean, scale = model(), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.25, 2.0])
    made.set_normalization(mean, scale)
    assert {"mean", "scale"} <= made.state_dict().keys()
    assert not [parameter for name, parameter in made.named_parameters() if name in ("mean", "scale")], "not trained"
    plain = model()
    plain.load_state_dict(made.state_dict() | {"mean": torch.zeros(F), "scale": torch.ones(F)})
    other = model()
    other.load_state_dict(made.state_dict())
    with torch.no_grad():
        assert torch.equal(other(values()), made(values()))
        assert torch.equal(plain((values() - mean) * scale), made(values()))


@torch.no_grad()
def test_dropout_acts_in_training_only_between_layers_and_before_the_head(model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = []
    real = torch.nn.functional.dropout

    def dropout(x: Tensor, share: float, training: bool) -> Tensor:
        dropped.append((tuple(x.shape), share, training))
        return real(x, share, training)

    monkeypatch.setattr("pipeline.model.classifier.functional.dropout", dropout)
    made = model(layers=3, bidirectional=True, dropout=0.5)
    assert not torch.equal(made.train()(values()), made(values()))
    assert dropped == [((B, T, 2 * H), 0.5, True)] * 4, "before the second and the third layer, on all steps"
    assert torch.equal(made.eval()(values()), made(values()))
    assert torch.equal(made(values()), model(layers=3, bidirectional=True).eval()(values()))
    dropped.clear()
    made = model(bidirectional=True, head_dropout=0.25, conv=4)
    assert not torch.equal(made.train()(values()), made(values()))
    assert dropped == [((B, 2 * H + 4), 0.25, True)] * 2, "before the head"
    assert torch.equal(made.eval()(values()), model(bidirectional=True, conv=4).eval()(values()))
    dropped.clear()
    model(layers=1, dropout=0.5).train()(values())
    model(layers=2, dropout=0.0).train()(values())
    assert dropped == []


@torch.no_grad()
def test_the_modules_themselves_drop_nothing(model: Make) -> None:
    """cuDNN's dropout has a state of its own, which no checkpoint would hold."""
    assert {(module.dropout, module.num_layers) for module in model(layers=2, dropout=0.5).recurrent} == {(0.0, 1)}


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@torch.no_grad()
def test_a_deep_copy_is_the_same_and_shares_nothing(model: Make, cell: str) -> None:
    made = model(cell=cell, bidirectional=True, layers=2)
    copy = deepcopy(made).flatten_parameters()
    assert copy.flatten_parameters() is copy
    assert torch.equal(copy(values(), LENGTHS), made(values(), LENGTHS))
    before = made(values())
    for parameter in copy.parameters():
        parameter.zero_()
    assert torch.equal(made(values()), before) and not torch.equal(copy(values()), before)


def test_a_model_says_whether_training_it_draws_random_numbers(model: Make) -> None:
    for arguments, stochastic in (({}, False), ({"dropout": 0.1, "layers": 2}, True), ({"head_dropout": 0.1}, True)):
        made = model(**arguments).train()
        before = torch.get_rng_state()
        made(values())
        assert made.stochastic == stochastic == (not torch.equal(torch.get_rng_state(), before))


def test_dropout_before_the_head_follows_from_seed_and_step_alone(
    state: Callable[..., State], batches: Callable[..., Batches], accelerator: Accelerator
) -> None:
    """So a resumed run drops what one left alone drops."""

    def weights(noise: int) -> Tensor:
        settings, training = config.Optim(), config.Train(epochs=2, batch=5)
        made = state(settings, training, head_dropout=0.5)
        for _ in loop.train(made, batches(10, 5), training, settings, 3):
            torch.rand(noise)
        return torch.cat([parameter.detach().reshape(-1) for parameter in made.model.parameters()])

    assert torch.equal(weights(0), weights(7))


@pytest.mark.parametrize("extra", [{"layers": 2}, *EXTRAS])
def test_every_weight_takes_part(model: Make, extra: dict[str, Any]) -> None:
    for cell, bidirectional, pooling in KINDS:
        made = model(cell=cell, bidirectional=bidirectional, pooling=pooling, **extra)
        nn.functional.cross_entropy(made(values(), LENGTHS), torch.arange(B) % C).backward()
        assert [name for name, parameter in made.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


@pytest.mark.parametrize(("cell", "bidirectional", "pooling"), KINDS)
@pytest.mark.parametrize("extra", [{"layers": 2}, EXTRAS[-1]])
def test_padding_has_no_part_in_the_gradient_even_where_it_is_not_a_number(
    model: Make, cell: str, bidirectional: bool, pooling: str, extra: dict[str, Any]
) -> None:
    def gradient(padding: float) -> Tensor:
        made, x = model(cell=cell, bidirectional=bidirectional, pooling=pooling, **extra), values()
        x[torch.arange(T) >= LENGTHS[:, None]] = padding
        made(x, LENGTHS).square().sum().backward()
        return torch.cat([parameter.grad.reshape(-1) for parameter in made.parameters() if parameter.grad is not None])

    expected = gradient(0.0)
    assert expected.any()
    for padding in (200.0, -1e30, float("nan"), float("inf")):
        assert torch.equal(gradient(padding), expected)


@pytest.mark.parametrize(("cell", "bidirectional", "pooling"), KINDS)
def test_the_gradient_of_a_batch_is_the_sum_of_those_of_its_series_alone(
    model: Make, cell: str, bidirectional: bool, pooling: str
) -> None:
    made = model(cell=cell, bidirectional=bidirectional, pooling=pooling, **EXTRAS[-1]).train()
    parameters = list(made.parameters())
    together = torch.autograd.grad(made(values(), LENGTHS).square().sum(), parameters)
    losses = [made(values()[row : row + 1, :length]).square().sum() for row, length in enumerate(LENGTHS.tolist())]
    for one, other in zip(together, torch.autograd.grad(torch.stack(losses).sum(), parameters), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_attention_of_a_query_of_zeros_is_the_mean_and_follows_what_the_query_asks_for(model: Make) -> None:
    made = model(pooling="attention")
    assert made.attention is not None
    x = torch.randn(B, T, H)
    valid = masked.mask(LENGTHS, T)
    made.attention.query.weight.zero_()
    torch.testing.assert_close(made.attention(x, valid), masked.mean(x, valid))
    x[0, 3, 0], made.attention.key.weight[:], made.attention.key.bias[:] = 9.0, torch.eye(H), 0
    made.attention.query.weight[0, 0] = 1e4
    x[0, [0, 1, 2, 4], 0] = -9.0
    torch.testing.assert_close(made.attention(x, valid)[0], x[0, 3])


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@torch.no_grad()
def test_half_precision_gives_nearly_the_same_at_unequal_lengths(model: Make, pooling: str) -> None:
    made = model(bidirectional=True, pooling=pooling, **EXTRAS[-1])
    x = values()
    x[torch.arange(T) >= LENGTHS[:, None]] = float("nan")
    with torch.autocast("cpu", torch.bfloat16):
        logits = made(x, LENGTHS)
    torch.testing.assert_close(logits.float(), made(x, LENGTHS), rtol=0, atol=0.05)
