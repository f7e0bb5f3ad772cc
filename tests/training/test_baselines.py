"""What an accuracy is held against is what other programs compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from pipeline.data.series import offsets_of
from pipeline.data.store import Part, Store
from pipeline.training import baselines

ONE = torch.zeros(2), torch.ones(2)


def store(series: list[np.ndarray], labels: np.ndarray, equal: bool) -> Store:
    values = torch.from_numpy(np.stack(series) if equal else np.concatenate(series)).float()
    offsets = None if equal else torch.from_numpy(offsets_of(np.array([len(one) for one in series])))
    return Store(Part(values, torch.from_numpy(labels), torch.arange(len(series)), offsets), torch.device("cpu"), 0)


@pytest.mark.parametrize(("hits", "count", "low", "high"), [(8, 10, 0.4902, 0.9433), (0, 20, 0, 0.1611), (20, 20, 0.8389, 1)])
def test_the_interval_is_wilsons(hits: int, count: int, low: float, high: float) -> None:
    assert baselines.interval(hits, count) == pytest.approx((low, high), abs=1e-4)


def test_the_interval_holds_the_accuracy_itself_also_where_all_or_none_are_right() -> None:
    for count in range(1, 200):
        for hits in {0, 1, count // 2, count}:
            low, high = baselines.interval(hits, count)
            assert 0 <= low <= hits / count <= high <= 1, (hits, count)


def test_the_largest_class_is_that_of_the_training_split() -> None:
    assert baselines.largest_class(np.array([3, 9, 4]), np.array([0, 0, 0, 1])) == (1, 0.25)


@pytest.mark.parametrize("block", [baselines.BLOCK, 300])
def test_the_nearest_neighbour_is_that_of_scikit_learn(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "BLOCK", block)
    rng = np.random.default_rng(0)
    known, asked = rng.normal(size=(60, 9, 2)).astype(np.float32), rng.normal(size=(50, 9, 2)).astype(np.float32)
    labels, truth = rng.integers(0, 3, 60), rng.integers(0, 3, 50)
    wanted = KNeighborsClassifier(1).fit(known.reshape(60, -1), labels).score(asked.reshape(50, -1), truth)
    assert baselines.nearest_neighbour(store([*known], labels, True), store([*asked], truth, True), *ONE) == wanted


def test_series_of_unequal_lengths_are_compared_at_the_same_shares_of_their_time() -> None:
    rng = np.random.default_rng(1)
    known, asked = ([rng.normal(size=(steps, 2)) for steps in rng.integers(1, 30, count)] for count in (40, 30))
    labels, truth = rng.integers(0, 3, 40), rng.integers(0, 3, 30)
    steps = max(map(len, known))

    def at_shares(series: np.ndarray) -> np.ndarray:
        places = np.linspace(0, len(series) - 1, steps)
        return np.stack([np.interp(places, np.arange(len(series)), channel) for channel in series.T], 1).ravel()

    flat = [[at_shares(series) for series in side] for side in (known, asked)]
    wanted = KNeighborsClassifier(1).fit(flat[0], labels).score(flat[1], truth)
    assert baselines.nearest_neighbour(store(known, labels, False), store(asked, truth, False), *ONE) == wanted


def test_small_series_are_told_apart_beside_large_ones() -> None:
    known = [np.full((5, 2), 1e-3), np.full((5, 2), 2e-3), np.full((5, 2), 1e4)]
    asked = [np.full((5, 2), 1.1e-3), np.full((5, 2), 1.9e-3)]
    stores = store(known, np.array([0, 1, 2]), True), store(asked, np.array([0, 1]), True)
    assert baselines.nearest_neighbour(*stores, *ONE) == 1


def test_a_search_that_takes_too_long_is_left_out() -> None:
    assert baselines.is_searched(1293, 360, 64) and not baselines.is_searched(60_000, 10_000, 784)


def test_the_memory_of_a_search_does_not_grow_with_the_steps_of_a_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "BLOCK", 40_000)
    taken, real = [], Store.take

    def take(self: Store, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        found = real(self, rows)
        taken.append(found[0].numel())
        return found

    monkeypatch.setattr(Store, "take", take)
    rng = np.random.default_rng(2)
    known, asked = ([rng.normal(size=(steps, 2)) for steps in (9000, *[3] * 49)] for _ in range(2))
    labels = rng.integers(0, 3, 50)
    baselines.nearest_neighbour(store(known, labels, False), store(asked, labels, False), *ONE)
    assert max(taken) <= 40_000
