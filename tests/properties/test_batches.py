"""Each example stands once in an epoch, in an order that (seed, epoch) decide, on any number of processes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.batches import Batches
from pipeline.data.store import Part, Store
from pipeline.training.evaluation import block
from tests.properties.inputs import tried

CPU = torch.device("cpu")


@st.composite
def stores(draw: st.DrawFn) -> Store:
    """A part of one feature, in which the first step of a row is its number; of one or more files."""
    count, equal = draw(st.integers(1, 40)), draw(st.booleans())
    labels = torch.tensor(draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)))
    if equal:
        values = torch.arange(count)[:, None, None] + torch.zeros(count, 2, 1)
        offsets, starts = None, torch.arange(count)
    else:
        lengths = torch.tensor(draw(st.lists(st.integers(1, 6), min_size=count, max_size=count)))
        values = torch.repeat_interleave(torch.arange(count), lengths).float()[:, None]
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        starts = offsets[:-1]
    cuts = sorted(set(draw(st.lists(st.sampled_from(starts.tolist()), max_size=2))) - {0})
    first, *rest = torch.tensor_split(values, cuts)
    part = Part(first, labels, torch.arange(count), offsets=offsets, rest=tuple(rest))
    return Store(part, CPU, draw(st.sampled_from([0, 1])))


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, int, int]:
    """Batch, slices of it, and processes that share them."""
    each, processes, size = (draw(st.integers(1, 4)) for _ in range(3))
    slices = each * processes
    return size * slices, slices, processes


@given(
    store=stores(),
    layout=layouts(),
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 10**6),
    bucket=st.booleans(),
    balanced=st.booleans(),
)
def test_an_epoch_holds_each_row_once_whoever_computes_it_and_wherever_it_begins(
    store: Store, layout: tuple[int, int, int], seed: int, epoch: int, bucket: bool, balanced: bool
) -> None:
    batch, slices, processes = layout

    def made(mine: range) -> Batches:
        return Batches(store, batch, slices, mine, seed, bucket=bucket, balanced=balanced)

    alone = made(range(slices))
    each = slices // processes
    others = [made(range(each * number, each * (number + 1))) for number in range(processes)]
    steps = range(epoch * alone.steps_per_epoch, (epoch + 1) * alone.steps_per_epoch)
    assert alone.steps_per_epoch == -(-store.count // batch)
    rows: dict[int, list[int]] = {}
    for step in reversed(steps):  # no step needs the one before it
        rows[step] = []
        for process in others:
            for piece in process.slices(step):
                counted = piece.rows[piece.weights > 0].tolist()
                rows[step] += counted
                assert piece.padded == (len(counted) < len(piece.rows)) and len(piece.rows) == batch // slices
                assert piece.values[:, 0, 0].equal(piece.rows.float()) and piece.labels.equal(store.labels[piece.rows])
                if store.lengths is not None:
                    assert piece.lengths is not None and piece.lengths.equal(store.lengths[piece.rows])
                    assert piece.values.shape[1] == piece.lengths.max()
                    past = torch.arange(piece.values.shape[1]) >= piece.lengths[:, None]
                    assert not piece.values[:, :, 0][past].any()
        assert rows[step] == alone.rows(step) and len(rows[step]) == alone.count(step)
    taken = [row for step in steps for row in rows[step]]
    assert len(taken) == store.count
    if balanced:
        present = store.labels.unique()
        shares = torch.tensor(taken).new_tensor([int((store.labels[taken] == label).sum()) for label in present])
        assert shares.max() - shares.min() <= 1
    else:
        assert sorted(taken) == list(range(store.count))


@given(store=stores(), batch=st.integers(1, 9), seed=st.integers(0, 2**63 - 1), bucket=st.booleans(), data=st.data())
def test_the_order_is_a_function_of_the_seed_and_the_epoch(
    store: Store, batch: int, seed: int, bucket: bool, data: st.DataObject
) -> None:
    made, again = (Batches(store, batch, 1, range(1), seed, bucket=bucket) for _ in range(2))
    last = 3 * made.steps_per_epoch
    wanted = [made.rows(step) for step in range(last)]
    for step in data.draw(st.lists(st.integers(0, last - 1), min_size=1, max_size=12)):  # as resumed runs do
        assert again.rows(step) == wanted[step]


@tried(20)
@given(seeds=st.lists(st.integers(0, 2**63 - 1), min_size=8, max_size=8, unique=True), epochs=st.integers(0, 1000))
def test_other_seeds_and_other_epochs_are_other_orders(seeds: list[int], epochs: int) -> None:
    store = Store(Part(torch.zeros(30, 1, 1), torch.zeros(30, dtype=torch.int64), torch.arange(30)), CPU, 1)
    orders = {tuple(Batches(store, 30, 1, range(1), seed).rows(epoch)) for seed in seeds for epoch in range(epochs, epochs + 4)}
    assert len(orders) == 32


@given(count=st.integers(1, 60), size=st.integers(1, 20), processes=st.integers(1, 5))
def test_blocks_of_an_evaluation_hold_each_row_once_and_have_one_shape(count: int, size: int, processes: int) -> None:
    rows: list[int] = []
    for process in range(processes):
        for number in range(process, -(-count // size), processes):
            taken, real = block(count, size, number, CPU)
            assert len(taken) == size and 1 <= real <= size and int(taken.max()) < count
            rows += taken[:real].tolist()
    assert sorted(rows) == list(range(count))
