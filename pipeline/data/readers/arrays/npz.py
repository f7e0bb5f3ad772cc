"""Series in an .npz file, in one of two forms.

Stacked, if there is an array ``values``, or ``X`` with labels: (N, T, F) or (N, T) for series of one length, or ended by
steps of NaN alone; (N, T, F) with ``lengths`` (N) for series padded at their end; (S, F) or (S) end to end with ``offsets``
(N + 1) or ``lengths`` (N).

One array a series, (T, F) or (T), under a key of its own; the order of the keys is that of the series.

In both forms ``labels`` (N), ``ids``, ``groups`` and ``times`` say more of the series, and ``channels`` (F) names the
channels. The configuration may name the first four otherwise. The usual names are also read without their final s.
Where it says that channels come first, (N, F, T) stands for (N, T, F), and (F, T) for (T, F).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.data.readers import cells, limits
from pipeline.data.readers.arrays import axes
from pipeline.data.readers.arrays.archive import Archive
from pipeline.data.readers.arrays.described import Described, described, find_roles
from pipeline.data.series import Array, Columns, Series, cuts, offsets_of, place
from pipeline.errors import DataError, some

BLOCK = 64 * 2**20  # bytes of values and words read at a time
WORDS = 200  # bytes that the words of a series take, about


def read(path: Path, columns: Columns) -> Iterator[Series]:
    """The series of an .npz file, in blocks. Raises DataError, which names array and series, for what is no such file."""
    with Archive(path) as archive:
        values = axes.values_of(archive, columns)
        roles = find_roles(archive, columns, values is not None)
        yield from _keyed(archive, columns, roles) if values is None else _stacked(archive, values, columns, roles)


def _stacked(archive: Archive, name: str, columns: Columns, roles: dict[str, str]) -> Iterator[Series]:
    header = archive.header(name)
    _check_numbers(archive, name, header.dtype.kind)
    shape = header.shape
    counted = [word for word in ("offsets", "lengths") if word in archive.names]
    packed = "offsets" in counted or (bool(counted) and len(shape) < 3)
    if 0 in shape or len(counted) > 1 or len(shape) not in ((1, 2) if packed else (2, 3)):
        said = f"{name} of shape {shape}" + "".join(f" with {word}" for word in counted)
        raise archive.fault(
            name, f"{said} are no series; give (N, T), (N, T, F), or (S, F) with offsets (N + 1) or lengths (N)"
        )
    exchanged = axes.first(columns) and len(shape) > 1 + (not packed)
    if exchanged and packed:
        raise axes.refuse_packed(archive, name)
    if exchanged:
        shape = (shape[0], shape[2], shape[1])
    _refuse_many(archive, counted[0] if counted else name, archive.header(counted[0]).shape if counted else shape[:1])
    lengths = _lengths(archive, counted[0], shape, columns) if counted else np.full(shape[0], shape[1])
    rows = lengths if packed else np.ones(len(lengths), np.int64)  # of the array, for each series
    row = math.prod(shape[1:]) * cells.kind_of(header.dtype).itemsize  # bytes
    if int(rows.max()) * row > limits.ONE:
        problem = f"{place('series', int(rows.argmax()))} takes {int(rows.max()) * row:,} bytes; the limit is {limits.ONE:,}"
        raise archive.fault(name, f"{problem}: cut it")
    before_channels = 1 if packed else 2  # dimensions: (S, F) or (N, T, F)
    facts = described(archive, columns, roles, len(lengths), shape[-1] if len(shape) > before_channels else 1)
    doubts = axes.doubt(archive.path, name, shape, columns) if len(shape) == 3 and not counted else ()
    pieces = list(cuts(rows * row + WORDS, BLOCK))
    blocks = archive.blocks(name, (int(rows[piece].sum()) for piece in pieces))
    for piece, block in zip(pieces, blocks, strict=True):
        own = lengths[piece]
        if exchanged:
            block = block.swapaxes(1, 2)
        if not counted:
            own = _ends(block, archive, name, piece.start)
        if not packed and (own < shape[1]).any():
            block = block[np.arange(shape[1]) < own[:, None]]
        yield replace(_series(block, own, piece, facts), doubts=doubts)
    facts.refuse_repeated(pieces)


def _ends(block: Array, archive: Archive, name: str, first: int) -> Array:
    """(N) the steps of (N, T) or (N, T, F) up to the last with a value: as in a wide table, what is missing behind is no step.

    ``first``: the number of the first series, for the message about one without values.
    """
    steps = block.shape[1]
    if block.dtype.kind != "f" or not np.isnan(block[:, -1]).reshape(len(block), -1).all(1).any():
        return np.full(len(block), steps)
    there: Array = np.any(~np.isnan(block).reshape(len(block), steps, -1), axis=2)
    empty = np.flatnonzero(there.sum(1) == 0)
    if len(empty):
        raise archive.fault(name, f"{place('series', first + int(empty[0]))} has no value; leave it out")
    ends: Array = steps - there[:, ::-1].argmax(1)
    return ends


def _keyed(archive: Archive, columns: Columns, roles: dict[str, str]) -> Iterator[Series]:
    keys = tuple(name for name in archive.names if name not in (*roles.values(), "channels"))
    if not keys:
        raise DataError(
            f"{archive.path}: no series: give an array 'values', or one array a series; there are: {some(archive.names)}"
        )
    headers = [archive.header(key) for key in keys]
    channel = 0 if axes.first(columns) else 1
    width = headers[0].shape[channel] if len(headers[0].shape) == 2 else 1
    for key, header in zip(keys, headers, strict=True):
        _check_numbers(archive, key, header.dtype.kind)
        if len(header.shape) not in (1, 2) or 0 in header.shape:
            said = f"is of shape {header.shape}, but a series is (T, F) or (T)"
            raise archive.fault(key, f"{said}; an array of all series: {columns.option('values')}={key}")
        if (header.shape[channel] if len(header.shape) == 2 else 1) != width:
            problem = f"is of shape {header.shape}, but {keys[0]!r} has {width} channels; give all series the same"
            raise archive.fault(key, problem + axes.hint(columns))
    facts = described(archive, columns, roles, len(keys), width, keys)
    kind = cells.kind_of(*(header.dtype for header in headers))
    longest = max(headers, key=lambda header: header.shape[0])  # in steps
    doubts = () if len(longest.shape) < 2 else axes.doubt(archive.path, keys[headers.index(longest)], longest.shape, columns)
    pieces = list(cuts(np.array([header.size for header in headers]) + WORDS, BLOCK))
    for piece in pieces:
        arrays = (archive.array(key) for key in keys[piece])
        stored = [cells.real((one if channel else one.T).reshape(-1, width), kind) for one in arrays]
        lengths = np.array([len(series) for series in stored])
        yield replace(_series(np.concatenate(stored), lengths, piece, facts), doubts=doubts)
    facts.refuse_repeated(pieces)


def _series(block: Array, lengths: Array, piece: slice, facts: Described) -> Series:
    """The series numbered ``piece``, whose steps ``block`` holds end to end."""
    stored = block.reshape(lengths.sum(), -1)
    values = cells.real(stored if facts.chosen == [*range(stored.shape[1])] else stored[:, facts.chosen])
    offsets, source = offsets_of(lengths), facts.archive.path
    if found := cells.first_infinite(values):
        number = int(np.searchsorted(offsets, found[0], side="right")) - 1
        step = place("step", found[0] - offsets[number])
        where = f"{place('series', piece.start + number)}, {step}, channel {facts.channels[found[1]]!r}"
        raise cells.fault(source, where, cells.INFINITE)
    labels, groups = facts.words("label", piece), facts.words("group", piece)
    times = None if facts.times is None else facts.times[piece]
    rows = np.arange(piece.start, piece.start + len(lengths))
    return Series(source, values, offsets, facts.channels, facts.ids(piece), labels, groups, times, "series", rows)


def _check_numbers(archive: Archive, name: str, kind: str) -> None:
    if kind not in "biuf":
        raise archive.fault(name, "holds no real numbers, which a series is made of; save it as float32")


def _refuse_many(archive: Archive, name: str, shape: tuple[int, ...]) -> None:
    """Raise DataError for an array of the given shape, of one number a series, before anything of that size is made."""
    if (count := math.prod(shape)) > limits.SERIES + 1:
        problem = f"is of {count:,} series; the limit is {limits.SERIES:,}: cut the archive into several"
        raise archive.fault(name, problem)


def _lengths(archive: Archive, name: str, shape: tuple[int, ...], columns: Columns) -> Array:
    """The steps of each series, from ``offsets`` or ``lengths``, of values of ``shape``: (N, T, F), or end to end."""
    packed = len(shape) < 3
    stored = archive.array(name)
    if stored.ndim != 1 or stored.dtype.kind not in "iu" or (name == "offsets" and len(stored) < 2):
        raise archive.fault(name, f"is {stored.dtype} of shape {stored.shape}, but must be whole numbers, one a series")
    stored = stored.astype(np.int64)
    if name == "offsets" and (stored[0], stored[-1]) != (0, shape[0]):
        raise archive.fault(
            name, f"goes from {stored[0]} to {stored[-1]}; it must go from 0 to {shape[0]}, the steps of all series"
        )
    lengths = np.diff(stored) if name == "offsets" else stored
    wrong = (lengths < 1) | (lengths > shape[0 if packed else 1])
    if wrong.any():
        number = int(wrong.argmax())
        said = f"{place('series', number)} has {lengths[number]} steps"
        too_many = not packed and lengths[number] > shape[1]
        remedy = (
            f"the values have {shape[1]}{axes.hint(columns)}" if too_many else "leave out what is empty, and let offsets ascend"
        )
        raise archive.fault(name, f"{said}; {remedy}")
    if packed and lengths.sum() != shape[0]:
        raise archive.fault(name, f"add up to {lengths.sum()} steps, but values has {shape[0]}; give the steps of each series")
    if not packed and len(lengths) != shape[0]:
        raise archive.fault(name, f"is of shape {stored.shape}, but there are {shape[0]} series; give each its length")
    return lengths
