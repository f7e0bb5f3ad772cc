"""What is said of a column that is no channel: a time in no known form, measurements with units, words."""

from __future__ import annotations

import polars as pl

from pipeline.data.inspection import names
from pipeline.data.inspection.frame import Frame
from pipeline.data.readers.cells import is_number
from pipeline.errors import quoted

MOSTLY = 0.5  # of the cells, the share that are numbers in a column of measurements
LOOKED_AT = 1000  # cells, for one that is no number
KINDS = 50  # of measurements that the rows of a table may name
BEGINS = r"^[-+]?[.,]?\d"  # as a number does


def are_mostly_numbers(values: pl.Series) -> bool:
    """Whether most cells are numbers, so that the others are mistakes, or say that a value is missing."""
    if values.dtype != pl.String:
        return False
    there = values.drop_nulls().str.strip_chars()
    return len(there) > 0 and _numbers(there) >= MOSTLY * len(there)


def said(frame: Frame, name: str, id_: str, ordered: bool) -> str:
    """Why the column ``name``, whose cells are words or dates, is left out. ``ordered``: another one is the time."""
    values = frame[name]
    there = values.drop_nulls()
    if values.dtype != pl.String:
        unordered = ", so steps are in the order of the file; if a time of day stands in another column, join the two"
        return f"{name!r} holds one time for several steps{unordered * (not ordered)}: it is left out"
    shown = quoted(next((cell for cell in there.head(LOOKED_AT) if not is_number(cell.strip())), there[0]))
    if names.means(name, names.TIME) and not ordered:
        return (
            f"{name!r} is called as a time is, but {shown} is in no form that is read: it is left out, and steps are in the "
            "order of the file; write YYYY-MM-DD HH:MM:SS or DD.MM.YYYY HH:MM:SS, or numbers"
        )
    if there.str.strip_chars().str.contains(BEGINS).mean() == 1:
        return f"{name!r} holds words such as {shown} and is left out; if it is measured, write numbers and nothing beside them"
    if _names_what_is_measured(frame, name, id_):
        return (
            f"{name!r} holds the same words equally often in each series, as the name of what each row measures: if so, these "
            "are several channels under each other; give each a column of its own (pivot) first"
        )
    return f"{name!r} holds words and is left out"


def _numbers(cells: pl.Series) -> int:
    return len(cells) - cells.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False).null_count()


def _names_what_is_measured(frame: Frame, name: str, id_: str) -> bool:
    values = frame[name]
    kinds = values.n_unique()
    if values.null_count() or not 1 < kinds <= KINDS:
        return False
    counts = pl.DataFrame({"id": frame[id_], "word": values}).group_by("id", "word").len()
    each = counts.group_by("id").agg(pl.len().alias("kinds"), pl.col("len").n_unique().alias("counts"))
    return bool(((each["kinds"] == kinds) & (each["counts"] == 1)).all())
