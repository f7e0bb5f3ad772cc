"""The .ts format of the time-series classification archive, read strictly: what the header promises is checked.

``@`` lines make the header; after ``@data`` each line is a series: its channels separated by colons, the steps of a channel
by commas, the label last. With time stamps a step is ``(time,value)``. ``?`` and ``NaN`` are missing values; lines that begin
with ``#`` or ``%`` are comments.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.readers import cells, limits, text_files
from pipeline.data.readers.time_stamps import Stamps
from pipeline.data.series import Array, Columns, Series, offsets_of, place
from pipeline.errors import quoted, short, some

BLOCK = 8 * 2**20  # numbers in a block
OVERHEAD = 32  # numbers that take the memory of what a series has besides its own
KNOWN = (
    *("problemname", "timestamps", "missing", "univariate", "dimension", "dimensions"),
    *("equallength", "serieslength", "classlabel", "targetlabel", "data"),
)


@dataclass(frozen=True)
class _Header:
    """What the lines before ``@data`` promise; None where they say nothing."""

    classes: dict[str, None] | None  # their names in order; None: no labels
    channels: int | None
    length: int | None  # of all series
    equal: bool  # all series are of one length
    missing: bool  # there may be missing values
    stamped: bool  # each step has its time


def read(path: Path, columns: Columns) -> Iterator[Series]:
    """The series of a .ts file, in blocks. Raises DataError, which names the line, for what is no such file."""
    lines = text_lines(path)
    header = _header(path, lines)
    if header.classes is None and columns.labelled:
        raise cells.fault(
            path, "@classLabel", "there are no labels, which training needs; write @classLabel true WORD WORD ..."
        )
    stamps = Stamps(path) if header.stamped else None
    rows = _rows(path, lines, header, columns.labelled, stamps)
    for block in in_blocks(path, rows, columns, header.classes is not None):
        yield stamps.added(block) if stamps else block


def _rows(
    path: Path, lines: Iterator[tuple[int, str]], header: _Header, labelled: bool, stamps: Stamps | None
) -> Iterator[tuple[int, Array, str]]:
    channels, length = header.channels, header.length
    for line, text in lines:
        parts = stamps.parts(text) if stamps else text.split(":")
        label = "" if header.classes is None else check_label(path, line, parts.pop(), header.classes, labelled)
        values = _values(path, line, stamps.channels(line, parts) if stamps else parts)
        if channels not in (None, len(values[0])):
            problem = f"{len(values[0])} channels, but the header or the first series has {channels}; give each series the same"
            raise cells.fault(path, f"line {line}", problem)
        if header.equal and length not in (None, len(values)):
            problem = f"{len(values)} steps, but all were promised {length}; put it right, or write @equalLength false"
            raise cells.fault(path, f"line {line}", problem)
        if not header.missing and np.isnan(values).any():
            raise cells.fault(path, f"line {line}", "a missing value, against @missing false; write @missing true")
        length, channels = values.shape
        yield line, values, label


def _values(path: Path, line: int, parts: list[str]) -> Array:
    """The channels of a line as (T, F) float64."""
    if not parts:
        raise cells.fault(path, f"line {line}", "has no values before its label; write CHANNEL:CHANNEL:LABEL")
    if len(parts) > limits.CHANNELS:
        raise cells.fault(path, place("line", line), f"has {len(parts):,} channels; the limit is {limits.CHANNELS:,}")
    if not all(part.strip() for part in parts):
        raise cells.fault(
            path, f"line {line}", "a channel without a step; leave the series out, or write ? for what is missing"
        )
    channels = [numbers(path, line, part.split(",")) for part in parts]
    for number, channel in enumerate(channels):
        if len(channel) != len(channels[0]):
            problem = (
                f"{place('channel', number)} has {len(channel)} steps, but channel 0 has {len(channels[0])}; give all the same"
            )
            raise cells.fault(path, f"line {line}", problem)
    return np.stack(channels, 1)


def _header(path: Path, lines: Iterator[tuple[int, str]]) -> _Header:
    said: dict[str, list[str]] = {}
    for line, text in lines:
        refuse_long_header(path, line, text)
        name, *words = text.split()
        key = name[1:].lower()
        if name[0] != "@":
            raise cells.fault(
                path, f"line {line}", f"{name[:20]!r} stands before @data; the header is made of lines that begin with @"
            )
        if said.get(key) == words or (key == "problemname" and key in said):
            continue  # the same once more
        if key in said:
            raise cells.fault(path, f"line {line}", f"{short(name)} stands there twice; leave out one of the two")
        if key not in KNOWN:
            near = difflib.get_close_matches(key[:100], KNOWN, 1)
            meant = f"did you mean @{near[0]}?" if near else f"there are: {some(KNOWN)}"
            raise cells.fault(path, f"line {line}", f"there is no header line {short(name)}; {meant}")
        if key == "data":
            break
        said[key] = words
        _check_header(path, line, name, words)
    else:
        raise cells.fault(path, "@data", "there is no such line, after which the series stand; is this a .ts file?")

    def switch(name: str, default: str) -> bool:
        return said.get(name, [default])[0].lower() == "true"

    count = int((said.get("dimensions") or said.get("dimension") or ["0"])[0])
    length = int(said.get("serieslength", ["0"])[0])
    return _Header(
        classes=dict.fromkeys(map(cells.class_word, said["classlabel"][1:])) if switch("classlabel", "false") else None,
        channels=1 if switch("univariate", "false") else count or None,
        length=length or None,
        equal=switch("equallength", "true" if length else "false"),
        missing=switch("missing", "true"),
        stamped=switch("timestamps", "false"),
    )


def _check_header(path: Path, line: int, name: str, words: list[str]) -> None:
    key, value = name[1:].lower(), words[0].lower() if words else ""
    problem = ""
    if key in ("dimension", "dimensions", "serieslength"):
        if not (value.isdecimal() and len(value) < 10 and int(value)):
            problem = f"{quoted(' '.join(words))} is no number from 1 to 999,999,999"
    elif key != "problemname":
        if value not in ("true", "false"):
            problem = f"{quoted(' '.join(words))} is neither true nor false"
        elif value == "true" and key == "targetlabel":
            problem = "a regression problem, which this pipeline does not train; it needs @classLabel"
        elif value == "true" and key == "classlabel" and not words[1:]:
            problem = "names no class; write @classLabel true WORD WORD ..."
    if problem:
        raise cells.fault(path, f"line {line}, {name}", problem)


def check_label(path: Path, line: int, text: str, classes: Collection[str], labelled: bool) -> str:
    """The label at the end of a line; "" if it is missing, which DataError refuses if it must be there."""
    label = cells.class_word(text.strip())
    if label in classes:
        return label
    if label in ("", "?") and not labelled:
        return ""
    known = some(classes)
    if label in ("", "?") or "," in label:
        raise cells.fault(path, f"line {line}", f"no label; it needs one of those declared in the header: {known}")
    raise cells.fault(
        path, f"line {line}", f"the label {quoted(label)} is not declared in the header: {known}; put one of the two right"
    )


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, without blank lines and comments. Raises DataError for what is not UTF-8."""
    with text_files.opened(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(limits.LINE + 1), b""), 1):
            if len(line) > limits.LINE:
                raise cells.fault(path, f"line {number}", f"is longer than {limits.LINE >> 20} MB; a series is a line: cut it")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                problem = text_files.not_utf8(path, line[error.start])
                raise cells.fault(path, f"line {number}", problem) from None
            if text and text[0] not in "#%":
                yield number, text


