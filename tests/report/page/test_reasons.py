"""A report explains some examples, mistakes among them, and no more than there is time for."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.report.explain import gradients
from pipeline.report.page import reasons
from pipeline.report.page.shown import decoded, encoded

MANIFEST: Any = SimpleNamespace(mean=(120.0, 120.0, 120.0), series=None)


def items(count: int, steps: int = 5) -> dict[str, dict[str, Any]]:
    """Examples of the test split, every third of them a mistake, and one of the train split."""
    random = np.random.default_rng(0)
    found = {}
    for number in range(count):
        values = random.integers(0, 256, (steps, 3), dtype=np.uint8)
        found[f"test-{number}"] = {"steps": steps, "bytes": True, "values": encoded(values), "label": 1, "guess": 1}
        found[f"test-{number}"]["guess"] = 2 if number % 3 == 0 else 1
    found["train-0"] = {key: value for key, value in found["test-0"].items() if key != "guess"}
    return found


def test_no_other_example_is_begun_once_the_time_is_over(model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "SECONDS", 0.0)
    made = model().eval()
    assert len(reasons.of(made, MANIFEST, items(40))) == 1
    assert all(weight.requires_grad for weight in made.parameters()), "the model is left as it was"


def test_mistakes_and_right_answers_of_the_test_split_are_explained_in_turn(
    model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reasons, "SECONDS", 1000.0)
    found = reasons.of(model().eval(), MANIFEST, items(40))
    assert list(found)[:4] == ["test-0", "test-1", "test-3", "test-2"] and len(found) == reasons.MOST
    for name, reason in found.items():
        values = np.frombuffer(decoded(reason["values"]), "<f4")
        assert values.shape == (15,) and reason["class"] == items(40)[name]["guess"]
        assert reason["complete"] and float(values.sum()) == pytest.approx(reason["difference"], abs=gradients.TOLERANCE)
        assert reason["gone"] == [0, 1, 2, 3, 4, 5]
        assert {len(reason[key]) for key in ("falling", "random", "rising")} == {6}


def test_long_examples_are_explained_as_long_as_there_is_room(
    model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reasons, "SECONDS", 1000.0)
    assert len(reasons.of(model().eval(), MANIFEST, items(5, steps=reasons.WORK // reasons.EACH // 2))) == 2
    assert reasons.of(model().eval(), MANIFEST, items(5, steps=reasons.WORK // reasons.EACH + 1)) == {}
