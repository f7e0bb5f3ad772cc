"""The user's own files -> series, by one entry. The same series give the same ``Series``, whatever file they are in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline import config
from pipeline.data.readers import arff, limits, ts
from pipeline.data.readers.arrays import npz
from pipeline.data.readers.tables import layouts
from pipeline.data.readers.tables.csv_table import open_csv
from pipeline.data.readers.tables.parquet_table import open_parquet
from pipeline.data.readers.text_files import PACKED
from pipeline.data.series import Columns, Series, refuse_unfit
from pipeline.errors import DataError

FORMATS: dict[str, Callable[[Path, Columns, Path | None], Iterator[Series]]] = {
    "npz": lambda path, columns, folder: npz.read(path, columns),
    "csv": lambda path, columns, folder: layouts.read(open_csv(path, columns.header, columns.decimal), columns, folder),
    "parquet": lambda path, columns, folder: layouts.read(open_parquet(path), columns, folder),
    "ts": lambda path, columns, folder: ts.read(path, columns),
    "arff": lambda path, columns, folder: arff.read(path, columns),
}


def named(path: Path) -> str | None:
    """The format that the name of a file tells, packed or not; None for none of series."""
    return config.SUFFIXES.get(Path(path.name.lower().removesuffix(PACKED)).suffix)


def read(source: str, path: Path, columns: Columns, folder: Path | None = None) -> Iterator[Series]:
    """The series of a file of the format ``source``, in blocks and in the order of the file, at least one.

    A table that is put in order on the disk has its temporary files in ``folder``, or in that of the system.

    Raises DataError, when the place is reached, that names the file and the line, row, column or array of what is wrong.
    Whatever sizes a file states, what is held of it at a time is bounded (``limits``).
    """
    try:
        if not path.is_file():
            problem = "is a folder; name a file in it" if path.is_dir() else "there is no such file; name another"
            raise DataError(f"{path}: {problem}" + ": data.path=FILE" * columns.labelled)
        if not path.stat().st_size:
            raise DataError(f"{path}: line 1: the file is empty; it needs at least one series")
        count = 0
        for block in FORMATS[source](path, columns, folder):
            count += len(block)
            if count > limits.SERIES:
                raise DataError(
                    f"{path}: holds more than {limits.SERIES:,} series, which is the limit; cut it into several files"
                )
            _refuse_unfit(block)
            yield block
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; look at its permissions and its disk") from error


def _refuse_unfit(block: Series) -> None:
    """Raise DataError for a word of a block that is too long or holds what nobody sees."""
    refuse_unfit(block.channels, lambda _: f"{block.source}: the name of channel")
    for role, words in (("id", block.ids), ("label", block.labels), ("group", block.groups)):

        def where(number: int, role: str = role) -> str:
            return f"{block.place(number)}: the {role}"

        if words:
            try:
                refuse_unfit(words if role == "id" else [*{*words}], where)  # labels and groups are few
            except DataError:
                refuse_unfit(words, where)
