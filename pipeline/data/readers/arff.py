"""ARFF as the UCR archive uses it for univariate series: numeric attributes are the steps, one nominal attribute is the class.

Values that are missing (?) at the end of a row end its series, as empty cells do in a wide table; others are missing values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.data.readers import cells
from pipeline.data.readers.ts import check_label, in_blocks, numbers, refuse_long_header, text_lines
from pipeline.data.series import Array, Columns, Series
from pipeline.errors import quoted

# In time that grows as the line does: what a possessive part has taken is never tried again.
ATTRIBUTE = re.compile(r"""@attribute\s++('[^']*+'|"[^"]*+"|[^\s{'"]++)\s*+(\{.*\}$|[^\s{].*)""", re.IGNORECASE)

CELL = re.compile(r"""(?:^|,)(\s*+(?:'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+")\s*+(?=,|$)|[^,]*+)""")


def read(path: Path, columns: Columns) -> Iterator[Series]:
    """The series of an ARFF file, in blocks. Raises DataError, which names the line, for what is no such file."""
    lines = text_lines(path)
    names, classes = _header(path, lines)
    if columns.labelled and not any(classes):
        raise cells.fault(path, "@attribute", "no nominal attribute {A,B,...} is the class, which training needs; declare it")
    yield from in_blocks(path, _rows(path, lines, names, classes, columns.labelled), columns, any(classes))


def split(text: str) -> list[str]:
    """The cells between commas: in quotes a comma is a character, and so is what stands behind a backslash."""
    if "'" not in text and '"' not in text:
        return [cell.strip() for cell in text.split(",")]
    return [_bare(found[1].strip()) for found in CELL.finditer(text)]


def _bare(cell: str) -> str:
    """A cell without the quotes around it."""
    if len(cell) > 1 and cell[0] == cell[-1] and cell[0] in "'\"":
        return re.sub(r"\\(.)", r"\1", cell[1:-1]).strip()
    return cell


def _header(path: Path, lines: Iterator[tuple[int, str]]) -> tuple[list[str], list[dict[str, None]]]:
    """The names of the attributes, and the classes of each: none for one that is numeric."""
    names: list[str] = []
    classes: list[dict[str, None]] = []
    for line, text in lines:
        refuse_long_header(path, line, text)
        key = text.split()[0].lower()
        if key == "@data":
            if len(names) - any(classes) < 1:
                raise cells.fault(path, f"line {line}", "no numeric attribute stands above; a series needs one for each step")
            return names, classes
        match = ATTRIBUTE.match(text)
        kind = match[2].strip() if match else ""
        if key == "@attribute" and kind.lower() == "relational":
            raise cells.fault(
                path, f"line {line}", "a relational attribute: series of several channels are read from .ts; use that file"
            )
        if key == "@relation":
            continue
        if key != "@attribute" or not match or not (kind[0] == "{" or kind.lower() in ("numeric", "real", "integer")):
            problem = (
                f"{quoted(text, 60)} is no @attribute NAME numeric or @attribute NAME {{A,B,...}}; other kinds are not read"
            )
            raise cells.fault(path, f"line {line}", problem)
        if kind[0] == "{" and any(classes):
            raise cells.fault(
                path, f"line {line}", "a second nominal attribute; only the class may be nominal: leave the other out"
            )
        names.append(match[1].strip("'\""))
        classes.append(dict.fromkeys(map(cells.class_word, split(kind[1:-1]))) if kind[0] == "{" else {})
    raise cells.fault(path, "@data", "there is no such line, after which the series stand; is this an ARFF file?")


def _rows(
    path: Path, lines: Iterator[tuple[int, str]], names: list[str], classes: list[dict[str, None]], labelled: bool
) -> Iterator[tuple[int, Array, str]]:
    column = next((number for number, words in enumerate(classes) if words), None)
    for line, text in lines:
        row = split(text)
        if text[0] == "{" or len(row) != len(names):
            shape = "a sparse row" if text[0] == "{" else f"{len(row)} values"
            raise cells.fault(
                path, f"line {line}", f"{shape}, but {len(names)} attributes are declared; write one value for each"
            )
        label = "" if column is None else check_label(path, line, row.pop(column), classes[column], labelled)
        while row and row[-1] == "?":
            row.pop()
        if not row:
            raise cells.fault(path, f"line {line}", "all steps of this series are missing; leave the row out")
        yield line, numbers(path, line, row)[:, np.newaxis], label
