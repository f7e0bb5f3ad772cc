"""The profile of a file has what a recipe depends on, in any number of blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import config
from pipeline.data.inspection import profile
from pipeline.data.readers.arrays import npz


def differ(path: Path, values: np.ndarray, lengths: list[int] | None = None) -> float:
    """What the profile of series (n, T, C) says."""
    more: dict[str, Any] = {} if lengths is None else {"lengths": np.array(lengths)}
    np.savez(path / "some.npz", values=values, labels=np.arange(len(values)) % 2, **more)
    return profile.of_series("npz", path / "some.npz", config.Columns()).differ


def test_how_far_series_are_from_each_other_is_a_share_of_the_deviation_of_all_values(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    common, own = random.normal(size=(1, 50, 1)), random.normal(size=(40, 50, 1))
    assert differ(tmp_path, common + 0.05 * own) == pytest.approx(0.05, rel=0.3)
    assert differ(tmp_path, own) == pytest.approx(1, abs=0.02)
    moved = differ(tmp_path, 1e6 + common + 0.05 * own)
    assert moved == pytest.approx(differ(tmp_path, common + 0.05 * own), rel=1e-3), "whatever the values are far from"
    assert differ(tmp_path, np.concatenate([common + 0.05 * own, own], 2)) == pytest.approx(1, abs=0.02), "of one channel"


def test_what_is_missing_or_the_same_everywhere_is_left_out(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(1, 50, 1)) + 0.05 * random.normal(size=(40, 50, 1))
    whole = differ(tmp_path, values)
    values[:, ::7] = np.where(random.random((40, 8, 1)) < 0.3, np.nan, values[:, ::7])
    assert differ(tmp_path, values) == pytest.approx(whole, rel=0.1)
    assert differ(tmp_path, np.ones((4, 5, 1))) == 1.0


def test_blocks_say_what_the_whole_says_of_the_steps_that_all_series_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    values, lengths = random.normal(size=(40, 50, 2)), random.integers(20, 50, 40).tolist()
    whole = differ(tmp_path, values, lengths)
    monkeypatch.setattr(npz, "BLOCK", 4000)
    assert differ(tmp_path, values, lengths) == pytest.approx(whole, rel=1e-12)
    shortest = min(lengths)
    assert differ(tmp_path, values[:, :shortest]) == pytest.approx(whole, rel=1e-12)
