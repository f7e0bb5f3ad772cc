"""What RecurrentClassifier promises: torch's own recurrences, and padding that cannot be seen."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipeline.model import CELLS, RecurrentClassifier
from tests.conftest import C, F, T

B, H = 5, 6
Make = Callable[..., RecurrentClassifier]
KINDS = list(product(("lstm", "gru", "rnn"), (False, True), ("last", "mean", "max")))
LENGTHS = torch.tensor([5, 3, 1, 4, 5])


def values(dtype: torch.dtype = torch.float32) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (B, T, F), generator=random).to(dtype)


def reference(model: RecurrentClassifier, layers: int) -> nn.RNNBase:
    """torch's own stack with the weights of ``model``."""
    bidirectional = model.directions == 2
    stack = CELLS[model.cell](F, H, num_layers=layers, bidirectional=bidirectional, batch_first=True)
    with torch.no_grad():
        for index, module in enumerate(model.recurrent):
            layer, backward = divmod(index, model.directions)
            for name, parameter in module.named_parameters():
                stack.get_parameter(name.replace("l0", f"l{layer}") + "_reverse" * backward).copy_(parameter)
    return stack


def expected(model: RecurrentClassifier, layers: int, x: Tensor, lengths: Tensor) -> Tensor:
    """The logits by way of torch's stack and a PackedSequence, pooled by hand, one example at a time."""
    x = (x - model.mean) * model.scale
    packed, final = reference(model, layers)(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    outputs, _ = pad_packed_sequence(packed, batch_first=True)
    final = final[0] if model.cell == "lstm" else final  # (layers * D, B, H)
    pooled = []
    for row, length in enumerate(lengths.tolist()):
        steps = outputs[row, :length]
        match model.pooling:
            case "last":
                pooled.append(final[-model.directions :, row].reshape(-1))
            case "mean":
                pooled.append(steps.mean(0))
            case "max":
                pooled.append(steps.max(0).values)
    return model.head(torch.stack(pooled))


@pytest.mark.parametrize(("cell", "bidirectional", "pooling"), KINDS)
@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_logits_are_those_of_torchs_own_stack_at_equal_and_unequal_lengths(
    model: Make, cell: str, bidirectional: bool, pooling: str, layers: int
) -> None:
    made = model(cell=cell, bidirectional=bidirectional, pooling=pooling, layers=layers)
    full = torch.full((B,), T)
    for lengths in (LENGTHS, full):
        logits = made(values(), lengths)
        assert logits.shape == (B, C) and logits.dtype == torch.float32
        torch.testing.assert_close(logits, expected(made, layers, values(), lengths), rtol=0, atol=1e-6)
    torch.testing.assert_close(made(values()), expected(made, layers, values(), full), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("cell", "bidirectional", "pooling"), KINDS)
@pytest.mark.parametrize("padding", [0.0, 255.0, -1e30, float("nan"), float("inf")])
@torch.no_grad()
def test_what_padding_holds_never_changes_logits(
    model: Make, cell: str, bidirectional: bool, pooling: str, padding: float
) -> None:
    made = model(cell=cell, bidirectional=bidirectional, pooling=pooling, layers=2)
    padded = values()
    padded[torch.arange(T) >= LENGTHS[:, None]] = padding
    assert torch.equal(made(padded, LENGTHS), made(values(), LENGTHS))


@pytest.mark.parametrize(("cell", "bidirectional", "pooling"), KINDS)
@torch.no_grad()
def test_neighbours_and_the_length_of_the_batch_never_change_logits(
    model: Make, cell: str, bidirectional: bool, pooling: str
) -> None:
    made = model(cell=cell, bidirectional=bidirectional, pooling=pooling, layers=2)
    together = made(values(), LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = made(values()[row : row + 1, :length])
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-6)
    others = values().flip(0)
    others[2] = values()[2]
    torch.testing.assert_close(made(others, LENGTHS)[2], together[2], rtol=0, atol=0)


@torch.no_grad()
def test_bytes_are_taken_for_the_numbers_they_are(model: Make) -> None:
    made = model(bidirectional=True)
    assert torch.equal(made(values(torch.uint8)), made(values()))
    assert torch.equal(made(values(torch.int64), LENGTHS), made(values(torch.uint8), LENGTHS))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_orthogonal_init_is_orthogonal_by_gate_with_a_forget_bias_of_1(model: Make, cell: str) -> None:
    made = model(cell=cell, bidirectional=True, layers=2, init="orthogonal")
    assert len(made.recurrent) == 4
    for module in made.recurrent:
        blocks = module.weight_hh_l0.split(H)
        assert len(blocks) == {"lstm": 4, "gru": 3, "rnn": 1}[cell]
        for block in blocks:
            torch.testing.assert_close(block @ block.T, torch.eye(H), rtol=0, atol=1e-5)
        width = module.weight_ih_l0.shape[1]
        for block in module.weight_ih_l0.split(H):
            assert block.abs().max() <= (6 / (H + width)) ** 0.5, "Glorot's bound"
        bias = (module.bias_ih_l0 + module.bias_hh_l0).split(H)
        gates = {"lstm": [0, 1, 0, 0], "gru": [0, 0, 0], "rnn": [0]}[cell]  # torch: i, f, g, o
        assert [gate.unique().tolist() for gate in bias] == [[gate] for gate in gates]


def test_the_orthogonal_lstm_keeps_what_it_has_seen(model: Make) -> None:
    """With a forget gate that starts open, the cell state decays by sigmoid(1) a step; with torch's, by about a half."""
    module = model(init="orthogonal").recurrent[0]
    assert isinstance(module, nn.LSTM)
    state = (torch.zeros(1, 1, H), torch.ones(1, 1, H))
    with torch.no_grad():
        _, (_, cell) = module(torch.zeros(1, 1, F), state)
    torch.testing.assert_close(cell, torch.full((1, 1, H), torch.tensor(1.0).sigmoid().item()))


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
def test_dropout_acts_in_training_only_and_between_layers_only(model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = []
    real = torch.nn.functional.dropout

    def dropout(x: Tensor, share: float, training: bool) -> Tensor:
        dropped.append((tuple(x.shape), share, training))
        return real(x, share, training)

    monkeypatch.setattr("pipeline.model.functional.dropout", dropout)
    made = model(layers=3, bidirectional=True, dropout=0.5)
    assert not torch.equal(made.train()(values()), made(values()))
    assert dropped == [((B, T, 2 * H), 0.5, True)] * 4, "before the second and the third layer, on all steps"
    assert torch.equal(made.eval()(values()), made(values()))
    assert torch.equal(made(values()), model(layers=3, bidirectional=True).eval()(values()))
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


def test_every_weight_takes_part(model: Make) -> None:
    for cell, bidirectional, pooling in KINDS:
        made = model(cell=cell, bidirectional=bidirectional, pooling=pooling, layers=2)
        nn.functional.cross_entropy(made(values(), LENGTHS), torch.arange(B) % C).backward()
        assert [name for name, parameter in made.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


def test_lengths_do_not_depend_on_the_padding_in_the_gradient_either(model: Make) -> None:
    def gradient(padding: float) -> Tensor:
        made, x = model(bidirectional=True, layers=2, pooling="mean"), values()
        x[torch.arange(T) >= LENGTHS[:, None]] = padding
        made(x, LENGTHS).square().sum().backward()
        return torch.cat([parameter.grad.reshape(-1) for parameter in made.parameters() if parameter.grad is not None])

    torch.testing.assert_close(gradient(0.0), gradient(200.0), rtol=0, atol=1e-5)
