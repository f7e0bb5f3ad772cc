"""What loss.py promises: an example is weighed by its own class, whatever is smoothed."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pipeline.training.loss import summed_loss
from pipeline.training.state import class_weights

COUNTS = [[960, 40], [990, 10], [800, 200], [1, 1], [500, 50, 50, 50, 50, 50, 50, 50, 50, 50]]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_the_best_answer_to_an_example_is_its_smoothed_label_whatever_the_weights(counts: list[int], smoothing: float) -> None:
    classes, weights = len(counts), class_weights(torch.tensor(counts))
    for label in (0, classes - 1):
        target = torch.full((classes,), smoothing / classes)
        target[label] += 1 - smoothing
        logits = target.clamp(min=1e-12).log()[None].requires_grad_()
        torch.autograd.backward(summed_loss(logits, torch.tensor([label]), smoothing, weights))
        assert logits.grad is not None
        torch.testing.assert_close(logits.grad / weights[label], torch.zeros(1, classes), rtol=0, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_it_is_the_sum_of_torchs_cross_entropies_times_the_weights_of_class_and_example(smoothing: float) -> None:
    logits, labels = torch.randn(7, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 3, 2, 0])
    losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    of_class, own = torch.tensor([0.5, 2.0, 0.0, 1.5]), torch.tensor([1.0, 1, 1, 1, 1, 0, 0])
    for classes, examples in ((None, None), (of_class, None), (None, own), (of_class, own)):
        expected = losses * (1 if classes is None else classes[labels]) * (1 if examples is None else examples)
        torch.testing.assert_close(summed_loss(logits, labels, smoothing, classes, examples), expected.sum())
