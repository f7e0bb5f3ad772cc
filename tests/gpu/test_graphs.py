"""A training step on GPUs is one launch: the host copies nothing and waits for nothing between two steps that are logged."""

from __future__ import annotations

import pytest

from tests.gpu.rehearse import rehearsed

GRAPHED: dict[str, tuple[int, tuple[str, ...]]] = {
    "fp32": (1, ()),
    "bf16": (1, ("train.precision=bf16",)),
    "fp16": (1, ("train.precision=fp16",)),
    "exact mode and averages": (1, ("train.gradient_shards=8", "train.ema=0.9")),
    "accumulated": (1, ("train.accumulate=4",)),
    "augmented": (1, ("data.shift=1", "data.rotate=10", "data.elastic=1")),
}


@pytest.mark.parametrize("case", GRAPHED)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_step_is_one_launch(processes: int, case: str) -> None:
    launches, settings = GRAPHED[case]
    step = rehearsed("steps", *settings, processes=processes)
    assert (step["graphs"], step["launches"], step["fills"], step["copies"], step["waits"]) == (1, launches, 0, {}, {})
    assert (step["weight_calls"], step["illegal"], len(step["captured"])) == (0, {}, 1)


def test_dropout_fills_in_its_seed_besides() -> None:
    step = rehearsed("steps", "model.layers=2", "model.dropout=0.2", "train.ema=0.9")
    assert (step["graphs"], step["launches"], step["copies"], step["illegal"]) == (1, 3, {}, {})
