"""How a table is written as text: what stands before its rows, what separates its cells, what ends its lines.

It is told by the first lines: a separator is what cuts them all into equally many cells.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pipeline.data.readers import cells, limits, text_files
from pipeline.errors import quoted

LINES = 8  # that are looked at
BLANKS = " "  # the separator of a file whose cells stand between runs of spaces and tabs
SEPARATORS = ",;\t|"  # of equally good ones the first is taken
QUOTED = re.compile(r'"[^"]*"')
COMMA = re.compile(r"\s*[-+]?\d*,\d+(?:[eE][-+]?\d+)?\s*")  # a number with a decimal comma
MARK = re.compile(r'"?sep=(.)"?')  # the first line of a file that Excel is to open


@dataclass(frozen=True)
class Dialect:
    """How the rows of a file are cut into cells."""

    separator: str  # one character; BLANKS for runs of them
    names: tuple[str, ...]  # of the columns: those of the header, or their places where there is none
    header: bool
    first: int  # the line of the first row
    ending: bytes = b""  # what each line has after its last cell
    idle: tuple[int, ...] = ()  # the places of columns without a name and without values


def find(path: Path, header: bool | None = True, decimal: str = ".") -> Dialect:
    """The dialect of a CSV file; ``header``: whether a line names the columns, None if that is to be found out.

    Raises DataError for a file without a line, without a separator, or with numbers alone where names should stand.
    """
    start, lines, comment, mark = _first_lines(path)
    if not lines:
        raise cells.fault(path, "line 1", "is empty; begin the file with a line that names the columns")
    lines, ending = [line.rstrip("\r") for line in lines], _ending(lines)
    separator = mark or _separator([line.removesuffix(ending) for line in lines], decimal)
    if header is not True and ending == separator:
        ending = ""  # the last values of the first series are missing
    lines = [line.removesuffix(ending) for line in lines]
    if count(lines[0], separator) > limits.COLUMNS:
        problem = f"names more than {limits.COLUMNS:,} columns, which is the limit; use the long layout"
        raise cells.fault(path, f"line {start}", problem)
    rows: list[list[str]] = []
    try:
        rows.extend(split(line, separator) for line in lines)
    except csv.Error as error:
        if not rows:
            problem = f"is no header ({error}); end each line with a line feed, and name the columns"
            raise cells.fault(path, f"line {start}", problem) from None
    if count(comment, separator) == len(rows[0]) > 1:
        if header is not False and without_header(rows, decimal):
            start, rows = start - 1, [split(comment.removeprefix("# "), separator), *rows]  # it names the columns
        elif header is False:
            problem = (
                "begins with #, as a comment does, but has the cells of a row; put the first in quotes, or leave the line out"
            )
            raise cells.fault(path, f"line {start - 1}", problem)
    if header is not False:
        rows[0] = _with_index(rows, lines, separator)
    guessed = header is None
    if header is None:
        header = not without_header(rows, decimal)
    if not header:
        return Dialect(separator, tuple(map(str, range(len(rows[0])))), False, start, ending.encode())
    if len(rows[0]) > 1 and all(cells.is_number(cell, decimal) for cell in rows[0]) and not _grow_evenly(rows[0], decimal):
        raise cells.fault(
            path,
            f"line {start}",
            "holds numbers alone, and no names of columns; set data.header=false, data.layout=wide, and data.label to the "
            "place of the label: 0 for the first column, -1 for the last",
        )
    if guessed and _units(rows, decimal):
        problem = f"({quoted(lines[1])}) holds no numbers, as a row of units or a second header does; leave it out"
        raise cells.fault(path, f"line {start + 1}", problem)
    names, idle = _named(rows)
    return Dialect(separator, names, True, start + 1, ending.encode(), idle)


def guess(path: Path) -> tuple[Dialect, str]:
    """The dialect of a CSV file of which nothing is known, and the point or the comma in its numbers."""
    dialect = find(path, None)
    if dialect.separator == ",":
        return dialect, "."
    _, lines, _, _ = _first_lines(path)
    decimal = "," if _decimal_commas(lines, "" if dialect.separator == BLANKS else dialect.separator) else "."
    return (find(path, None, decimal) if decimal == "," else dialect), decimal


def split(line: str, separator: str) -> list[str]:
    """The cells of a line, without space around them."""
    if separator == BLANKS:
        line = re.sub(r'("[^"]*")|[ \t]+', lambda found: found[1] or BLANKS, line.strip())
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [""])]


def count(line: str, separator: str) -> int:
    """The cells of a line."""
    bare = QUOTED.sub("x", line)
    return len(bare.split()) if separator == BLANKS else bare.count(separator) + 1


def without_header(rows: list[list[str]], decimal: str) -> bool:
    """Whether the first of ``rows`` holds values, as those below it do: it has a number that is no place and no step, or a
    word that comes again in its column."""
    first, below = rows[0], rows[1:]
    words = [place for place, cell in enumerate(first) if cell and not cells.is_number(cell, decimal)]
    if any(len(row) > place and row[place] == first[place] for place in words for row in below):
        return True
    for place in words:  # a word above numbers is their name
        there = [row[place] for row in below if len(row) > place and row[place] and not cells.is_missing(row[place])]
        if there and all(cells.is_number(cell, decimal) for cell in there):
            return cells.is_missing(first[place])
    numbers = [cell for cell in first if cells.is_number(cell, decimal)]
    if not numbers or cells.are_places(numbers):
        return False
    return not (words and _grow_evenly(numbers, decimal))


def _grow_evenly(numbers: list[str], decimal: str) -> bool:
    """Whether these may name steps: years, seconds, wavelengths, in either direction."""
    values = [float(cell.replace(decimal, ".")) for cell in numbers]
    gaps = {round(after - before, 9) for before, after in pairwise(values)}
    return not gaps or (len(gaps) == 1 and 0 not in gaps)


def _with_index(rows: list[list[str]], lines: list[str], separator: str) -> list[str]:
    """The cells of the header, with one for the column that it leaves out: the names of rows, as R writes them, before the
    others, or nothing behind them."""
    first, below = rows[0], rows[1:]
    if len(below) < 2 or any(len(row) != len(first) + 1 for row in below):
        return first
    if not any(row[-1] for row in below):
        return [*first, ""]
    quoted_ = all(line.lstrip().startswith('"') for line in lines[1:])  # else 0,5 might be a number
    different = len({row[0] for row in below}) == len(below)
    return ["", *first] if different and (quoted_ or separator != ",") else first


def _named(rows: list[list[str]]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The names of the columns, where the first have none as indices; and the places of those that have no values either."""
    first, below = rows[0], rows[1:]
    begin = next((place for place, name in enumerate(first) if name), 0)
    idle = tuple(
        place
        for place in range(begin, len(first))
        if not first[place] and not any(len(row) > place and row[place] for row in below)
    )
    return tuple(cells.index_name(place) if place < begin or place in idle else name for place, name in enumerate(first)), idle


