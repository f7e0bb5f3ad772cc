"""Attributions are those of a model that is known, add up to the difference of the logit, and find the step that matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.report.explain import deletion, gradients

T, F = 12, 3


def example(seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(T, F, generator=random), torch.randn(F, generator=random).expand(T, F)


def of_one_step(values: Tensor) -> Tensor:
    """(B, 2) logits of a model that looks at the second feature of step 4 alone."""
    seen = values[:, 4, 1]
    return torch.stack([torch.zeros_like(seen), 3 * torch.tanh(2 * seen)], 1)


def test_a_linear_model_is_attributed_its_weights() -> None:
    values, baseline = example()
    weights = torch.arange(T * F, dtype=torch.float32).reshape(T, F)
    found = gradients.attribute(lambda many: (many * weights).sum((1, 2))[:, None], values, baseline, 0)
    torch.testing.assert_close(found.values, weights * (values - baseline))
    assert found.is_complete


def test_a_square_is_integrated_and_not_only_its_slope_taken() -> None:
    values, baseline = example()
    found = gradients.attribute(lambda many: (many**2).sum((1, 2))[:, None], values, baseline, 0)
    torch.testing.assert_close(found.values, values**2 - baseline**2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("more", [{}, {"bidirectional": True, "layers": 2}, {"conv": 4, "projection": 5}, {"cell": "gru"}])
def test_attributions_of_every_model_add_up_to_the_difference_of_the_logit(
    model: Callable[..., Any], pooling: str, more: dict[str, Any]
) -> None:
    made = model(pooling=pooling, **more).eval()
    values, baseline = (100 * part + 120 for part in example())
    found = gradients.attribute(made, values, baseline, 2)
    with torch.no_grad():
        logits = made(torch.stack([values, baseline]))[:, 2]
    assert found.difference == pytest.approx(float(logits[0] - logits[1]), abs=1e-5)
    assert found.is_complete and abs(found.total - found.difference) <= 0.01 * max(1, abs(found.difference))
    assert not [name for name, weight in made.named_parameters() if weight.grad is not None], "nothing is left in the model"


def test_attributions_that_do_not_add_up_are_said_to_be_incomplete() -> None:
    values, baseline = example()
    found = gradients.attribute(
        lambda many: torch.sign(many.sum((1, 2)))[:, None] + 0 * many.sum((1, 2))[:, None], values, baseline, 0
    )
    assert found.difference == 0 or not found.is_complete
    jump = gradients.Attribution(torch.zeros(T, F), torch.ones(T), 2.0)
    assert not jump.is_complete


def test_the_step_that_matters_has_the_largest_relevance_and_attribution() -> None:
    values, baseline = example()
    found = gradients.attribute(of_one_step, values, baseline, 1)
    assert int(found.relevance.argmax()) == 4 and found.relevance[4] == 1
    assert float(found.relevance.sum()) == pytest.approx(1) and int(found.rescaled.abs().argmax()) == 4 * F + 1


def test_long_examples_are_explained_in_windows() -> None:
    values = torch.randn(100, F, generator=torch.Generator().manual_seed(0))
    found = gradients.attribute(of_one_step, values, torch.zeros(100, F), 1)
    assert found.relevance.shape == (100,) and found.relevance[4] == 1
    assert int((found.relevance > 0).sum()) <= -(-100 // gradients.WINDOWS)


def test_an_example_that_is_the_baseline_is_explained_by_nothing() -> None:
    _, baseline = example()
    found = gradients.attribute(of_one_step, baseline, baseline, 1)
    assert found.total == found.difference == 0 and found.is_complete and bool(found.relevance.isfinite().all())


def test_the_deletion_curve_tells_a_true_attribution_from_a_false_one() -> None:
    values = example()[0].clone()
    values[4, 1] = 3.0
    far = torch.full((T, F), -1.0)
    found = gradients.attribute(of_one_step, values, far, 1)
    true = deletion.delete(of_one_step, values, far, 1, found.rescaled.sum(1))
    assert true.is_true and true.areas["falling"] < true.areas["random"] < true.areas["rising"]
    false = deletion.delete(of_one_step, values, far, 1, -found.rescaled.sum(1))
    assert not false.is_true and false.areas["falling"] > false.areas["random"]


def test_all_orders_begin_with_the_whole_example_and_end_with_the_baseline() -> None:
    values, baseline = example()
    found = deletion.delete(of_one_step, values, baseline, 1, torch.arange(T, dtype=torch.float32))
    with torch.no_grad():
        first, last = of_one_step(torch.stack([values, baseline])).softmax(1)[:, 1].tolist()
    for curve in (found.falling, found.rising, *found.random):
        assert (curve[0], curve[-1]) == (pytest.approx(first), pytest.approx(last)) and len(curve) == len(found.shares)
    assert (found.shares[0], found.shares[-1]) == (0, 1)
    assert found.falling[T - 5] == pytest.approx(first), "steps above 4 are taken away before it"
    again = deletion.delete(of_one_step, values, baseline, 1, torch.arange(T, dtype=torch.float32))
    assert again == found


def test_the_area_is_the_mean_probability() -> None:
    found = deletion.Deletion([0.0, 0.5, 1.0], [1.0, 0.5, 0.0], [1.0, 1.0, 0.0], [[1.0, 0.0, 0.0]] * deletion.ORDERS)
    assert found.areas == {"falling": 0.5, "random": pytest.approx(0.25), "rising": 0.75}
    assert found.equalled == 0 and not found.is_true
    flat = deletion.Deletion([0.0, 1.0], [0.5, 0.5], [0.5, 0.5], [[0.5, 0.5]] * deletion.ORDERS)
    assert not flat.is_true, "a model that notices nothing proves nothing"
