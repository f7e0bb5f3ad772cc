"""What all readers of the user's own files share: words and numbers in one form, and the messages about them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.series import Array, Columns
from pipeline.errors import DataError, some

CACHED = 2**16  # numbers that a processor keeps at hand
LARGEST = float(np.finfo(np.float32).max)
MISSING = (  # in lower case; the last ones are Excel's #N/A in German, in Spanish and its like, in Dutch, in Russian
    *("?", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none"),
    *("#nv", "#n/d", "#n/b", "#\u043d/\u0434"),
)
TRUTH = ("true", "false")  # in lower case
# nothing is tried twice: a cell may be long
NUMBER = re.compile(r"[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?", re.ASCII)
THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+", re.ASCII)
GROUPED = re.compile(
    r"[-+]?\d{1,3}(?:(?:,\d{3})+\.\d+|(?:\.\d{3})+,\d+|(?:['\u2019 \u00a0\u202f]\d{3})+(?:[.,]\d+)?)", re.ASCII
)
WHOLE = re.compile(r"([-+]?)(0|[1-9]\d*)\.0*", re.ASCII)
INDEX = re.compile(r"Unnamed: \d+|__index_level_\d+__")  # as pandas calls what has no name
POWER = re.compile(r"[-+]?\d(?:\.\d*)?[eE][-+]\d+", re.ASCII)  # as programs print it: 2E00 and 12e456 are codes
EXACT = 2**53  # up to here each integer is a float64
NUMBERS = "write numbers with a decimal point, and nothing, NaN, NA or ? where one is missing"


def fault(path: Path, where: str, problem: str) -> DataError:
    """The error about a part of a file: a line, a row, a column or an array."""
    return DataError(f"{path}: {where}: {problem}")


def unknown(path: Path, wanted: str, there: Iterable[str], what: str, key: str) -> DataError:
    """The error about a column, an array or a channel that a file lacks, with the nearest name that it has."""
    names = list(there)
    near = difflib.get_close_matches(wanted, [name for name in names[:1000] if len(name) < 100], 1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return DataError(
        f"{path}: there is no {what} {wanted!r}; {meant}there are: {some(names)}. Name the right one by {key}=NAME"
    )


def choose(path: Path, channels: tuple[str, ...], columns: Columns) -> list[int]:
    """The numbers in ``channels`` of those that ``columns`` names, or of all. Raises DataError for an unknown one."""
    numbers = {name: number for number, name in enumerate(channels)}
    for name in columns.channels:
        if name not in numbers:
            raise unknown(path, name, channels, "channel", columns.option("channels"))
    return [numbers[name] for name in columns.channels or channels]


def numbered(count: int) -> tuple[str, ...]:
    """Names for channels that a file does not name."""
    return tuple(f"channel_{number}" for number in range(count))


def kind_of(*stored: npt.DTypeLike) -> np.dtype[Any]:
    """float32 if that holds all numbers of the types ``stored`` exactly, else float64."""
    return np.dtype(np.float32 if all(np.can_cast(kind, np.float32) for kind in stored) else np.float64)


def real(values: Array, kind: np.dtype[Any] | None = None) -> Array:
    """Numbers, booleans too, as ``kind`` or as ``kind_of`` their own, with one bit pattern for all that are missing."""
    made = values.astype(kind or kind_of(values.dtype), copy=False)
    missing = np.isnan(made)
    if missing.any():
        made = np.where(missing, made.dtype.type(np.nan), made)
    return made


def first_infinite(values: Array) -> tuple[int, int] | None:
    """Step and channel of the first of ``values`` (S, F) that is infinite or beyond float32."""
    with np.errstate(over="ignore"):
        infinite = np.isinf(values.astype(np.float32, copy=False))
    return divmod(int(infinite.argmax()), values.shape[1]) if infinite.any() else None


def put_right(values: Array) -> tuple[int, int] | None:
    """Give all that is missing in ``values`` (S, F), which is contiguous, one bit pattern, in place.

    Step and channel of the first value that is infinite or beyond float32.
    """
    flat = values.reshape(-1)
    for start in range(0, len(flat), CACHED):
        piece = flat[start : start + CACHED]
        low, high = piece.min(), piece.max()  # NaN if there is one
        if low > -LARGEST and high < LARGEST:
            continue
        piece[np.isnan(piece)] = np.nan
        if found := first_infinite(piece[:, np.newaxis]):
            step, channel = divmod(start + found[0], values.shape[1])
            return step, channel
    return None


INFINITE = "is infinite or beyond the largest float32 (3.4e38); put it right, or leave it empty if it is missing"


def words(array: Array) -> list[str]:
    """An array (N) of labels or ids as words, "" for what is missing: 3 and 3.0 both give "3", True gives "true".

    Raises ValueError for a type that is no word, or bytes that are not UTF-8.
    """
    kind, stored = array.dtype.kind, array.tolist()
    if kind == "f":
        return ["" if value != value else str(int(value)) if value.is_integer() else repr(value) for value in stored]
    if kind == "b":
        return [str(value).lower() for value in stored]
    if kind == "S":
        return [value.decode().strip() for value in stored]
    if kind in "iuU":
        return [str(value).strip() for value in stored]
    raise ValueError(f"{array.dtype} is neither numbers nor text")


def is_number(cell: str, decimal: str = ".") -> bool:
    """Whether a cell is a finite number and nothing else."""
    return NUMBER.fullmatch(cell.replace(decimal, ".") if decimal != "." else cell) is not None


def is_missing(cell: str) -> bool:
    """Whether a cell says that a value is missing."""
    return cell.lower() in MISSING


def is_truth(cell: str) -> bool:
    """Whether a cell is true or false."""
    return cell.lower() in TRUTH


def class_word(word: str) -> str:
    """A label or a group as it is called whatever kind of file it is in: 1.0 and 1e+00 are 1, True is true; 01 stays a word."""
    if is_truth(word):
        return word.lower()
    if found := WHOLE.fullmatch(word):
        return "0" if found[2] == "0" else found[1].removeprefix("+") + found[2]
    if POWER.fullmatch(word):
        value = float(word)
        if not math.isfinite(value) or (not value and word.strip("+-")[0] != "0"):
            return word  # no float holds it
        return str(int(value)) if value.is_integer() and abs(value) <= EXACT else repr(value)
    return word


def index_name(place: int) -> str:
    """What the column at ``place`` is called that has no name: as pandas does it."""
    return f"Unnamed: {place}"


def is_index(name: str) -> bool:
    """Whether a column had no name, as the row numbers and row names of R and of pandas; it is no measurement."""
    return INDEX.fullmatch(name) is not None


def are_places(names: list[str]) -> bool:
    """Whether names are 0, 1, 2 ... or 1, 2, 3 ..., as libraries name columns that have no name."""
    return any(names == list(map(str, range(begin, begin + len(names)))) for begin in (0, 1))


def of_values(error: DataError, names: tuple[str, ...]) -> DataError:
    """``error`` about the names of columns, with what to do if they are the values of a row."""
    numbers = [name for name in names if is_number(name)]
    if len(numbers) < 2 or are_places(numbers):
        return error
    return DataError(
        f"{error}. If line 1 holds values and no names: data.header=false, and each column is named by its place, from 0"
    )
