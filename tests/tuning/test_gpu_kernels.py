"""What is slow on a GPU is named with what is faster."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config import Model
from pipeline.tuning.gpu_kernels import slow


@pytest.mark.parametrize(
    ("model", "precision", "instead"),
    [
        ({"hidden": 128}, "fp32", ""),
        ({"hidden": 129}, "fp32", "model.hidden=128 or 256"),
        ({"hidden": 129}, "bf16", ""),
        ({"hidden": 192, "cell": "gru"}, "fp16", "model.hidden=128 or 256"),
        ({"hidden": 193}, "bf16", ""),
        ({"hidden": 160, "cell": "rnn"}, "fp32", ""),
        ({"hidden": 300, "cell": "rnn"}, "fp32", "model.hidden=256 or 512"),
        ({"hidden": 256}, "bf16", ""),
        ({"hidden": 256, "layers": 2}, "bf16", "train.precision=fp16"),
        ({"hidden": 512, "projection": 128}, "bf16", "train.precision=fp16"),
        ({"hidden": 512, "projection": 128, "cell": "gru"}, "bf16", ""),
        ({"hidden": 512, "projection": 128}, "fp16", ""),
        ({"hidden": 2048, "projection": 128}, "bf16", ""),
    ],
)
def test_sizes_and_formats_that_others_beat_are_named(model: dict[str, Any], precision: str, instead: str) -> None:
    said = slow(Model(**model), precision, 3)
    assert instead in said and bool(said) == bool(instead)
    assert not said or (("not measured here" in said or "on an H200" in said) and "on a GPU" in said)
