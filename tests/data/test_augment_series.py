"""What augment.py promises of series: cut, bent, scaled, made noisy and bereft of channels, each by a seed of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.config import Data
from pipeline.data.augment import SeriesWarp
from pipeline.data.batches import Batches
from pipeline.data.store import Part, Store
from pipeline.errors import DataError

CPU = torch.device("cpu")
ALL = {"jitter": 0.3, "scaling": 0.2, "time_warp": 0.5, "crop": 0.3, "channel_dropout": 0.3}


def warp(channels: int = 3, masked: tuple[int, ...] = (), **amounts: float) -> SeriesWarp:
    made: Any = SimpleNamespace(
        series=SimpleNamespace(channels=tuple(map(str, range(channels))), masked=masked),
        mean=tuple(10.0 * number for number in range(channels + len(masked))),
        std=tuple(1.0 + number for number in range(channels + len(masked))),
    )
    return SeriesWarp(made, Data(source="npz", path="x.npz", **amounts), CPU)


def seeds(count: int, seed: int = 0) -> Tensor:
    return warp().draw(count, torch.Generator().manual_seed(seed))


def ramps(count: int, steps: int, channels: int = 3) -> Tensor:
    """Series whose values say their steps."""
    return torch.arange(float(steps))[None, :, None].expand(count, steps, channels).contiguous()


def test_noise_has_the_deviation_that_is_said_of_each_channel_and_no_mean() -> None:
    zeros = torch.zeros(200, 100, 3)
    noise = warp(jitter=0.5)(zeros, seeds(200))
    torch.testing.assert_close(noise.std((0, 1)), torch.tensor([0.5, 1.0, 1.5]), rtol=0.02, atol=0)
    assert noise.mean((0, 1)).abs().max() < 0.02
    flat = noise.reshape(200, -1)
    assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 0.35, "each series has its own"
    assert len(torch.unique(flat, dim=0)) == 200
    neighbours = (noise[:, 1:] * noise[:, :-1]).mean((0, 1)) / noise.var((0, 1))
    assert neighbours.abs().max() < 0.03, "no step is like the next"


def test_noise_is_the_same_whatever_the_padding() -> None:
    short, long = (warp(jitter=1.0)(torch.zeros(4, steps, 3), seeds(4)) for steps in (5, 9))
    assert torch.equal(short, long[:, :5])


def test_each_channel_is_scaled_about_its_own_mean_by_one_factor_within_the_share() -> None:
    made = warp(scaling=0.25)
    values = made.mean + 2 + torch.rand(500, 7, 3, generator=torch.Generator().manual_seed(1))
    factors = (made(values, seeds(500)) - made.mean) / (values - made.mean)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors), rtol=1e-3, atol=1e-3)
    one = factors.median(1).values
    assert 0.75 <= one.min() < 0.77 and 1.23 < one.max() <= 1.2501
    assert torch.corrcoef(one.T).fill_diagonal_(0).abs().max() < 0.2, "a channel does not follow another"


@pytest.mark.parametrize("crop", [0.1, 0.5])
def test_a_window_is_stretched_over_the_length_at_one_speed(crop: float) -> None:
    read = warp(crop=crop)(ramps(400, 41), seeds(400))[:, :, 0]
    speeds = read.diff(dim=1)
    torch.testing.assert_close(speeds, speeds[:, :1].expand_as(speeds), rtol=1e-3, atol=1e-4)
    assert 1 - crop <= speeds.min() + 1e-4 and speeds.max() <= 1 + 1e-4
    assert speeds.min() < 1 - 0.95 * crop and speeds.max() > 1 - 0.05 * crop
    assert read.min() >= 0 and read.max() <= 40 and read[:, 0].max() > 0.5 * crop * 40


def test_time_never_runs_backwards_and_keeps_both_ends() -> None:
    read = warp(time_warp=0.6)(ramps(400, 51), seeds(400))[:, :, 0]
    speeds = read.diff(dim=1)
    assert speeds.min() > 0.25 * 0.9 and speeds.max() < 4 * 1.1  # 0.4 / 1.6 and 1.6 / 0.4 of each other
    assert speeds.min() < 0.5 and speeds.max() > 1.8
    torch.testing.assert_close(read[:, [0, -1]], torch.tensor([[0.0, 50.0]]).expand(400, 2), rtol=0, atol=1e-4)
    assert len(torch.unique(read, dim=0)) == 400


def test_what_is_not_asked_for_changes_nothing() -> None:
    values = torch.randn(5, 12, 3, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([12, 3, 1, 7, 2])
    values = values * (torch.arange(12) < lengths[:, None])[:, :, None]
    assert torch.equal(warp()(values, seeds(5), lengths), values)
    torch.testing.assert_close(warp(time_warp=1e-9)(values, seeds(5), lengths), values)


@pytest.mark.parametrize("name", [*ALL, "all"])
def test_a_series_is_changed_as_if_it_were_alone_and_its_padding_stays_zero(name: str) -> None:
    made = warp(**(ALL if name == "all" else {name: ALL[name]}))
    lengths = torch.tensor([9, 1, 2, 30, 17])
    values = torch.randn(5, 30, 3, generator=torch.Generator().manual_seed(2)) + 5
    values = values * (torch.arange(30) < lengths[:, None])[:, :, None]
    together = made(values, seeds(5), lengths)
    assert together.isfinite().all() and not torch.equal(together, values)
    for row, steps in enumerate(lengths.tolist()):
        alone = made(values[row : row + 1, :steps].contiguous(), seeds(5)[row : row + 1])
        assert torch.equal(together[row, :steps], alone[0]), f"{steps} steps"
        assert not together[row, steps:].any()


def test_channels_are_dropped_as_often_as_said_and_never_all() -> None:
    values = torch.full((4000, 2, 3), -7.0)
    made = warp(channel_dropout=0.3)
    changed = made(values, seeds(4000))
    gone = (changed == made.mean).all(1)  # (b, C)
    assert (gone | (changed == -7).all(1)).all(), "whole channels"
    assert abs(gone.float().mean() - 0.3) < 0.03 and gone.sum(1).max() == 2
    nearly_all = warp(channel_dropout=0.99)(values, seeds(4000)) == made.mean
    assert (nearly_all.all(1).sum(1) <= 2).all()


def test_a_single_channel_cannot_be_dropped() -> None:
    with pytest.raises(DataError, match=r"data\.channel_dropout.*only one; leave it out"):
        warp(1, channel_dropout=0.1)


def test_what_was_missing_keeps_its_filling_and_its_mark() -> None:
    values = torch.randn(50, 20, 2, generator=torch.Generator().manual_seed(3))
    absent = torch.rand(50, 20, generator=torch.Generator().manual_seed(4)) < 0.3
    values[..., 1][absent] = 99.0  # the filling
    given = torch.cat([values, absent.float()[..., None]], 2)
    noisy = warp(2, (1,), jitter=0.3, scaling=0.2)(given, seeds(50))
    assert torch.equal(noisy[..., 2], given[..., 2])
    assert (noisy[..., 1][absent] == 99).all() and (noisy[..., 1][~absent] != given[..., 1][~absent]).all()
    moved = warp(2, (1,), time_warp=0.5, crop=0.3)(given, seeds(50))
    marked = moved[..., 2] == 1
    assert ((moved[..., 2] == 0) | marked).all()
    assert (moved[..., 1][marked] == 99).all() and moved[..., 1][~marked].abs().max() < 10, "no filling enters a measurement"
    assert abs(marked.float().mean() - absent.float().mean()) < 0.05


def test_a_dropped_channel_counts_as_missing() -> None:
    given = torch.cat([torch.ones(300, 4, 2), torch.zeros(300, 4, 1)], 2)
    made = warp(2, (1,), channel_dropout=0.5)
    changed = made(given, seeds(300))
    gone = changed[..., 1] == made.mean[1]
    assert gone.any() and torch.equal(changed[..., 2], gone.float())


@pytest.mark.parametrize("unequal", [True, False])
@pytest.mark.parametrize("bucket", [True, False])
def test_each_example_has_its_own_seed_whatever_the_slices_and_another_in_every_epoch(unequal: bool, bucket: bool) -> None:
    random = torch.Generator().manual_seed(5)
    lengths = torch.randint(2, 15, (30,), generator=random) if unequal else torch.full((30,), 9)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    values = torch.randn(int(offsets[-1]), 3, generator=random)
    part = Part(values, torch.zeros(30).long(), torch.arange(30), offsets=offsets)
    if not unequal:
        part = Part(values.reshape(30, 9, 3), torch.zeros(30).long(), torch.arange(30))
    store = Store(part, CPU, 1)

    def epochs(slices: int, processes: int = 1, first: int = 0) -> list[tuple[int, bytes]]:
        each = slices // processes
        found = []
        made_by = [
            Batches(store, 12, slices, range(number * each, (number + 1) * each), 2, warp=warp(**ALL), bucket=bucket)
            for number in range(processes)
        ]
        for step in range(first, 6):
            for piece in (piece for batches in made_by for piece in batches.slices(step)):
                steps = [piece.values.shape[1]] * len(piece.rows) if piece.lengths is None else piece.lengths.tolist()
                for row, values, most in zip(piece.rows.tolist(), piece.values, steps, strict=True):
                    found.append((row, values[:most].contiguous().numpy().tobytes()))
        return found

    whole = epochs(1)
    for slices, processes in ((2, 1), (2, 2), (3, 3), (4, 1), (4, 2), (4, 4)):
        assert epochs(slices, processes) == whole, "bit for bit, whatever each process computes at a time"
    assert epochs(1, first=4) == whole[4 * 12 :], "a run that is resumed draws what it would have drawn"
    assert len(set(whole)) == 2 * 36, "another change in every epoch, and for the padding of the last batch"
