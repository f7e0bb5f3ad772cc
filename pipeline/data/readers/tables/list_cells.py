"""Cells that hold lists -> values: a row per series, and in it a list of steps for each channel, or one list of lists.

Shapes: n rows, S steps of all of them, F channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from pipeline.data.readers import cells, limits
from pipeline.data.readers.arrays import axes
from pipeline.data.readers.tables.rows import Rows
from pipeline.data.readers.tables.table import Table, Wanted, blocks
from pipeline.data.series import Array, Columns, cuts, offsets_of, place
from pipeline.errors import quoted, some

BLOCK = 32 * 2**20  # bytes of values at a time


def is_nested(kind: Any, deep: bool = False) -> bool:
    """Whether cells of this kind are lists of numbers, or with ``deep`` lists of lists of them."""
    if not isinstance(kind, pl.List | pl.Array):
        return False
    return not deep or is_nested(kind.inner)


def columns_of(table: Table, columns: Columns, others: dict[str, int]) -> dict[str, int]:
    """The columns of lists that hold the channels. Raises DataError for one of another kind among ``others``."""
    named = [name for name in columns.channels if name in others]
    nested = [name for name in others if others[name] in table.nested]
    deep = [name for name in nested if is_nested(table.nested[others[name]], True)]
    if columns.channels and not (deep and len(nested) == 1):
        cells.choose(table.path, tuple(others), columns)  # refuses an unknown name
    kept = named or (nested if columns.channels else list(others))
    for name in kept:
        option = f"{columns.option('channels')}=[{', '.join(nested)}]"
        if name not in nested:
            problem = f"holds one value a row, where {nested[0]!r} holds a list of steps; name the channels: {option}"
            raise cells.fault(table.path, f"column {quoted(name)}", problem)
        if deep and len(kept) > 1:
            problem = (
                f"holds lists of lists, all channels in one; leave the others out: {columns.option('channels')}=[{deep[0]}]"
            )
            raise cells.fault(table.path, f"column {quoted(deep[0])}", problem)
        leaf: Any = table.nested[others[name]]
        while is_nested(leaf):
            leaf = leaf.inner
        if not (leaf.is_numeric() or isinstance(leaf, pl.Boolean | pl.Null)):
            problem = f"holds {table.nested[others[name]]}, no lists of numbers; convert it, or name the channels: {option}"
            if isinstance(leaf, pl.Struct):
                made = table.path.with_name(f"{table.path.stem}_steps.parquet")
                typed = f"p.read_parquet('{table.path}').explode('{name}').unnest('{name}').write_parquet('{made}')"
                problem = (
                    f'holds a row of channels for each step; type: python -c "import polars as p; {typed}"; then use {made}'
                )
            raise cells.fault(table.path, f"column {quoted(name)}", problem)
    return {name: others[name] for name in kept}


def read(table: Table, wanted: Wanted, names: tuple[str, ...]) -> Iterator[tuple[Rows, Array, Array, tuple[str, ...]]]:
    """Rows of a table, the values (S, F) of their series, the steps (n) of each, and the channels' names.

    Raises DataError, which names row and column, for a cell without steps and for lists that do not go together.
    """
    deep = is_nested(table.nested[wanted.numbers[0]], True)
    width: int | None = None
    for rows in blocks(table, wanted):
        lengths, width = _lengths(table, wanted, rows, width) if deep else (_equal_lengths(table, wanted, rows), len(names))
        if (large := lengths * width * 8 > limits.ONE).any():
            raise table.fault(rows.places[large.argmax()], wanted.numbers[0], f"takes over {limits.ONE:,} bytes: cut it")
        channels, chosen = names, [*range(width)]
        if deep:
            every = cells.numbered(width)
            known = wanted.columns if not {*wanted.columns.channels} <= {*names} else Columns()
            chosen = cells.choose(table.path, every, known)
            channels = tuple(every[number] for number in chosen)
        for piece in cuts(lengths * width * 8, BLOCK):
            own = lengths[piece]
            values = _values([column[piece] for column in rows.lists], own, width, deep, axes.first(wanted.columns))
            values = np.ascontiguousarray(values[:, chosen])
            part = _part(rows, piece)
            if found := cells.put_right(values):
                number = int(np.searchsorted(offsets_of(own), found[0], side="right")) - 1
                step = place("step", found[0] - offsets_of(own)[number])
                problem = f"{step}, channel {channels[found[1]]!r} {cells.INFINITE}"
                raise table.fault(part.places[number], wanted.numbers[0 if deep else found[1]], problem)
            yield part, values, own, channels


def _part(rows: Rows, piece: slice) -> Rows:
    """Some rows without their lists, with a head for each."""
    size = piece.stop - piece.start
    words = {role: rows.words(role)[piece] for role in rows.heads.columns if role != "first"}
    heads = pl.DataFrame([pl.Series("first", range(size), pl.Int64), *(word.alias(role) for role, word in words.items())])
    return Rows(rows.places[piece], heads, None if rows.time is None else rows.time[piece], np.empty((size, 0)))


def _refuse_empty(table: Table, rows: Rows, column: int, lengths: pl.Series) -> None:
    absent = (lengths.fill_null(0) == 0).to_numpy()
    if absent.any():
        problem = "holds no list, or one without a step; fill it in, or leave the row out"
        raise table.fault(rows.places[absent.argmax()], column, problem)


def _equal_lengths(table: Table, wanted: Wanted, rows: Rows) -> Array:
    """(n) the steps of each series, which all its cells must have."""
    first: Array | None = None
    for column, stored in zip(wanted.numbers, rows.lists, strict=True):
        counts = stored.list.len()
        _refuse_empty(table, rows, column, counts)
        lengths: Array = counts.to_numpy().astype(np.int64)
        first = lengths if first is None else first
        if (other := lengths != first).any():
            row = int(other.argmax())
            said = f"holds {lengths[row]} steps, but column {table.names[wanted.numbers[0]]!r} of this row holds {first[row]}"
            raise table.fault(rows.places[row], column, f"{said}; give all channels of a series the same")
    assert first is not None
    return first


def _lengths(table: Table, wanted: Wanted, rows: Rows, width: int | None) -> tuple[Array, int]:
    """(n) the steps of each list of lists, and the channels, which are as many in each."""
    (column,), (stored,) = wanted.numbers, rows.lists
    outer = stored.list.len()
    _refuse_empty(table, rows, column, outer)
    counts: Array = outer.to_numpy().astype(np.int64)
    begins = offsets_of(counts)
    inner: Array = stored.explode().list.len().fill_null(0).to_numpy().astype(np.int64)
    steps, channels = np.minimum.reduceat(inner, begins[:-1]), counts
    uneven = steps != np.maximum.reduceat(inner, begins[:-1])
    if not axes.first(wanted.columns):
        steps, channels = counts, steps
    width = int(channels[0]) if width is None else width
    if (wrong := uneven | (channels != width) | (steps < 1) | (width < 1)).any():
        row = int(wrong.argmax())
        sizes = sorted({*inner[begins[row] : begins[row + 1]].tolist()})
        said = f"{counts[row]} lists of {some(list(map(str, sizes)))} values, but a series has {width} channels"
        raise table.fault(rows.places[row], column, f"{said}; give all the same" + axes.hint(wanted.columns))
    return steps, width


def _values(lists: list[pl.Series], lengths: Array, width: int, deep: bool, first: bool) -> Array:
    """(S, F) the values of series of ``lengths`` (n); with ``first`` lists of lists hold a list a channel."""
    flat = [column.explode().explode() if deep else column.explode() for column in lists]
    kind = np.float32 if all(column.dtype == pl.Float32 for column in flat) else np.float64
    wanted = pl.Float32 if kind == np.float32 else pl.Float64
    made = [column.cast(wanted).fill_null(float("nan")).to_numpy() for column in flat]
    if not deep:
        return np.stack(made, 1)
    if not first:
        values: Array = made[0].reshape(-1, width)
        return values
    begins = offsets_of(lengths * width)
    pieces = [made[0][begin : begin + length * width] for begin, length in zip(begins, lengths, strict=False)]
    return np.concatenate([piece.reshape(width, -1).T for piece in pieces])


def doubt(table: Table, wanted: Wanted, lengths: Array, width: int) -> tuple[str, ...]:
    """A warning about lists of lists that look as if they were the other way round."""
    if not is_nested(table.nested[wanted.numbers[0]], True):
        return ()
    return axes.doubt(table.path, table.names[wanted.numbers[0]], (int(lengths.max()), width), wanted.columns)
