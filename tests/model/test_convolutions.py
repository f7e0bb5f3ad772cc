"""The convolutional branch: batch statistics in training, fixed numbers afterwards, and no series that sees another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import nn

from pipeline.config import Optim, Train
from pipeline.data.batches import Batches
from pipeline.model.classifier import RecurrentClassifier
from pipeline.model.convolutions import BatchNorm, Convolutions, filtered, filtered_by_product
from pipeline.model.footprint import KERNELS
from pipeline.training import loop
from pipeline.training.state import State

BATCH = {"conv": 4, "conv_norm": "batch"}


def test_batch_normalisation_is_torchs_over_the_counted_steps_with_its_gradient() -> None:
    torch.manual_seed(0)
    ours, theirs = BatchNorm(3), nn.BatchNorm1d(3)
    x = torch.randn(5, 7, 3, requires_grad=True)
    counted = torch.rand(5, 7, 1) < 0.7
    got = ours(x, counted)[counted[..., 0]]
    flat = x.detach()[counted[..., 0]].requires_grad_()
    wanted = theirs(flat)
    torch.testing.assert_close(got, wanted)
    seed = torch.randn_like(wanted)
    (mine,) = torch.autograd.grad(got, x, seed)
    (other,) = torch.autograd.grad(wanted, flat, seed)
    torch.testing.assert_close(mine[counted[..., 0]], other)
    ours.track(ours.taken())
    torch.testing.assert_close(ours.mean, theirs.running_mean)
    torch.testing.assert_close(ours.var, 0.9 + 0.1 * flat.detach().var(0, unbiased=False))


def test_statistics_of_several_passes_are_those_of_all_their_steps_together() -> None:
    torch.manual_seed(0)
    apart, together = BatchNorm(2), BatchNorm(2)
    x = torch.randn(6, 4, 2)
    apart(x[:2], None), apart(x[2:], None), together(x, None)
    torch.testing.assert_close(apart.taken()[:2], together.taken()[:2])
    assert apart.taken().tolist() == [0.0] * 5, "they are taken once"


@pytest.mark.parametrize("kernel", (*KERNELS, 1))
def test_a_convolution_as_a_product_is_the_convolution_with_its_gradients(kernel: int) -> None:
    torch.manual_seed(0)
    x, convolve = torch.randn(4, 9, 3, dtype=torch.float64, requires_grad=True), nn.Conv1d(3, 6, kernel).double()
    made, seed = [], torch.randn(4, 9, 6, dtype=torch.float64)
    for way in (filtered, filtered_by_product):
        result = way(x, convolve)
        made.append([result, *torch.autograd.grad(result, [x, *convolve.parameters()], seed)])
    torch.testing.assert_close(made[1], made[0], rtol=1e-12, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT TESTED: needs a GPU")
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_gradients_of_the_branch_repeat_on_a_gpu(norm: Literal["batch", "layer"]) -> None:
    torch.manual_seed(0)
    branch, x = Convolutions(28, 64, norm).cuda(), torch.randn(64, 28, 28, device="cuda")
    grads = [torch.autograd.grad(branch(x, None).square().sum(), list(branch.parameters())) for _ in range(20)]
    assert all(torch.equal(one, other) for later in grads for one, other in zip(grads[0], later, strict=True))


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_series_never_depends_on_its_neighbours_once_training_is_over(norm: str) -> None:
    torch.manual_seed(0)
    model = RecurrentClassifier(2, 3, hidden=4, conv=4, conv_norm=norm).eval()
    for module in model.batch_norms:
        module.track(torch.tensor([0.3, -0.2, 0.1, 0.4] * (len(module.mean) // 4) + [2.0] * len(module.mean) + [1.0]))
    values, lengths = torch.randn(5, 9, 2), torch.tensor([9, 1, 4, 7, 9])
    whole = model(values, lengths)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(model(values[row : row + 1, :length]), whole[row : row + 1], rtol=1e-5, atol=1e-6)


def test_padded_rows_and_steps_count_in_no_statistic(model: Callable[..., RecurrentClassifier]) -> None:
    made = model(**BATCH)
    values, lengths = torch.randn(4, 6, 3) * 50 + 100, torch.tensor([6, 2, 5, 6])
    made(values, lengths)
    wanted = [norm.taken() for norm in made.batch_norms]
    longer = torch.cat([torch.cat([values, torch.full((4, 3, 3), 1e6)], 1), torch.full((2, 9, 3), -1e6)])
    made(longer, torch.cat([lengths, torch.tensor([9, 9])]), torch.tensor([True] * 4 + [False] * 2))
    for norm, sums in zip(made.batch_norms, wanted, strict=True):
        torch.testing.assert_close(norm.taken(), sums, rtol=1e-4, atol=1e-4)


def test_running_statistics_move_with_each_update_and_the_averages_follow(
    state: Callable[..., State], batches: Callable[..., Batches]
) -> None:
    train = Train(batch=8, epochs=2, ema=0.9)
    made = state(Optim(), train, **BATCH)
    before = [norm.mean.clone() for norm in made.model.batch_norms]
    for _ in loop.train(made, batches(20, 8), train, Optim(), 0):
        pass
    assert made.ema is not None and len(made.ema.batch_norms) == 3
    for norm, average, start in zip(made.model.batch_norms, made.ema.batch_norms, before, strict=True):
        assert not torch.equal(norm.mean, start) and not torch.equal(average.mean, start)
        assert not torch.equal(norm.mean, average.mean)
        assert norm.taken()[-1] == 0, "nothing is left over"


def test_an_update_that_is_left_out_moves_no_statistic(state: Callable[..., State], batches: Callable[..., Batches]) -> None:
    train = Train(batch=8, epochs=1, on_nonfinite="skip")
    made = state(Optim(), train, **BATCH)
    with torch.no_grad():
        made.model.head.bias[0] = torch.nan
    for _ in loop.train(made, batches(16, 8), train, Optim(), 0):
        pass
    assert all(norm.mean.count_nonzero() == 0 for norm in made.model.batch_norms)
