"""What is said of a column that is no channel: a time in no known form, measurements with units, words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pipeline import config
from pipeline.data.inspection import names
from pipeline.data.inspection.frame import Frame
from pipeline.data.readers import text_files
from pipeline.data.readers.cells import is_number
from pipeline.data.readers.tables import csv_dialect
from pipeline.errors import DataError, quoted

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


def refuse_two_ids(frame: Frame, left: Sequence[str], known: tuple[str, str], path: Path) -> None:
    """Raise DataError, with what to type, where another column than the id, such as a number of visits, tells rows apart that
    have the same time; ``known``: id and time."""
    id_, time = known
    rows = pl.DataFrame({"id": frame[id_], "time": frame[time]})
    if path.is_dir() or rows.n_unique() == len(rows):
        return
    for name in left:
        values = frame[name]
        few = not (values.dtype.is_float() or values.dtype.is_temporal()) and 1 < values.n_unique() <= len(rows) // 2
        if not few or values.null_count() or rows.with_columns(values.alias("other")).n_unique() < len(rows):
            continue
        table = path.suffix.lower() in config.SERIES["parquet"].suffixes
        kind = "parquet" if table else "csv"
        made = path.with_name(f"{text_files.stem(path)}_ids.{kind}")
        how = "" if table else f", separator={csv_dialect.guess(path)[0].separator!r}, infer_schema=False"
        whole = f"p.concat_str('{id_}', '{name}', separator='-').alias('id')"
        typed = f"p.read_{kind}('{path}'{how}).with_columns({whole}).write_{kind}('{made}')"
        raise DataError(
            f"{path}: rows of one {id_!r} have the same {time!r} several times, and {name!r} tells them apart. If it says what "
            "each row measures, give each a column of its own (pivot); else make one id of both: type: "
            f'python -c "import polars as p; {typed}"; then use {made}'
        )


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