def refuse_long_header(path: Path, line: int, text: str) -> None:
    """Raise DataError for a line of a header that names more than any header does."""
    if len(text) > limits.HEADER:
        raise cells.fault(
            path, place("line", line), f"is a header line of {len(text):,} characters; the limit is {limits.HEADER:,}"
        )


def numbers(path: Path, line: int, texts: list[str]) -> Array:
    """Cells (T) as float64, NaN where one is missing. Raises DataError for one that is no number."""
    try:
        if "_" not in "".join(texts):  # which Python takes between digits
            return np.array([float("nan" if cells.is_missing(text.strip()) else text) for text in texts])
    except ValueError:
        pass
    step = next(step for step, text in enumerate(texts) if not _is_number(text))
    problem = f"{place('step', step)}: {quoted(texts[step].strip())} is not a number; {cells.NUMBERS}"
    raise cells.fault(path, place("line", line), problem)


def _is_number(text: str) -> bool:
    try:
        float("nan" if cells.is_missing(text.strip()) else text)
        return "_" not in text
    except ValueError:
        return False


def in_blocks(path: Path, rows: Iterator[tuple[int, Array, str]], columns: Columns, labels: bool) -> Iterator[Series]:
    """Series made of the line, the values (T, F) and the label of each; their ids are their places (from 0) in the file."""
    kept: list[tuple[int, Array, str]] = []
    count = size = 0
    for row in rows:
        kept.append(row)
        size += row[1].size + OVERHEAD
        if size >= BLOCK:
            yield _block(path, kept, count, columns, labels)
            count, size, kept = count + len(kept), 0, []
    if kept:
        yield _block(path, kept, count, columns, labels)
    elif not count:
        raise cells.fault(path, "@data", "no series stands after it; the file needs at least one")


def _block(path: Path, rows: list[tuple[int, Array, str]], first: int, columns: Columns, labels: bool) -> Series:
    lines, stored, words = zip(*rows, strict=True)
    names = cells.numbered(stored[0].shape[1])
    chosen = cells.choose(path, names, columns)
    values = cells.real(np.concatenate(stored)[:, chosen])
    offsets = offsets_of(np.array([len(series) for series in stored]))
    if found := cells.first_infinite(values):
        number = int(np.searchsorted(offsets, found[0], side="right")) - 1
        step = place("step", found[0] - offsets[number])
        where = f"{place('line', lines[number])}, {place('channel', chosen[found[1]])}, {step}"
        raise cells.fault(path, where, cells.INFINITE)
    ids = tuple(str(number) for number in range(first, first + len(rows)))
    channels = tuple(names[number] for number in chosen)
    return Series(path, values, offsets, channels, ids, words if labels else None, None, None, "line", np.array(lines))
