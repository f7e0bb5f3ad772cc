"""The columns of recordings that lie in a folder per class, a file for each."""

from __future__ import annotations

from typing import Any

import polars as pl

from pipeline import config
from pipeline.data.inspection import names
from pipeline.data.inspection.frame import Found, Frame, counts_rows
from pipeline.data.readers import folders


def of_recordings(frame: pl.DataFrame, columns: tuple[str, ...], written: dict[str, Any], folder: folders.Folder) -> Found:
    """The roles in the recordings of a folder, of which ``frame`` is the first."""
    first = Frame(frame, columns)
    numbers_ = [name for name in columns if first[name].dtype.is_numeric() or first[name].dtype == pl.Boolean]
    ordered = [name for name in columns if first[name].dtype.is_temporal() or name in numbers_]
    time = next((name for name in ordered if names.means(name, names.TIME) and _ascends(first[name])), "")
    rows = [name for name in numbers_ if name != time and names.means(name, names.ROW) and counts_rows(first[name])]
    default = config.Columns()
    hidden = {time, default.id, default.label}
    channels = [name for name in numbers_ if name not in (*rows, *hidden)]
    others = [name for name in columns if name not in (*channels, *hidden)]
    reasons = [f"a folder per class ({', '.join(map(repr, folder.classes[:10]))}), a file per recording"]
    reasons += [f"steps are ordered by {time!r}"] if time else ["steps are in the order of the file"]
    doubts = [f"{', '.join(map(repr, others))}: left out, as no measurement"] if others else []
    wanted = config.Columns(time=time or default.time, channels=tuple(channels) if others else (), **written)
    return Found(wanted, reasons, doubts)


def _ascends(values: pl.Series) -> bool:
    return not values.null_count() and values.is_sorted() and values.n_unique() == len(values)
