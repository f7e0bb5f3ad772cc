"""What batches.py promises: every example once an epoch, in an order that only (seed, epoch) decides."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config import Data
from pipeline.data.augment import Shift
from pipeline.data.batches import Batches, Slice, mix
from pipeline.data.manifest import Manifest
from pipeline.data.preparation import image_parts
from pipeline.data.preparation.folder import prepare
from pipeline.data.store import Part, Store, resident_limit, stores
from pipeline.training.evaluation import block

CPU = torch.device("cpu")
HEIGHT, WIDTH = 5, 4
VIEWS = ("rows", "columns", "pixels", "permuted_pixels")
MakePart, MakeBatches = Callable[..., Part], Callable[..., Batches]


def real(slices: list[Slice]) -> list[int]:
    """The rows that count, in order."""
    return [row for part in slices for row, weight in zip(part.rows.tolist(), part.weights.tolist(), strict=True) if weight]


@pytest.mark.parametrize(("count", "batch"), [(48, 12), (47, 12), (37, 12), (49, 12), (5, 12), (1, 12), (12, 12)])
@pytest.mark.parametrize("slices", [1, 2, 3, 4])
def test_an_epoch_holds_each_row_exactly_once(batches: MakeBatches, count: int, batch: int, slices: int) -> None:
    made = batches(count, batch, slices)
    assert made.steps_per_epoch == -(-count // batch)
    for epoch in (0, 1, 2):
        rows = []
        for step in range(epoch * made.steps_per_epoch, (epoch + 1) * made.steps_per_epoch):
            parts = list(made.slices(step))
            assert [part.number for part in parts] == list(range(slices))
            assert {len(part.rows) for part in parts} == {len(part.weights) for part in parts} == {batch // slices}
            assert set(torch.cat([part.weights for part in parts]).tolist()) <= {0.0, 1.0}
            assert real(parts) == made.rows(step) and len(real(parts)) == made.count(step)
            rows += real(parts)
        assert sorted(rows) == list(range(count))


def test_what_a_slice_holds_is_what_its_rows_name(batches: MakeBatches, part: MakePart) -> None:
    data, made = part(37), batches(37, 12, 3)
    for step in range(8):
        for piece in made.slices(step):
            assert torch.equal(piece.values, data.values[piece.rows]) and torch.equal(piece.labels, data.labels[piece.rows])


@pytest.mark.parametrize("slices", [2, 3, 4, 12])
def test_the_order_does_not_depend_on_the_number_of_slices_or_processes(part: MakePart, slices: int) -> None:
    store = Store(part(100), CPU, 1)
    whole = Batches(store, 12, 1, range(1), seed=3)
    processes = [Batches(store, 12, slices, range(number, number + 1), seed=3) for number in range(slices)]
    for step in range(20):
        together = [piece for process in processes for piece in process.slices(step)]
        (alone,) = whole.slices(step)
        for name in ("rows", "values", "labels", "weights"):
            assert torch.equal(torch.cat([getattr(piece, name) for piece in together]), getattr(alone, name))


def test_the_order_is_another_in_every_epoch_and_for_every_seed(batches: MakeBatches) -> None:
    def orders(seed: int) -> list[tuple[int, ...]]:
        made = batches(60, 20, seed=seed)
        return [tuple(row for step in range(3) for row in made.rows(3 * epoch + step)) for epoch in range(4)]

    assert orders(1) == orders(1)
    assert len({*orders(1), *orders(2), tuple(range(60))}) == 9


def test_the_order_is_the_one_that_older_runs_had(batches: MakeBatches) -> None:
    assert batches(10, 10).rows(0) == GOLDEN
    assert [mix(0), mix(0, 0), mix(1, 2, 3), mix(3, 2, 1)] == MIXED


GOLDEN = [2, 1, 7, 8, 6, 0, 3, 5, 9, 4]
MIXED = [8147104208329303767, 6017775124710473527, 7510213797696614745, 7716143592125757362]


def test_seeds_that_are_mixed_do_not_meet() -> None:
    seeds = {mix(*numbers) for size in (1, 2, 3) for numbers in product(range(12), repeat=size)}
    assert len(seeds) == 12 + 12**2 + 12**3
    assert all(0 <= seed < 2**63 for seed in seeds)
    ones = sum(seed.bit_count() for seed in seeds) / len(seeds)
    assert 31 < ones < 32, "half of 63 bits"


@pytest.mark.parametrize("first", [1, 3, 4, 7, 11])
def test_resuming_at_any_step_gives_the_batch_of_a_run_that_came_there(part: MakePart, first: int) -> None:
    store = Store(part(45, steps=HEIGHT, features=WIDTH), CPU, 1)

    def make() -> Batches:
        return Batches(store, 12, 2, range(2), 5, Shift(manifest("rows"), 1, CPU))

    went = make()
    passed = [list(went.slices(step)) for step in range(13)]
    resumed = make()
    for step in (first, first + 1, 0, first):  # forth, and back
        for piece, before in zip(resumed.slices(step), passed[step], strict=True):
            assert torch.equal(piece.rows, before.rows) and torch.equal(piece.values, before.values)


def test_a_batch_does_not_depend_on_or_change_the_global_random_state(batches: MakeBatches) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = batches(50, 10).rows(3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert batches(50, 10).rows(3) == first


def manifest(view: str, low: int = 9) -> Any:
    order, *_ = image_parts.view(Data(view=view), HEIGHT, WIDTH)
    return Manifest.model_construct(
        image=(HEIGHT, WIDTH), order=None if order is None else tuple(order.tolist()), value_range=(low, 255)
    )


def moved(image: np.ndarray, down: int, right: int, background: int) -> np.ndarray:
    """The image, shifted the slow way."""
    result = np.full_like(image, background)
    for row, column in np.ndindex(image.shape):
        if 0 <= row + down < HEIGHT and 0 <= column + right < WIDTH:
            result[row + down, column + right] = image[row, column]
    return result


def sequence(view: str, images: np.ndarray) -> Tensor:
    order, length, features = image_parts.view(Data(view=view), HEIGHT, WIDTH)
    flat = images.reshape(len(images), -1)
    return torch.from_numpy(flat if order is None else flat[:, order]).reshape(-1, length, features)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("pixels", [1, 2, 6])
def test_a_shift_in_any_view_is_the_shift_of_the_image(view: str, pixels: int) -> None:
    images = np.random.default_rng(0).integers(10, 256, (3, HEIGHT, WIDTH), dtype=np.uint8)
    store = Store(Part(sequence(view, images), torch.tensor([5, 6, 7]), torch.arange(3)), CPU, 1)
    shift = Shift(manifest(view), pixels, CPU)
    moves = list(product(range(-pixels, pixels + 1), repeat=2))
    assert shift.choices == len(moves)
    rows = torch.tensor([0, 2, 1])
    for number, (down, right) in enumerate(moves):
        values, labels = shift.take(store, rows, torch.tensor([number, 0, number]))
        expected = [moved(images[0], down, right, 9), moved(images[2], *moves[0], 9), moved(images[1], down, right, 9)]
        assert torch.equal(values, sequence(view, np.stack(expected))) and values.dtype == torch.uint8
        assert labels.tolist() == [5, 7, 6]


@pytest.mark.parametrize("view", VIEWS)
def test_augmentation_shifts_each_example_by_its_own_draw_whatever_the_slices(view: str) -> None:
    count = 30
    images = np.random.default_rng(1).integers(10, 256, (count, HEIGHT, WIDTH), dtype=np.uint8)
    store = Store(Part(sequence(view, images), torch.zeros(count, dtype=torch.int64), torch.arange(count)), CPU, 1)
    shift = Shift(manifest(view), 1, CPU)
    choices = [sequence(view, np.stack([moved(image, *move, 9) for image in images])) for move in product((-1, 0, 1), repeat=2)]

    def epoch(slices: int) -> tuple[Tensor, Tensor]:
        made = Batches(store, 12, slices, range(slices), seed=2, shift=shift)
        pieces = [piece for step in range(30) for piece in made.slices(step)]
        return torch.cat([piece.rows for piece in pieces]), torch.cat([piece.values for piece in pieces])

    rows, values = epoch(1)
    drawn = [
        next(i for i, choice in enumerate(choices) if torch.equal(value, choice[row]))
        for row, value in zip(rows, values, strict=True)
    ]
    assert np.bincount(drawn, minlength=9).min() > len(drawn) / 18, "each of the nine shifts occurs about as often"
    assert len({tuple(drawn[start : start + 12]) for start in range(0, len(drawn), 12)}) == 30, "other draws at every step"
    for slices in (2, 3, 4):
        assert torch.equal(epoch(slices)[0], rows) and torch.equal(epoch(slices)[1], values)


def test_a_shift_does_not_change_the_order(part: MakePart) -> None:
    store = Store(part(40, steps=HEIGHT, features=WIDTH), CPU, 1)
    plain, shifted = (Batches(store, 8, 1, range(1), 4, shift) for shift in (None, Shift(manifest("rows"), 2, CPU)))
    assert [plain.rows(step) for step in range(15)] == [shifted.rows(step) for step in range(15)]


@pytest.mark.parametrize("shift", [0, 1])
def test_a_store_that_is_not_resident_gives_the_same_batches(tmp_path: Path, shift: int) -> None:
    prepared = prepare(Data(prepared=str(tmp_path)))
    stores = [Store(prepared.part("train"), CPU, limit) for limit in (4096, 0)]
    assert [store.resident for store in stores] == [True, False]
    _same(stores, prepared.manifest, shift)


def test_on_a_cpu_each_split_of_up_to_4096_mb_is_held_by_default_and_else_what_was_asked_for(part: MakePart) -> None:
    assert resident_limit("auto", CPU) == 4096 and resident_limit(17, CPU) == 17
    parts: Any = {"train": part(40), "valid": part(40)}
    assert [store.resident for store in stores(parts, CPU, "auto", 1).values()] == [True, True]


def test_a_split_that_is_not_held_is_said_with_its_size_and_the_limit(part: MakePart) -> None:
    held, far = (list(Batches(Store(part(40), CPU, limit), 8, 1, range(1), 4).remarks()) for limit in (1, 0))
    assert held == []
    assert far == ["the training split is read batch by batch: it has 1 MB, and data.resident_limit_mb is 0 here"]


def ragged(count: int = 130, channels: int = 2, shards: int = 1) -> tuple[Part, list[Tensor]]:
    """A part of series of 1 to 40 steps in so many shards, and the series."""
    random = torch.Generator().manual_seed(4)
    lengths = torch.randint(1, 41, (count,), generator=random)
    series = [torch.randn(int(steps), channels, generator=random) for steps in lengths]
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    first, *rest = (torch.cat(series[piece[0] : piece[-1] + 1]) for piece in torch.arange(count).chunk(shards))
    return Part(first, torch.arange(count) % 3, torch.arange(count), offsets, tuple(rest)), series


@pytest.mark.parametrize("shards", [1, 4])
def test_series_of_unequal_lengths_are_padded_with_zeros_to_the_longest_of_those_taken(shards: int) -> None:
    part, series = ragged(shards=shards)
    store = Store(part, CPU, 1)
    for rows in (torch.tensor([5]), torch.tensor([129, 0, 64, 64, 31]), torch.randperm(130)):
        values, labels, lengths = store.take(rows)
        assert lengths is not None and labels.tolist() == (rows % 3).tolist()
        assert lengths.tolist() == [len(series[row]) for row in rows] and values.shape[1] == lengths.max()
        for row, padded, length in zip(rows.tolist(), values, lengths.tolist(), strict=True):
            assert torch.equal(padded[:length], series[row]) and not padded[length:].any()


@pytest.mark.parametrize(("batch", "slices"), [(8, 1), (8, 4), (64, 2), (200, 2)])
def test_buckets_hold_each_row_once_an_epoch_and_leave_the_incomplete_batch_last(batch: int, slices: int) -> None:
    store = Store(ragged()[0], CPU, 1)
    made = Batches(store, batch, slices, range(slices), 3, bucket=True)
    epochs = []
    for epoch in range(3):
        steps = range(epoch * made.steps_per_epoch, (epoch + 1) * made.steps_per_epoch)
        rows = [made.rows(step) for step in steps]
        assert sorted(row for one in rows for row in one) == list(range(130))
        assert [len(one) for one in rows] == [made.count(step) for step in steps]
        for step, one in zip(steps, rows, strict=True):
            assert real(list(made.slices(step))) == one
        epochs.append([frozenset(one) for one in rows])
    if made.steps_per_epoch > 1:
        assert not set(epochs[0]) & set(epochs[1]), "each epoch has batches of its own, the last one too"


def test_buckets_are_of_similar_lengths_in_no_order_and_the_padding_saved_is_what_the_slices_have() -> None:
    part, series = ragged(1000)
    store = Store(part, CPU, 1)
    share = {}
    for bucket in (False, True):
        made = Batches(store, 20, 2, range(2), 3, bucket=bucket)
        slices = [piece for step in range(50) for piece in made.slices(step)]
        computed = sum(piece.values.shape[0] * piece.values.shape[1] for piece in slices)
        share[bucket] = 1 - sum(map(len, series)) / computed
        assert made.padding(bucket) == pytest.approx(share[bucket])
        if bucket:
            longest = [piece.values.shape[1] for piece in slices[::2]]
            assert longest not in (sorted(longest), sorted(longest, reverse=True))
    assert share[True] < 0.05 < 0.3 < share[False]


@pytest.mark.parametrize("bucket", [False, True])
def test_slices_of_unequal_lengths_are_the_same_on_any_number_of_processes_and_after_a_resume(bucket: bool) -> None:
    part, _ = ragged()
    alone = Batches(Store(part, CPU, 1), 16, 4, range(4), 3, bucket=bucket)
    for processes in (2, 4):
        each = 4 // processes
        others = [
            Batches(Store(part, CPU, 1), 16, 4, range(each * n, each * (n + 1)), 3, bucket=bucket) for n in range(processes)
        ]
        for step in (13, 0, 8, 9, 20):  # the others begin in the middle, as resumed runs do
            together = [piece for made in others for piece in made.slices(step)]
            for piece, wanted in zip(together, alone.slices(step), strict=True):
                assert piece.number == wanted.number and torch.equal(piece.rows, wanted.rows)
                assert torch.equal(piece.values, wanted.values) and torch.equal(piece.lengths, wanted.lengths)


def test_buckets_change_nothing_where_all_lengths_are_equal(part: MakePart) -> None:
    store = Store(part(50), CPU, 1)
    plain, bucket = (Batches(store, 8, 1, range(1), 2, bucket=bucket) for bucket in (False, True))
    assert [plain.rows(step) for step in range(20)] == [bucket.rows(step) for step in range(20)]
    assert bucket.padding(True) == bucket.padding(False) == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT TESTED: needs a GPU")
@pytest.mark.parametrize("shift", [0, 1])
def test_a_store_on_the_gpu_gives_the_batches_of_one_on_the_cpu(tmp_path: Path, shift: int) -> None:
    prepared = prepare(Data(prepared=str(tmp_path)))
    gpu, part = torch.device("cuda"), prepared.part("train")
    stores = [Store(part, gpu, 4096), Store(part, gpu, 0), Store(part, CPU, 4096)]
    assert [store.values.device.type for store in stores] == ["cuda", "cpu", "cpu"]
    _same(stores, prepared.manifest, shift)


def _same(stores: list[Store], manifest: Any, shift: int) -> None:
    every = [Batches(s, 96, 2, range(2), 0, Shift(manifest, shift, s.home) if shift else None) for s in stores]
    for step in (0, 1, every[0].steps_per_epoch - 1, every[0].steps_per_epoch):
        for pieces in zip(*(made.slices(step) for made in every), strict=True):
            for name in ("rows", "values", "labels", "weights"):
                first, *others = (getattr(piece, name).cpu() for piece in pieces)
                assert all(torch.equal(first, other) for other in others)
            assert {piece.values.device.type for piece in pieces} == {store.device.type for store in stores}


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 30])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_blocks_of_all_processes_hold_each_row_once_and_are_of_one_shape(count: int, processes: int) -> None:
    rows: list[int] = []
    for process in range(processes):
        for number in range(process, -(-count // 10), processes):
            these, filled = block(count, 10, number, CPU)
            assert len(these) == 10 and 1 <= filled <= 10 and these.max() < count
            rows += these[:filled].tolist()
    assert sorted(rows) == list(range(count))


@pytest.mark.parametrize("bucket", [False, True])
def test_balanced_sampling_holds_each_class_equally_often_and_takes_all_of_a_class_before_one_again(bucket: bool) -> None:
    labels = torch.tensor([0] * 40 + [2] * 7 + [3] * 3)
    lengths = torch.randint(1, 9, (50,), generator=torch.Generator().manual_seed(0))
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    store = Store(Part(torch.zeros(int(offsets[-1]), 2), labels, torch.arange(50), offsets=offsets), CPU, 1)

    def epoch(number: int) -> list[int]:
        made = Batches(store, 12, 1, range(1), 3, bucket=bucket, balanced=True)
        return [row for step in range(5 * number, 5 * number + 5) for row in made.rows(step)]

    rows = torch.tensor(epoch(0))
    assert labels[rows].bincount().tolist() == [16, 0, 17, 17]
    often = rows.bincount(minlength=50)
    assert often[:40].max() == 1 and set(often[40:47].tolist()) == {2, 3} and set(often[47:].tolist()) == {5, 6}
    seen = torch.tensor([epoch(number) for number in range(12)])  # (12, 50)
    assert len({tuple(sorted(rows)) for rows in seen.tolist()}) == 12, "other rows of the large class, and others of the rare"
    assert set(seen.flatten().tolist()) == set(range(50)), "each row has its turn"
    firsts = [labels[rows].bincount(minlength=4)[[0, 2, 3]] for rows in seen[:, :12]]
    assert bucket or min(int(counts.min()) for counts in firsts) > 0, "classes are mixed"
    for slices in (2, 3):
        processes = [Batches(store, 12, slices, range(n, n + 1), 3, bucket=bucket, balanced=True) for n in range(slices)]
        taken = [torch.cat([piece.rows for made in processes for piece in made.slices(step)]) for step in range(4)]
        assert torch.cat(taken).tolist() == epoch(0)[:48], "whatever the number of processes"
    padding = Batches(store, 12, 1, range(1), 3, balanced=True).padding(False)
    assert 0 < padding < 1
