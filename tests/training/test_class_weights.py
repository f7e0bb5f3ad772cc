"""What balance.py promises: every class has the same say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from pipeline.training.state import class_weights


@pytest.mark.parametrize("counts", [[1, 1], [90, 10], [5, 1, 300, 7], [2, 2**40]])
def test_class_weights_are_scikit_learns_balanced_ones(counts: list[int]) -> None:
    weights = class_weights(torch.tensor(counts))
    assert weights.dtype == torch.float32
    if sum(counts) < 1000:
        labels = np.repeat(np.arange(len(counts)), counts)
        expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
        np.testing.assert_allclose(weights, expected, rtol=1e-6)
    shares = weights.double() * torch.tensor(counts)
    torch.testing.assert_close(shares / sum(counts), torch.full_like(shares, 1 / len(counts)), rtol=1e-6, atol=0)


def test_a_class_without_examples_has_no_weight_and_changes_no_other() -> None:
    weights = class_weights(torch.tensor([3, 0, 9]))
    assert weights.tolist() == pytest.approx([2, 0, 2 / 3])
    assert class_weights(torch.tensor([3, 9])).tolist() == pytest.approx([2, 2 / 3])


def test_weighted_losses_that_know_nothing_have_the_scale_of_unweighted_ones() -> None:
    labels = torch.tensor([0] * 8 + [1] * 2)
    logits = torch.zeros(10, 2)
    weighted = functional.cross_entropy(logits, labels, class_weights(labels.bincount()), reduction="none")
    assert weighted.mean() == pytest.approx(np.log(2))
    assert weighted[:8].sum() == pytest.approx(weighted[8:].sum())
