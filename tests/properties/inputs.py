"""What several of these tests draw: architectures and their batches; and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st

from pipeline.deploy.facts import Arguments
from pipeline.model.classifier import RecurrentClassifier

path = Path("any")


def tried(count: int) -> settings:
    """So many examples of a test, or as many times more as the profile has of 100."""
    return settings(max_examples=count * settings().max_examples // 100)


@st.composite
def architectures(draw: st.DrawFn, **fixed: Any) -> Arguments:
    """Small models of every kind."""
    layers = draw(st.integers(1, 3))
    chosen = {
        "features": draw(st.integers(1, 5)),
        "classes": draw(st.integers(2, 4)),
        "cell": draw(st.sampled_from(["lstm", "gru", "rnn"])),
        "hidden": draw(st.integers(2, 9)),
        "layers": layers,
        "bidirectional": draw(st.booleans()),
        "dropout": draw(st.sampled_from([0.0, 0.4])) if layers > 1 else 0.0,
        "pooling": draw(st.sampled_from(["last", "mean", "max", "attention"])),
        "init": draw(st.sampled_from(["pytorch", "orthogonal"])),
        "projection": draw(st.sampled_from([0, 3])),
        "layer_norm": draw(st.booleans()),
        "conv": draw(st.sampled_from([0, 0, 3])),
        "head_dropout": draw(st.sampled_from([0.0, 0.3])),
        "conv_norm": draw(st.sampled_from(["layer", "batch"])),
    }
    return Arguments(**chosen | fixed)


def model_of(arguments: Arguments, seed: int = 0) -> RecurrentClassifier:
    """In evaluation mode, with a normalisation and running statistics that are not those of a new model."""
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    made = RecurrentClassifier(**arguments.model_dump()).eval()
    made.set_normalization(
        torch.randn(arguments.features, generator=random), 0.5 + torch.rand(arguments.features, generator=random)
    )
    for norm in made.batch_norms:
        norm.mean.copy_(torch.randn(norm.mean.shape, generator=random))
        norm.var.copy_(0.5 + torch.rand(norm.var.shape, generator=random))
    return made


@st.composite
def batch(draw: st.DrawFn, features: int, most: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """Values (B, T, F) and lengths (B), one of them T."""
    lengths = torch.tensor(draw(st.lists(st.integers(1, most), min_size=1, max_size=4)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = random.normal(size=(len(lengths), int(lengths.max()), features)) * draw(st.sampled_from([0.1, 1.0, 30.0]))
    return torch.from_numpy(values).float(), lengths
