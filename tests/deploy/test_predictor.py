"""Predicting gives each example what it has alone, whatever stands beside it, and looks at every value."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.data.readers import cells
from pipeline.deploy import predictor
from pipeline.deploy.inputs import Block
from pipeline.model.footprint import Sizes

MODEL: Any = SimpleNamespace(
    facts=SimpleNamespace(class_names=("a", "b")),
    arguments=SimpleNamespace(sizes=Sizes(3, 8, 0, 2)),
    run=lambda values, lengths: np.stack([values[:, :, 0].sum(1), values[:, :, 1].sum(1) / lengths], 1),
)


def block(lengths: list[int]) -> Block:
    values = np.random.default_rng(0).normal(size=(sum(lengths), 3)).astype(np.float32)
    return Block(values, np.array(lengths), tuple(map(str, lengths)), None, "number {}".format)


@pytest.mark.parametrize("lengths", [[7] * 600, [7], [7] * 300 + [6] + [7] * 299, [3, 7, 7, 3, 7] * 120, [1] * 9])
def test_an_example_has_the_probabilities_that_it_has_alone(lengths: list[int]) -> None:
    whole = block(lengths)
    kept = whole.values.copy()
    found = predictor.predict(MODEL, whole).probabilities
    ends = np.cumsum(lengths)
    for number, (end, steps) in enumerate(zip(ends, lengths, strict=True)):
        own = whole.values[end - steps : end].astype(np.float64)
        logits = np.array([own[:, 0].sum(), own[:, 1].sum() / steps])
        expected = np.exp(logits) / np.exp(logits).sum()
        assert found[number] == pytest.approx(expected, abs=1e-5), number
    assert np.array_equal(whole.values, kept)


@pytest.mark.parametrize(("step", "channel", "value"), [(0, 0, 31.0), (4199, 2, -1.1), (2000, 1, 2.1), (2100, 0, -10.5)])
def test_one_far_value_anywhere_is_found(step: int, channel: int, value: float) -> None:
    facts: Any = SimpleNamespace(limits=((0.0, 0.0, 0.0), (10.0, 1.0, 1.0)), series=None)
    found = block([7] * 600)
    found.values[:] = np.abs(found.values) % 1
    assert predictor.far_values(found, facts)[0].size == 0
    found.values[step, channel] = value
    rows, said = predictor.far_values(found, facts)
    assert rows.tolist() == [step // 7] and said.startswith(f"number {step // 7}:")


@pytest.mark.parametrize("kind", ["f4", "f8", "f2", "i2", "?"])
def test_numbers_of_a_file_are_left_as_they_are_and_missing_ones_have_one_bit_pattern(kind: str) -> None:
    stored = np.arange(6).reshape(3, 2).astype(kind)
    if stored.dtype.kind == "f":
        stored[1] = [np.nan, -np.nan]
    stored.flags.writeable = False
    made = cells.real(stored)
    assert made.dtype in (np.float32, np.float64) and np.array_equal(made, stored.astype(made.dtype), equal_nan=True)
    missing = made[np.isnan(made)]
    assert missing.tobytes() == np.full(len(missing), np.nan, made.dtype).tobytes()
