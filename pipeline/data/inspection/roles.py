"""The columns of a table: which is the id, the time, the label and the group, and which are channels.

What decides is measured: how often a value comes again, whether rows of one value stand together, what is constant in
each series, what alone decides the class. A usual name counts beside that, and never alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from pipeline import config
from pipeline.data.inspection import images, keys, names, paths, sample, words
from pipeline.data.inspection.frame import MOST_ROWS, Found, Frame, counts_rows, joined
from pipeline.data.inspection.recordings import of_recordings, single, windows_for
from pipeline.data.readers import folders
from pipeline.data.readers.cells import is_index
from pipeline.data.readers.tables import layouts
from pipeline.data.series import Columns
from pipeline.errors import DataError

ONE = ""  # the id of the one recording of a table without ids
FILE = "/file"  # the column of the number of the file
WIDE = 8  # numbered columns that make a table a wide one


def find(source: str, path: Path) -> Found:
    """The roles of the columns of a CSV or Parquet file. Raises DataError if no column can be the class."""
    folder = folders.look(source, path, Columns()) if path.is_dir() else None
    files = [path / name for name in folder.files] if folder else [path]
    if folder and folder.classes:
        return _recordings(source, folder, paths.persons(folder))
    frame, written = joined(source, files)
    nested = sample.nested(files[0]) if source == "parquet" else ()
    if nested:
        return _of_lists(frame, path, nested)
    if folder and files[1:] and (form := paths.of_classes(folder)) and not _has_class(frame, path):
        return _recordings(source, folder, form)
    found = _in_frame(frame, path)
    said = [] if written.get("header", True) else ["line 1 holds values: each column is named by its place, from 0"]
    said += ["numbers have decimal commas"] if written.get("decimal") == "," else []
    return Found(found.columns.model_copy(update=written), [*said, *found.reasons], found.doubts)


def _recordings(source: str, folder: folders.Folder, form: str) -> Found:
    told = folders.look(source, folder.path, Columns(recordings=form)) if form else folder
    return of_recordings(*joined(source, [folder.path / folder.files[0]]), told, form)


def _has_class(frame: Frame, path: Path) -> bool:
    """Whether a column is the class: by its name, or since it stays the same within each file."""
    try:
        label, _ = keys.label_of(frame, path, [])
    except DataError:
        return False
    assert frame.file is not None
    return names.means(label, names.LABEL) or keys.most_within(frame.with_column(FILE, frame.file), label, FILE) == 1


def _in_frame(frame: Frame, path: Path) -> Found:
    reasons = [f"the first {MOST_ROWS:,} rows were looked at"] if len(frame) == MOST_ROWS else []
    doubts: list[str] = []
    numbers = [name for name in frame.columns if frame[name].dtype.is_numeric()]
    rows = [name for name in numbers if names.means(name, names.ROW) and counts_rows(frame[name])]
    label, more = keys.label_of(frame, path, rows)
    doubts += more
    left = [name for name in frame.columns if name not in (label, *rows)]
    id_ = keys.id_of(frame, left, label)
    if id_ is None and not _is_wide(frame, left) and (time := single(frame, left, label)):
        found = _of_one(frame, [name for name in left if name != time], time, label)
        return Found(found.columns, found.reasons, [*doubts, *found.doubts])
    recordings = ""
    if id_ is None and frame.file is not None and not _is_wide(frame, left):
        frame = frame.with_column(FILE, frame.file)
        if keys.time_of(frame, sorted(left, key=is_index), FILE)[0]:
            id_, recordings = FILE, "ANY"
    if id_ is None or _is_wide(frame, left):
        columns, more = _wide(frame, left, label, rows)
        return Found(columns, [*reasons, *more], [*doubts, *_doubts_of_wide(frame, left, columns)])
    left = [name for name in left if name != id_]
    named = "file" if id_ == FILE else repr(id_)
    reasons.append(
        f"a row per step: rows of one {named} are a series ({frame[id_].n_unique():,} of them); the class is {label!r}"
    )
    window, why = windows_for(frame, id_, label)
    reasons += [why] if window else []
    time, more = keys.time_of(frame, sorted(left, key=is_index), id_)
    doubts += more
    group, more = keys.group_of(frame, [name for name in left if name != time], id_, label)
    doubts += more
    left = [name for name in left if name not in (time, group)]
    if time and id_ != FILE and _begins_anew(frame, id_, time):
        recordings = "ANY"
        reasons.append(f"{id_!r} and {time!r} come again in several files: each file counts its series anew")
    elif time and id_ != FILE:
        words.refuse_two_ids(frame, left, (id_, time), path)
    channels, more = _channels(frame, left, id_, label, time is not None)
    reasons.append(f"steps are ordered by {time!r}" if time else "steps are in the order of the file: no column orders them")
    if group:
        reasons.append(f"{group!r} says whom or what each is of")
    doubts += [f"{name!r} counts the rows of the file and is left out" for name in rows] + more
    wanted: dict[str, Any] = {
        "id": config.Columns().id if id_ == FILE else id_,
        "time": time or "",
        "label": label,
        "group": group or "",
    }
    return Found(config.Columns(**wanted, channels=tuple(channels), window=window, recordings=recordings), reasons, doubts)


def _begins_anew(frame: Frame, id_: str, time: str) -> bool:
    """Whether files have the same times of series that are called the same, and none has one twice."""
    if frame.file is None:
        return False
    rows = pl.DataFrame({"id": frame[id_], "time": frame[time], "file": frame.file})
    return rows.select("id", "time").n_unique() < rows.n_unique() == len(rows)


def _of_one(frame: Frame, left: list[str], time: str, label: str) -> Found:
    """The roles in a table that is one recording, with a label a step."""
    whole = frame.with_column(ONE)
    window, why = windows_for(whole, ONE, label)
    channels, doubts = _channels(whole, left, ONE, label, True)
    reasons = [f"one recording: {time!r} rises from the first row to the last, and no column tells series apart", why]
    columns = config.Columns(layout="long", id="", time=time, label=label, channels=tuple(channels), window=window)
    return Found(columns, reasons, doubts)


def _of_lists(frame: Frame, path: Path, nested: tuple[str, ...]) -> Found:
    """The roles in a table with a row per series, whose ``nested`` columns hold its steps."""
    label, doubts = keys.label_of(frame, path, [])
    left = [name for name in frame.columns if name != label]
    id_ = next((name for name in left if _names_rows(frame[name])), None)
    left = [name for name in left if name != id_]
    group = keys.group_of_rows(frame, left, label)
    others = [name for name in left if name != group]
    reasons = [f"a row per series, with lists of steps in {', '.join(map(repr, nested))}; the class is {label!r}"]
    reasons += [f"left out, as one value a series: {', '.join(map(repr, others))}"] if others else []
    reasons += [f"{group!r} says whom or what each is of"] if group else []
    wanted = config.Columns(id=id_ or "id", label=label, group=group or "", channels=nested if others else ())
    return Found(wanted, reasons, doubts)


def _names_rows(values: pl.Series) -> bool:
    return values.n_unique() == len(values) and (values.dtype.is_integer() or values.dtype == pl.String)


def _is_wide(frame: Frame, left: list[str]) -> bool:
    stems = [names.stem(name) for name in left if frame[name].dtype.is_numeric()]
    return max((stems.count(one) for one in {*stems} - {None}), default=0) >= WIDE


def _channels(frame: Frame, left: list[str], id_: str, label: str, ordered: bool) -> tuple[list[str], list[str]]:
    """The columns of measurements, and what is said of the others. ``ordered``: a column that is not left is the time."""
    channels, said = [], []
    for name in left:
        values = frame[name]
        if values.null_count() == len(values):
            said.append(f"{name!r} has no values and is left out")
            continue
        if is_index(name):
            said.append(f"{name!r} had no name, as an index has none: it is left out")
            continue
        varies = keys.most_within(frame, name, id_)
        if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
            if varies > 1 and words.are_mostly_numbers(values):
                channels.append(name)  # which is refused with the line of the first word
            else:
                said.append(words.said(frame, name, id_, ordered))
            continue
        if values.n_unique() == 1:
            said.append(f"{name!r} is the same in all rows and is left out")
        elif varies == 1:
            what = (
                "decides the class by itself, as a second form of the label would" if keys.decides(frame, name, label) else ""
            )
            said.append(f"{name!r} is constant within every series{', and ' + what if what else ''}: it is left out")
        elif keys.counts_steps(frame, name, id_):
            said.append(f"{name!r} counts the steps of each series and is left out")
        elif keys.decides(frame, name, label):
            channels.append(name)
            said.append(f"{name!r} alone decides the class: a LEAK of the label? If it is not known in use, leave it out")
        else:
            channels.append(name)
    return channels, said


def _doubts_of_wide(frame: Frame, left: list[str], found: config.Columns) -> list[str]:
    """What may be otherwise in a table that is taken for one with a row per series."""
    if not _is_wide(frame, left):
        return [
            "each row is taken for a series, since no column tells series apart: if several rows are one, type "
            "data.layout=long data.id=NAME data.time=NAME or ''"
        ]
    steps = [name for name in left if frame[name].dtype.is_numeric() and name not in (found.id, found.group)]
    stems = [bare for bare in map(names.stem, steps) if bare]
    several = [one for one in dict.fromkeys(stems) if stems.count(one) >= WIDE]
    if len(several) < 2 or all(layouts.STEP.fullmatch(name) for name in steps):
        return []
    shown = ", ".join(map(repr, several[:10]))
    return [
        f"the columns are numbered under several names ({shown}), and are read as the steps of one channel: if these are "
        f"channels, rename their columns to {several[0]}_0, {several[0]}_1 and so on"
    ]


def _wide(frame: Frame, left: list[str], label: str, rows: list[str]) -> tuple[config.Columns, list[str]]:
    ids = [name for name in left if frame[name].n_unique() == len(frame) and not frame[name].dtype.is_float()]
    id_ = next((name for name in ids if names.means(name, names.ID) or not frame[name].dtype.is_numeric()), None)
    group = keys.group_of_rows(frame, [name for name in left if name != id_ and not is_index(name)], label)
    steps = [name for name in left if frame[name].dtype.is_numeric() and name not in (id_, group) and not is_index(name)]
    others = [name for name in (*left, *rows) if name not in (*steps, id_, group)]
    reasons = [f"a row per series, {len(steps)} columns of steps; the class is {label!r}"]
    reasons += [f"left out: {', '.join(map(repr, others))}"] if others else []
    channels = () if all(map(is_index, others)) else tuple(steps)
    reasons += [f"{group!r} says whom or what each is of"] if group else []
    height, why = images.height_of(frame, steps)
    reasons += [why] if height else []
    found = config.Columns(
        layout="wide", id=id_ or "", time="", label=label, group=group or "", channels=channels, steps=height
    )
    return found, reasons
