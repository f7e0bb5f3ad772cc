"""Series in an .npz file, in one of two forms.

Stacked, if there is an array ``values``: (N, T, F) or (N, T) for series of one length; (N, T, F) with ``lengths`` (N) for
series padded at their end; (S, F) or (S) end to end with ``offsets`` (N + 1) or ``lengths`` (N).

One array a series, (T, F) or (T), under a key of its own; the order of the keys is that of the series.

In both forms ``labels`` (N), ``ids``, ``groups`` and ``times`` say more of the series, and ``channels`` (F) names the
channels. The configuration may name the first four otherwise. The usual names are also read without their final s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.readers import cells, limits
from pipeline.data.readers.npz_archive import Archive
from pipeline.data.series import WORD, Array, Columns, Series, cuts, offsets_of, place
from pipeline.errors import DataError, quoted, some

BLOCK = 64 * 2**20  # bytes of values and words read at a time
WORDS = 200  # bytes that the words of a series take, about
ROLES = ("label", "id", "group", "time")


def read(path: Path, columns: Columns) -> Iterator[Series]:
    """The series of an .npz file, in blocks. Raises DataError, which names array and series, for what is no such file."""
    with Archive(path) as archive:
        roles = _find_roles(archive, columns)
        form = _stacked if "values" in archive.names else _keyed
        yield from form(archive, columns, roles)


def _find_roles(archive: Archive, columns: Columns) -> dict[str, str]:
    found: dict[str, str] = {}
    for role in ROLES:
        name = getattr(columns, role)
        usual = not name or name == Columns.model_fields[role].default
        for array in (role, f"{role}s") if usual else (name,):
            if array in archive.names:
                found[role] = array
        needed = columns.labelled if role == "label" else not usual and (columns.labelled or role != "group")
        if needed and role not in found:
            raise cells.unknown(archive.path, name or role, archive.names, "array", columns.option(role))
    return found


@dataclass(frozen=True)
class _Facts:
    """What an archive says of its N series besides their values; words are made of it block by block."""

    archive: Archive
    columns: Columns
    roles: dict[str, str]  # label, id, group -> the array of it
    arrays: dict[str, Array]  # of each of these, (N)
    times: Array | None  # (N)
    keys: tuple[str, ...]  # ids where there is no array of them; () for the numbers of the series
    channels: tuple[str, ...]  # (F) the names of those asked for
    chosen: list[int]  # (F) their numbers among all
    hashes: list[Array]  # of the ids of the blocks before: equal ids have equal ones

    def words(self, role: str, piece: slice) -> tuple[str, ...] | None:
        """The words of some of the series; None if there are none of this role."""
        if role not in self.arrays:
            return None
        name = self.roles[role]
        try:
            found = tuple(map(str if role == "id" else cells.class_word, cells.words(self.arrays[role][piece])))
        except ValueError as error:
            raise self.archive.fault(name, f"{error}; save it as numbers or as text") from None
        if "" in found and (self.columns.labelled or role == "id"):
            first = place("series", piece.start + found.index(""))
            raise self.archive.fault(name, f"{first} has no {role}; give it one, or leave the series out")
        return found

    def ids(self, piece: slice) -> tuple[str, ...]:
        """The ids of some of the series."""
        found = self.words("id", piece)
        if found is None:
            return self.keys[piece] or tuple(map(str, range(piece.start, piece.stop)))
        self.hashes.append(np.fromiter(map(hash, found), np.int64, len(found)))
        return found

    def refuse_repeated(self, pieces: Iterable[slice]) -> None:
        """Raise DataError for an id that came before, after all ``pieces`` were read."""
        every = np.concatenate([np.zeros(0, np.int64), *self.hashes])
        seen: set[str] = set()
        for piece in pieces if len(np.unique(every)) < len(every) else ():
            for number, name in enumerate(self.words("id", piece) or (), piece.start):
                if name in seen:
                    problem = f"{place('series', number)}: the id {quoted(name)} was there before; give each its own"
                    raise self.archive.fault(self.roles["id"], problem)
                seen.add(name)


def _facts(
    archive: Archive, columns: Columns, roles: dict[str, str], count: int, width: int, keys: tuple[str, ...] = ()
) -> _Facts:
    """Of an archive of ``count`` series of ``width`` channels."""
    arrays: dict[str, Array] = {}
    for role, name in roles.items():
        header = archive.header(name)
        if header.shape != (count,):
            raise archive.fault(name, f"is of shape {header.shape}, but there are {count} series; give it one {role} a series")
        if header.dtype.kind in "SU" and header.dtype.itemsize > 4 * WORD:
            raise archive.fault(name, f"is of type {header.dtype}; the limit is {WORD:,} characters: shorten what it holds")
        arrays[role] = archive.array(name)
    times = _times(archive, roles["time"], arrays.pop("time")) if "time" in arrays else None
    channels, chosen = _channels(archive, columns, width)
    return _Facts(archive, columns, roles, arrays, times, keys, channels, chosen, [])


def _times(archive: Archive, name: str, stored: Array) -> Array:
    kind = stored.dtype.kind
    if kind not in "iufM":
        raise archive.fault(name, f"holds {stored.dtype}; save times as numbers or as datetime64")
    times = stored.astype("datetime64[us]") if kind == "M" else stored.astype(np.float64)
    wrong = np.isnat(times) if kind == "M" else ~np.isfinite(times)
    if wrong.any():
        first = place("series", int(wrong.argmax()))
        raise archive.fault(name, f"{first} has no time; give it one, or leave the series out")
    return times


def _stacked(archive: Archive, columns: Columns, roles: dict[str, str]) -> Iterator[Series]:
    header = archive.header("values")
    _check_numbers(archive, "values", header.dtype.kind)
    shape = header.shape
    counted = [name for name in ("offsets", "lengths") if name in archive.names]
    packed = "offsets" in counted or (bool(counted) and len(shape) < 3)
    if 0 in shape or len(counted) > 1 or len(shape) not in ((1, 2) if packed else (2, 3)):
        said = f"values of shape {shape}" + "".join(f" with {name}" for name in counted)
        raise archive.fault(
            "values", f"{said} are no series; give (N, T), (N, T, F), or (S, F) with offsets (N + 1) or lengths (N)"
        )
    _refuse_many(archive, counted[0] if counted else "values", archive.header(counted[0]).shape if counted else shape[:1])
    lengths = _lengths(archive, counted[0], shape, packed) if counted else np.full(shape[0], shape[1])
    rows = lengths if packed else np.ones(len(lengths), np.int64)  # of the array, for each series
    row = math.prod(shape[1:]) * cells.kind_of(header.dtype).itemsize  # bytes
    if int(rows.max()) * row > limits.ONE:
        problem = f"{place('series', int(rows.argmax()))} takes {int(rows.max()) * row:,} bytes; the limit is {limits.ONE:,}"
        raise archive.fault("values", f"{problem}: cut it")
    before_channels = 1 if packed else 2  # dimensions: (S, F) or (N, T, F)
    facts = _facts(archive, columns, roles, len(lengths), shape[-1] if len(shape) > before_channels else 1)
    pieces = list(cuts(rows * row + WORDS, BLOCK))
    blocks = archive.blocks("values", (int(rows[piece].sum()) for piece in pieces))
    for piece, block in zip(pieces, blocks, strict=True):
        own = lengths[piece]
        if not packed and (own < shape[1]).any():
            block = block[np.arange(shape[1]) < own[:, None]]
        yield _series(block, own, piece, facts)
    facts.refuse_repeated(pieces)


def _keyed(archive: Archive, columns: Columns, roles: dict[str, str]) -> Iterator[Series]:
    keys = tuple(name for name in archive.names if name not in (*roles.values(), "channels"))
    if not keys:
        raise DataError(
            f"{archive.path}: no series: give an array 'values', or one array a series; there are: {some(archive.names)}"
        )
    headers = [archive.header(key) for key in keys]
    width = headers[0].shape[1] if len(headers[0].shape) == 2 else 1
    for key, header in zip(keys, headers, strict=True):
        _check_numbers(archive, key, header.dtype.kind)
        if len(header.shape) not in (1, 2) or 0 in header.shape:
            raise archive.fault(
                key, f"is of shape {header.shape}, but a series is (T, F) or (T); name an array of all series 'values'"
            )
        if (header.shape[1] if len(header.shape) == 2 else 1) != width:
            raise archive.fault(
                key, f"is of shape {header.shape}, but {keys[0]!r} has {width} channels; give all series the same"
            )
    facts = _facts(archive, columns, roles, len(keys), width, keys)
    kind = cells.kind_of(*(header.dtype for header in headers))
    pieces = list(cuts(np.array([header.size for header in headers]) + WORDS, BLOCK))
    for piece in pieces:
        stored = [cells.real(archive.array(key).reshape(-1, width), kind) for key in keys[piece]]
        lengths = np.array([len(series) for series in stored])
        yield _series(np.concatenate(stored), lengths, piece, facts)
    facts.refuse_repeated(pieces)


def _series(block: Array, lengths: Array, piece: slice, facts: _Facts) -> Series:
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


def _lengths(archive: Archive, name: str, shape: tuple[int, ...], packed: bool) -> Array:
    """The steps of each series, from ``offsets`` or ``lengths``."""
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
        raise archive.fault(name, f"{said}; leave out what is empty, and let offsets ascend")
    if packed and lengths.sum() != shape[0]:
        raise archive.fault(name, f"add up to {lengths.sum()} steps, but values has {shape[0]}; give the steps of each series")
    if not packed and len(lengths) != shape[0]:
        raise archive.fault(name, f"is of shape {stored.shape}, but there are {shape[0]} series; give each its length")
    return lengths


def _channels(archive: Archive, columns: Columns, width: int) -> tuple[tuple[str, ...], list[int]]:
    """The names of the channels asked for, and their numbers among all ``width``."""
    if width > limits.CHANNELS:
        raise DataError(f"{archive.path}: holds series of {width:,} channels; the limit is {limits.CHANNELS:,}: leave some out")
    names = cells.numbered(width)
    if "channels" in archive.names:
        shape = archive.header("channels").shape
        names = tuple(map(str, archive.array("channels").tolist()))
        if shape != (width,) or len(set(names)) < width:
            raise archive.fault("channels", f"holds {some(names)}, but there are {width} channels; give each a name of its own")
    numbers = cells.choose(archive.path, names, columns)
    return tuple(names[number] for number in numbers), numbers
