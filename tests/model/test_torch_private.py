"""Each private name of torch does what it is used for; an upgrade that changes one is seen here first."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.model import torch_private

VALUES = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]


def test_the_total_norm_is_that_of_all_values_together() -> None:
    assert torch_private.total_norm(VALUES).item() == 5.0
    assert torch_private.total_norm(VALUES).shape == ()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_value_that_is_not_finite_sets_the_flag_whatever_all_are_multiplied_by(value: float) -> None:
    flag, tensors, one = torch.zeros(()), [torch.tensor([1.0, 2.0]), torch.tensor([3.0])], torch.ones(())
    torch_private.multiply_and_flag(tensors, one, flag)
    assert flag.item() == 0.0 and tensors[0].tolist() == [1.0, 2.0]
    torch_private.multiply_and_flag(tensors, 0.5 * one, flag)
    assert flag.item() == 0.0 and tensors[0].tolist() == [0.5, 1.0]
    tensors[1][0] = value
    torch_private.multiply_and_flag(tensors, 0 * one, flag)
    assert flag.item() == 1.0


def test_averages_move_by_the_share_that_the_decay_leaves() -> None:
    averages, weights = nn.Linear(2, 1), nn.Linear(2, 1)
    expected = [0.75 * a + 0.25 * w for a, w in zip(averages.parameters(), weights.parameters(), strict=True)]
    before = copy.deepcopy(weights.state_dict())
    torch_private.average_into(averages, weights, 0.75)
    for got, wanted in zip(averages.parameters(), expected, strict=True):
        torch.testing.assert_close(got, wanted)
    assert all(torch.equal(before[name], value) for name, value in weights.state_dict().items())


def test_ddp_ignores_what_is_left_out() -> None:
    module = nn.BatchNorm1d(2)
    torch_private.leave_out_of_ddp(module, ["running_mean"])
    assert "running_mean" in module._ddp_params_and_buffers_to_ignore


def test_bf16_instructions_are_those_that_the_processor_names() -> None:
    assert torch_private.cpu_has_bf16() == ("avx512_bf16" in Path("/proc/cpuinfo").read_text())


def test_tracing_leaves_torchs_own_operators_as_they_were() -> None:
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    operator: Any = torch.ops.aten.gru.input
    before = operator.py_kernels[key]
    with pytest.raises(KeyError), torch_private.traced_by_shape([operator], lambda *_: None):
        assert operator.py_kernels[key] is not before
        raise KeyError
    assert operator.py_kernels[key] is before
