"""The user's own files -> series, by one entry. The same series give the same ``Series``, whatever file they are in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.data.readers import arff, npz, table_layouts, ts
from pipeline.data.readers.csv_table import open_csv
from pipeline.data.readers.parquet_table import open_parquet
from pipeline.data.series import Columns, Series
from pipeline.errors import DataError

FORMATS: dict[str, Callable[[Path, Columns], Iterator[Series]]] = {
    "npz": npz.read,
    "csv": lambda path, columns: table_layouts.read(open_csv(path), columns),
    "parquet": lambda path, columns: table_layouts.read(open_parquet(path), columns),
    "ts": ts.read,
    "arff": arff.read,
}


def read(source: str, path: Path, columns: Columns) -> Iterator[Series]:
    """The series of a file of the format ``source``, in blocks and in the order of the file, at least one.

    Raises DataError, when the place is reached, that names the file and the line, row, column or array of what is wrong.
    """
    try:
        if not path.is_file():
            problem = "is a folder; name a file in it" if path.is_dir() else "there is no such file; name another"
            raise DataError(f"{path}: {problem}" + ": data.path=FILE" * columns.labelled)
        if not path.stat().st_size:
            raise DataError(f"{path}: line 1: the file is empty; it needs at least one series")
        yield from FORMATS[source](path, columns)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; look at its permissions and its disk") from error
