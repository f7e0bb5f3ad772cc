"""Initial weights other than torch's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline import config
from pipeline.data.preparation.folder import prepare
from pipeline.model import initial
from pipeline.model.classifier import RecurrentClassifier
from pipeline.stages.assembly import make_model
from tests.conftest import F

H = 6
Make = Callable[..., RecurrentClassifier]


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


def test_orthogonal_init_gives_projection_and_attention_glorots_weights_and_no_bias(model: Make) -> None:
    plain, made = (
        model(projection=50, hidden=60, pooling="attention", conv=4, init=init) for init in ("pytorch", "orthogonal")
    )
    assert made.projection is not None and made.attention is not None
    for linear in (made.projection, made.attention.key, made.attention.query):
        bound = (6 / sum(linear.weight.shape)) ** 0.5
        assert 0.9 * bound < linear.weight.abs().max() <= bound
    assert not made.projection.bias.any() and not made.attention.key.bias.any()
    for name in ("head.weight", "convolutions.filters.0.weight"):
        assert torch.equal(made.get_parameter(name), plain.get_parameter(name)), "as torch makes them"


def test_the_orthogonal_lstm_keeps_what_it_has_seen(model: Make) -> None:
    """With a forget gate that starts open, the cell state decays by sigmoid(1) a step; with torch's, by about a half."""
    module = model(init="orthogonal").recurrent[0]
    assert isinstance(module, nn.LSTM)
    state = (torch.zeros(1, 1, H), torch.ones(1, 1, H))
    with torch.no_grad():
        _, (_, cell) = module(torch.zeros(1, 1, F), state)
    torch.testing.assert_close(cell, torch.full((1, 1, H), torch.tensor(1.0).sigmoid().item()))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_chrono_units_forget_over_times_from_one_step_to_the_longest_series(model: Make, cell: str) -> None:
    """A state of 1 becomes t/(t + 1) after a step in which the candidate is 0, for times t that are spread evenly."""
    made = model(cell=cell, hidden=1000, init="chrono")
    initial.chrono(made.recurrent, 101)
    (bias,) = (value for name, value in made.recurrent.named_parameters() if "bias_ih" in name)
    keeps = bias[1000:2000].sigmoid()
    times = (keeps / (1 - keeps)).sort().values
    torch.testing.assert_close(times, torch.linspace(1, 100, 1000), rtol=0, atol=8.0)
    others = [*range(1000), *range(2000, len(bias))]
    if cell == "lstm":
        torch.testing.assert_close(bias[:1000].sigmoid(), 1 - keeps)  # what comes in is what is forgotten
        others = others[1000:]
    assert not bias[others].any()


def test_chrono_is_of_the_longest_series_that_is_trained_on(tmp_path: Path) -> None:
    settings = config.make(
        {"data": {"prepared": tmp_path}, "model": {"init": "chrono", "hidden": 1000}, "run": {"dir": tmp_path / "run"}}
    )
    bias = make_model(settings, prepare(settings.data)).get_parameter("recurrent.0.bias_ih_l0")[1000:2000]
    assert 6.8 < bias.exp().max() <= 7 and 1 <= bias.exp().min() < 1.2, "the digits have 8 rows"
