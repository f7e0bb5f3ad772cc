"""Series as a file has them -> series as the section ``data`` asks for them: the same in training and in prediction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.data.readers.shapes import clock, rows_of_values, windows
from pipeline.data.series import Columns, Series


def shaped(blocks: Iterable[Series], columns: Columns) -> Iterator[Series]:
    """The series of a file, in blocks: rows of values become steps, recordings become windows, times become a channel.

    Raises DataError, with file and row, for what cannot be so.
    """
    yield from clock.read(windows.cut(clock.doubted(rows_of_values.cut(blocks, columns), columns), columns), columns)
