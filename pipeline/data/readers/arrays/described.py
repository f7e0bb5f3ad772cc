"""Labels, ids, groups, times and channels of the series in an .npz file, each array of it as long as there are series."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.data.readers import cells, limits
from pipeline.data.readers.arrays.archive import Archive
from pipeline.data.series import WORD, Array, Columns, place
from pipeline.errors import DataError, quoted, some

ROLES = ("label", "id", "group", "time")
LABELS = ("targets", "target", "Y", "y", "label", "labels")  # usual names, the last one first


def find_roles(archive: Archive, columns: Columns, stacked: bool) -> dict[str, str]:
    """The arrays that are the label, id, group and time; ``stacked``: no series has an array of its own name.

    Raises DataError for one that must be there and is not.
    """
    found: dict[str, str] = {}
    for role in ROLES:
        name = getattr(columns, role)
        usual = not name or name == Columns.model_fields[role].default
        names = LABELS if stacked and role == "label" else (role, f"{role}s")
        for array in names if usual else (name,):
            if array in archive.names:
                found[role] = array
        needed = columns.labelled if role == "label" else not usual and (columns.labelled or role != "group")
        if needed and role not in found:
            if role == "label":
                _refuse_splits(archive)
            raise cells.unknown(archive.path, name or role, archive.names, "array", columns.option(role))
    return found


@dataclass(frozen=True)
class Described:
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


def described(
    archive: Archive, columns: Columns, roles: dict[str, str], count: int, width: int, keys: tuple[str, ...] = ()
) -> Described:
    """What is said in an archive of ``count`` series of ``width`` channels, whose names are ``keys`` if they have any.

    Raises DataError for an array of another length.
    """
    arrays: dict[str, Array] = {}
    for role, name in roles.items():
        header = archive.header(name)
        if role == "label" and len(header.shape) == 2 and header.shape[1] > 1 and header.shape[0] == count:
            arrays[role] = _of_one_hot(archive, name)
            continue
        if header.shape not in ((count,), (count, 1)):
            raise archive.fault(name, f"is of shape {header.shape}, but there are {count} series; give it one {role} a series")
        if header.dtype.kind in "SU" and header.dtype.itemsize > 4 * WORD:
            raise archive.fault(name, f"is of type {header.dtype}; the limit is {WORD:,} characters: shorten what it holds")
        arrays[role] = archive.array(name).reshape(-1)
    times = _times(archive, roles["time"], arrays.pop("time")) if "time" in arrays else None
    channels, chosen = _channels(archive, columns, width)
    return Described(archive, columns, roles, arrays, times, keys, channels, chosen, [])


def _refuse_splits(archive: Archive) -> None:
    """Raise DataError, with what to type, for the arrays of a training and a test split in one file."""
    stems = [name.removesuffix("_train") for name in archive.names if name.endswith("_train")]
    values = next((stem for stem in stems if stem.lower() == "x"), "")
    label = next((stem for stem in stems if stem.lower() == "y"), "")
    if not values or not label or not {f"{values}_test", f"{label}_test"} <= {*archive.names}:
        return
    made = {part: archive.path.with_name(f"{archive.path.stem}_{part.upper()}.npz") for part in ("train", "test")}
    saves = "; ".join(f"n.savez('{path}', X=f['{values}_{part}'], y=f['{label}_{part}'])" for part, path in made.items())
    raise DataError(
        f"{archive.path}: holds the arrays of two splits; put each into a file of its own: type: "
        f"python -c \"import numpy as n; f=n.load('{archive.path}'); {saves}\"; then use {made['train']}, and {made['test']} "
        "for the test"
    )


def _of_one_hot(archive: Archive, name: str) -> Array:
    """(N) the place of the one in each row of zeros. Raises DataError for other rows."""
    stored = archive.array(name)
    if stored.dtype.kind not in "biuf" or not (((stored == 0) | (stored == 1)).all() and (stored.sum(1) == 1).all()):
        raise archive.fault(name, f"is of shape {stored.shape}; give it one label a series, or rows of zeros with a one")
    places: Array = stored.argmax(1)
    return places


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