def _first_lines(path: Path) -> tuple[int, list[str], str, str]:
    """The number of the first line that is no comment and not blank; it and some after it; the line before it; and the
    separator, if the file says it first."""
    lines: list[str] = []
    start = size = 0
    comment = mark = ""
    with text_files.opened(path) as file:
        while len(lines) < LINES and size < limits.HEADER:
            line = file.readline(limits.LINE + 1)
            if not line:
                break
            if len(line) > limits.LINE:
                where = f"line {start + 1 + len(lines)}"
                raise cells.fault(path, where, f"is longer than {limits.LINE >> 20} MB; a row of a CSV file is a line")
            try:
                text = line.decode("utf-8" if start or lines else "utf-8-sig").rstrip("\n")
            except UnicodeDecodeError as error:
                problem = text_files.not_utf8(path, line[error.start])
                raise cells.fault(path, f"line {start + 1 + len(lines)}", problem) from None
            if not start and not lines and (found := MARK.fullmatch(text.strip("\r"))):
                start, mark = 1, found[1]
                continue
            if not lines and (text.lstrip().startswith("#") or (start and not text.strip())):
                start, comment = start + 1, text.rstrip("\r")
                continue
            if not lines and not text.strip():
                return 1, [], "", ""
            size += len(line)
            lines.append(text)
    return start + 1, [line for line in lines if line.strip()], comment, mark


def _ending(lines: list[str]) -> str:
    """A semicolon, or another separator, that each line ends in though no cell follows."""
    last = {line.rstrip("\r")[-1:] for line in lines}
    return last.pop() if len(lines) > 1 and len(last) == 1 and last <= set(";,|") else ""


def _separator(lines: list[str], decimal: str) -> str:
    known = SEPARATORS.replace(decimal, "")
    counts = {mark: [count(line, mark) for line in lines] for mark in known}
    even = [mark for mark in known if counts[mark][0] > 1 and len(set(counts[mark])) == 1]
    blank = [count(line, BLANKS) for line in lines]
    if not even and len(set(blank)) > 1:  # the header may leave out the column of the rows' names
        even = [mark for mark in known if {*counts[mark][1:]} == {counts[mark][0] + 1}]
    if even:
        best = max(even, key=lambda mark: counts[mark][0])
        commas = [mark for mark in even if mark != "," and _decimal_commas(lines, mark)]
        if not commas and blank[0] > 1 and len(set(blank)) == 1 and _decimal_commas(lines, ""):
            commas = [BLANKS]
        return commas[0] if best == "," and commas else best
    if blank[0] > 1 and len(set(blank)) == 1 and max(counts[mark][0] for mark in known) == 1:
        return BLANKS
    best = max(known, key=lambda mark: counts[mark][0])  # the lines that differ are refused when they are reached
    if counts[best][0] == 1 and any(max(counts[mark]) > 1 for mark in known):
        best = max(known, key=lambda mark: max(counts[mark]))
    if max(map(max, counts.values())) == 1:
        return BLANKS if blank[0] > 1 else ","
    return best


def _decimal_commas(lines: list[str], separator: str) -> bool:
    """Whether the commas of these lines stand in numbers, once ``separator`` has cut the cells."""
    parts = [cell for line in lines for cell in line.split(separator or None) if "," in cell]
    return bool(parts) and all(COMMA.fullmatch(cell) for cell in parts)


def _units(rows: list[list[str]], decimal: str) -> bool:
    """Whether the second of ``rows`` stands between names and values and holds words where the values are numbers."""
    if len(rows) < 3 or not len(rows[0]) == len(rows[1]) == len(rows[2]):
        return False
    numeric = [place for place, cell in enumerate(rows[2]) if cells.is_number(cell, decimal)]
    there = [rows[1][place] for place in numeric if rows[1][place]]
    return bool(there) and not any(
        cells.is_number(cell, decimal) or COMMA.fullmatch(cell) or cells.is_missing(cell) or cells.is_truth(cell)
        for cell in there
    )
