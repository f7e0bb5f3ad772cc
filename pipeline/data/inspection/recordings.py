"""The columns of recordings that lie in a folder per class, a file for each."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Any

import numpy as np
import polars as pl

from pipeline import config
from pipeline.data.inspection import keys, names, paths
from pipeline.data.inspection.frame import Found, Frame, counts_rows
from pipeline.data.readers import folders
from pipeline.data.readers.cells import is_index
from pipeline.errors import some

LONGEST = 256  # steps of a window that is proposed
STAYS = 5  # steps for which a label stays in a recording, on average, at least
FEWEST, PARTS = 100, 20  # steps of a recording that is cut although its label stays, and the windows that it gives
TORN = 0.2  # of windows, the share that may have several labels


def of_recordings(first: Frame, written: dict[str, Any], folder: folders.Folder, form: str) -> Found:
    """The roles in the recordings of a folder, of which ``first`` is one; ``form``: ``data.recordings``."""
    columns = first.columns
    numbers_ = [name for name in columns if first[name].dtype.is_numeric() or first[name].dtype == pl.Boolean]
    ordered = [name for name in columns if first[name].dtype.is_temporal() or name in numbers_]
    default = config.Columns()
    ordered = [name for name in ordered if name not in (default.id, default.label)]  # which say something else here
    clocks = [name for name in ordered if names.means(name, names.TIME) or first[name].dtype.is_temporal()]
    time = next((name for name in clocks if _ascends(first[name])), "")
    long = len(first) > keys.SURE
    rows = [name for name in numbers_ if (long or names.means(name, names.ROW)) and counts_rows(first[name]) and name != time]
    hidden = {time, default.id, default.label}
    channels = [name for name in numbers_ if name not in (*rows, *hidden) and not is_index(name)]
    others = [name for name in columns if name not in (*channels, *hidden)]
    labels = Counter(folder.labels)
    shown = some(map(repr, labels), 10)
    reasons = [f"a file per recording, whose path says {form}, of the classes {shown}"]
    reasons = reasons if form else [f"a folder per class ({shown}), a file per recording"]
    reasons += [f"steps are ordered by {time!r}"] if time else ["steps are in the order of the file"]
    doubts = [f"{', '.join(map(repr, others))}: left out, as no measurement"] if others else []
    doubts += (
        paths.said(folder) if not form else [f"classes are taken from the paths of files: data.recordings={shlex.quote(form)}"]
    )
    wanted = {"time": time or default.time, "channels": tuple(channels) if others else (), "recordings": form, **written}
    if time and max(labels.values()) == 1 and len(first) >= FEWEST:
        window = min(LONGEST, len(first) // PARTS)
        reasons.append(
            f"each class has one recording: these are cut into windows of {window} steps, the last of which are held out"
        )
        wanted |= {"id": "", "window": window}
    return Found(config.Columns(**wanted), reasons, doubts)


def windows_for(frame: Frame, id_: str, label: str) -> tuple[int, str]:
    """The steps of windows, and why, if the label changes within recordings; 0 if it does not.

    As many as the label stays for, half of the time, or a half or a third of them: the most of which few windows have several
    labels.
    """
    ids, labels = frame[id_], frame[label]
    recording = (ids != ids.shift()).fill_null(True).to_numpy()
    begins = np.flatnonzero(recording | labels.ne_missing(labels.shift()).to_numpy())
    starts = np.flatnonzero(recording)
    heads = labels.drop_nulls().len() == len(starts) and not labels.to_numpy()[starts].tolist().count(None)
    if len(begins) == len(starts) or heads:  # a label that stands in the first row of each is refused where it is lacking
        return 0, ""
    stays = float(np.median(np.diff(begins, append=len(ids))))
    own = np.searchsorted(starts, begins, side="right") - 1
    step = begins - starts[own]  # at which the label changes
    counts = np.diff(starts, append=len(ids))
    window = 2
    for part in (1, 2, 3):
        window = max(2, min(LONGEST, int(stays / part)))
        torn = {*zip(own[step % window > 0].tolist(), (step[step % window > 0] // window).tolist(), strict=True)}
        if len(torn) <= TORN * (counts // window).sum():
            break
    rows = f"rows of one {id_!r}" if id_ else "it"
    rows = "a file" if id_.startswith("/") else rows
    said = f"{label!r} changes within {rows}, after {stays:g} steps half of the time"
    return window, f"{said}: recordings are cut into windows of {window} steps, each of the class that most of its steps have"


def single(frame: Frame, left: list[str], label: str) -> str | None:
    """The column of times that rises from the first row to the last, in a table that is one recording: its label stays."""
    stays = len(frame) / max(1, int(frame[label].ne_missing(frame[label].shift()).sum()))
    times = [name for name in left if frame[name].dtype.is_temporal() or frame[name].dtype.is_numeric()]
    rising = [name for name in times if stays >= STAYS and _ascends(frame[name]) and not is_index(name)]
    named = [name for name in rising if frame[name].dtype.is_temporal() or names.means(name, names.TIME)]
    others = [name for name in rising if name not in named]
    even = [name for name in others if keys.is_even(pl.DataFrame({"time": frame[name], "id": [""] * len(frame)}))]
    return next(iter([*named, *even]), None)


def _ascends(values: pl.Series) -> bool:
    return not values.null_count() and values.is_sorted() and values.n_unique() == len(values)
