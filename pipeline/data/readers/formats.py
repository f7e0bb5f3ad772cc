"""The user's own files and folders -> series, by one entry. The same series give the same ``Series``, wherever they are."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.data.readers import arff, folders, limits, ts
from pipeline.data.readers.arrays import npz
from pipeline.data.readers.shapes.asked import shaped
from pipeline.data.readers.tables import layouts, part_files
from pipeline.data.readers.tables.csv_table import open_csv
from pipeline.data.readers.tables.parquet_table import open_parquet
from pipeline.data.readers.tables.rows import Ids
from pipeline.data.readers.tables.table import Table
from pipeline.data.series import PART, Columns, Series, Words, refuse_unfit
from pipeline.errors import DataError, some

TABLES: dict[str, Callable[[Path, Columns], Table]] = {
    "csv": lambda path, columns: open_csv(path, columns.header, columns.decimal),
    "parquet": lambda path, columns: open_parquet(path),
}
FORMATS: dict[str, Callable[[Path, Columns, Path | None], Iterator[Series]]] = {
    "npz": lambda path, columns, folder: npz.read(path, columns),
    "csv": lambda path, columns, folder: layouts.read(TABLES["csv"](path, columns), columns, folder),
    "parquet": lambda path, columns, folder: layouts.read(TABLES["parquet"](path, columns), columns, folder),
    "ts": lambda path, columns, folder: ts.read(path, columns),
    "arff": lambda path, columns, folder: arff.read(path, columns),
}


def read(source: str, path: Path, columns: Columns, folder: Path | None = None) -> Generator[Series, None, None]:
    """The series of a file, or of a folder of files, of the format ``source``, in blocks and in order, at least one.

    A table that is put in order on the disk has its temporary files in ``folder``, or in that of the system.

    Raises DataError, when the place is reached, that names the file and the line, row, column or array of what is wrong.
    Whatever sizes a file states, what is held of it at a time is bounded (``limits``).
    """
    try:
        count = 0
        found = _of_folder(source, path, columns, folder) if path.is_dir() else _of_file(source, path, columns, folder)
        for block in shaped(found, columns):
            count += len(block)
            if count > limits.SERIES:
                raise DataError(
                    f"{path}: holds more than {limits.SERIES:,} series, which is the limit; cut it into several files"
                )
            _refuse_unfit(block)
            yield block
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; look at its permissions and its disk") from error


def _of_file(source: str, path: Path, columns: Columns, folder: Path | None = None) -> Iterator[Series]:
    _refuse_absent(path, columns)
    if columns.recordings and columns.labelled:
        raise DataError(f"{path}: is a file, and data.recordings is of a folder of files; leave it out, or name the folder")
    folders.refuse_npy(path, columns.labelled)
    yield from FORMATS[source](path, columns, folder)


def _refuse_absent(path: Path, columns: Columns) -> None:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; name another" + ": data.path=FILE" * columns.labelled)
    if not path.stat().st_size:
        raise DataError(f"{path}: line 1: the file is empty; it needs at least one series")


def _of_folder(source: str, path: Path, columns: Columns, folder: Path | None) -> Iterator[Series]:
    """The series of recordings in a folder per class, or of the part files of one table or archive."""
    found = folders.look(source, path, columns)
    for name in found.files:
        _refuse_absent(path / name, columns)
    if source in TABLES:
        tables = [TABLES[source](path / name, columns) for name in found.files]
        blocks = layouts.read(*part_files.of_folder(found, tables, columns), folder)
    else:
        blocks = _archives(source, found, columns)
    long = "data.layout = wide has no effect: each file is a recording, and a row is a step of it"
    more = (long,) if source in TABLES and found.recordings and columns.labelled and columns.layout == "wide" else ()
    for block in blocks:
        yield replace(block, doubts=(*found.doubts, *more, *block.doubts))


def _archives(source: str, found: folders.Folder, columns: Columns) -> Iterator[Series]:
    """The series of files that are no tables: all of each, or with class folders the one of each."""
    inner = columns.model_copy(update={"labelled": columns.labelled and not found.labels, "recordings": ""})
    paths = tuple(str(found.path / name) for name in found.files)
    channels: tuple[str, ...] | None = None
    for number, (id_, name) in enumerate(zip(found.ids, found.files, strict=True)):
        for block in FORMATS[source](found.path / name, inner, None):
            channels = channels or block.channels
            if block.channels != channels:
                problem = f"its channels are {some(block.channels)}, but {paths[0]} has {some(channels)}; give all the same"
                raise DataError(f"{paths[number]}: {problem}")
            single = found.recordings and len(block) == 1
            made = replace(block, values=block.values.astype(np.float64, copy=False), files=paths)
            yield replace(
                made,
                source=found.path,
                rows=block.rows + number * PART,
                ids=(id_,) if single else tuple(f"{id_}/{word}" for word in block.ids),
                labels=(found.labels[number],) * len(block) if found.labels else block.labels,
                groups=(found.groups[number],) * len(block) if found.groups else block.groups,
            )


def _refuse_unfit(block: Series) -> None:
    """Raise DataError for a word of a block that is too long or holds what nobody sees."""
    refuse_unfit(block.channels, lambda _: f"{block.source}: the name of channel")
    for role, words in (("id", block.ids), ("label", block.labels), ("group", block.groups)):

        def where(number: int, role: str = role) -> str:
            return f"{block.place(number)}: the {role}"

        if words and not (isinstance(words, Ids) and words.plain):
            try:
                refuse_unfit(words if role == "id" else Words.of(words).different, where)  # labels and groups are few
            except DataError:
                refuse_unfit(words, where)
