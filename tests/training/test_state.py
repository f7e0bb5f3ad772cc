"""What state.py promises of number formats: what was asked for, or an error; and what dropout draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline.config import Optim, Train
from pipeline.errors import UserError
from pipeline.model import gpu_layer
from pipeline.training.gradients import generator
from pipeline.training.state import State, recurrent_dtype

MakeState = Callable[..., State]
PLAIN = Optim(name="sgd")


def trained_in_bf16(state: MakeState, layer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> State:
    """As on a GPU, whose layers are ``layer``."""
    made = state(PLAIN, Train())
    made.model.trained_in = torch.bfloat16
    monkeypatch.setitem(gpu_layer.LAYERS, "LSTM", layer)
    return made


def test_training_in_16_bits_computes_in_what_was_asked_for(state: MakeState, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trained_in_bf16(state, torch.lstm, monkeypatch).model.eval()
    assert recurrent_dtype(State(made, made, optimizer=None)) == torch.bfloat16  # type: ignore[arg-type]
    assert not made.training and all(parameter.grad is None for parameter in made.parameters())


def test_layers_that_compute_in_another_format_than_asked_for_are_refused(
    state: MakeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(x: torch.Tensor, start: Any, weights: list[torch.Tensor], *rest: Any) -> Any:
        return torch.lstm(x.half(), [one.half() for one in start], [weight.half() for weight in weights], *rest)

    def none(*arguments: Any) -> None:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")

    for layer, reason in ((other, "they compute in float16"), (none, "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")):
        with pytest.raises(UserError, match=rf"train.precision = bf16: .*\({reason}\); set train.precision to fp16 or fp32"):
            recurrent_dtype(trained_in_bf16(state, layer, monkeypatch))


def test_dropout_draws_what_torch_draws_after_its_seed() -> None:
    for seed in (0, 1, 2**62 + 12345):
        torch.manual_seed(seed)
        expected = torch.rand(5)
        generator(torch.device("cpu")).manual_seed(seed)
        assert torch.equal(torch.rand(5), expected)
