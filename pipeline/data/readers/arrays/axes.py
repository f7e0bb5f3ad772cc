"""Which array of an .npz file holds the values of all series, and in which order its axes are.

Shapes: N series, T steps, F channels.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.data.readers import cells
from pipeline.data.readers.arrays.archive import Archive
from pipeline.data.readers.arrays.described import LABELS, ROLES
from pipeline.data.series import Columns
from pipeline.errors import DataError

USUAL = ("X", "x", "data", "series")  # for ``values``, where a label for each of its rows stands beside it, or nothing does
SHORTER = 3  # times, by which an axis of steps is seldom shorter than that of channels


def values_of(archive: Archive, columns: Columns) -> str | None:
    """The array of the values of all series; None where each series has an array of its own.

    Raises DataError for a name in ``columns`` that is not there.
    """
    named = columns.values
    if named in archive.names:
        return named
    if named != Columns.model_fields["values"].default:
        raise cells.unknown(archive.path, named, archive.names, "array", columns.option("values"))
    there = [name for name in USUAL if name in archive.names]
    if len(there) != 1:
        return None
    return there[0] if _is_stacked(archive, there[0], columns) else None


def _is_stacked(archive: Archive, name: str, columns: Columns) -> bool:
    shape = archive.header(name).shape
    if len(shape) < 2:
        return False
    beside = {columns.label, *LABELS} & {*archive.names}
    roles = {word for role in ROLES for word in (getattr(columns, role), role, f"{role}s")}
    alone = {*archive.names} <= {name, *roles, *LABELS, "channels", "lengths"}
    return alone if not beside else any(archive.header(label).shape[:1] == shape[:1] for label in beside)


def first(columns: Columns) -> bool:
    """Whether the axis of channels stands before that of steps."""
    return columns.axes == "channels_first"


def look_exchanged(steps: int, channels: int) -> bool:
    """Whether axes of these lengths look as if the one of channels stood first."""
    return SHORTER * steps <= channels


def doubt(path: Path, name: str, shape: tuple[int, ...], columns: Columns) -> tuple[str, ...]:
    """A warning about an array (..., T, F) that looks as if it were (..., F, T), if nobody has said what it is."""
    if columns.axes != "auto" or not look_exchanged(*shape[-2:]):
        return ()
    steps, channels = shape[-2:]
    return (
        f"{path}: array {name!r} is of shape {shape} and is read as {steps} steps of {channels} channels. If it is {steps} "
        f"channels of {channels} steps, as aeon, sktime and tsai store series, set data.axes=channels_first; else set "
        "data.axes=channels_last, and nothing is said",
    )


def hint(columns: Columns) -> str:
    """What else to do about an array whose axis of steps or of channels is not as long as it should be."""
    return "" if first(columns) else "; or, if the axis of channels stands first, set data.axes=channels_first"


def refuse_packed(archive: Archive, name: str) -> DataError:
    """The error about series end to end whose channels are said to come first."""
    return archive.fault(
        name, "series end to end are (S, F): channels come last; save the transposed array, or leave data.axes out"
    )
