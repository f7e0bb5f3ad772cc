"""Folders of series: a folder per class with a file per recording, or the part files of one table or archive.

Hidden files, and those whose names begin with ``_``, are no data. Files stand in the order of their paths.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline import config
from pipeline.data.readers.cells import class_word
from pipeline.data.readers.text_files import PACKED, stem
from pipeline.data.series import Columns
from pipeline.errors import DataError, some

IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's IMG_EXTENSIONS
SPLITS = {"train", "test"}  # folders of these names are no classes
SPLIT_OF = {  # nor are those whose names all mean splits, in lower case
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}

OF_NPY = (("X", "y"), ("x", "y"), ("data", "labels"), ("values", "labels"), ("features", "labels"))  # names that go together


TABLES_OF = {  # kinds of tables that polars reads
    **dict.fromkeys((".jsonl", ".ndjson"), "read_ndjson"),
    ".json": "read_json",
    **dict.fromkeys((".feather", ".arrow", ".ipc"), "read_ipc"),
    ".avro": "read_avro",
}
ROLES = ("label", "group")  # what the path of a recording may say
ARRAYS = "save its arrays in an .npz file: X (series, steps, channels) and y (series)"
OTHERS_OF = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "save the sheet as CSV (UTF-8)"),
    **dict.fromkeys((".pkl", ".pickle"), "a pickle may run any program; save the table by pandas' to_parquet"),
    **dict.fromkeys((".mat", ".h5", ".hdf5", ".pt", ".npy", ".nc", ".edf", ".bdf", ".wav", ".flac", ".mp3"), ARRAYS),
    **dict.fromkeys((".rds", ".rdata", ".sav", ".dta"), "save the table as CSV (UTF-8)"),
    ".dat": "if it is text, call it .txt; of a record of WFDB make CSV: rdsamp -c -v -r RECORD > RECORD.csv",
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".bz2", ".xz", ".zst", ".z"), "unpack it"),
}


@dataclass(frozen=True)
class Folder:
    """What lies in a folder: its ``files``, as paths below it, of which ``classes`` are the folders that are classes."""

    path: Path
    files: tuple[str, ...]
    classes: tuple[str, ...]  # () where files lie in the folder itself
    others: tuple[str, ...]  # files of other kinds
    labels: tuple[str, ...] | None = None  # the class of each file, where its place says it
    groups: tuple[str, ...] | None = None  # and of whom or what it is
    recordings: bool = False  # whether each file is a recording

    @property
    def doubts(self) -> tuple[str, ...]:
        """A warning about files that are left out."""
        if not self.others:
            return ()
        return (f"{self.path}: {len(self.others)} files of other kinds are left out: {some(list(self.others))}",)

    @property
    def ids(self) -> list[str]:
        """A name for each file: its own, or its path below the folder where two have the same."""
        names = [Path(file).name for file in self.files]
        return names if len(set(names)) == len(names) else list(self.files)


def named(path: Path) -> str | None:
    """The format that the name of a file tells, packed or not; None for none of series."""
    return config.SUFFIXES.get(Path(path.name.lower().removesuffix(PACKED)).suffix)


def refuse_other(path: Path) -> None:
    """Raise DataError, with what to type, for a file of a known kind that is not read."""
    kind = path.suffix.lower()
    if kind in TABLES_OF:
        made = path.with_suffix(".parquet")
        typed = f"python -c \"import polars as p; p.{TABLES_OF[kind]}('{path}').write_parquet('{made}')\""
        raise DataError(f"{path}: {kind} is not read; type: {typed}; then use {made}")
    if kind in OTHERS_OF:
        raise DataError(f"{path}: {kind} is not read; {OTHERS_OF[kind]}")


def refuse_npy(path: Path, labelled: bool = True) -> None:
    """Raise DataError, with what to type, for a .npy file: one array, whose labels stand in another file.

    ``labelled``: whether there must be labels.
    """
    if path.suffix.lower() != ".npy":
        return
    beside = [path.with_name(path.name.replace(one, other)) for one, other in OF_NPY if one in path.name]
    labels = next((name for name in beside if name.is_file()), path.with_name("y.npy"))
    made = path.with_suffix(".npz")
    saves = [f"n.savez('{made}', X=n.load('{path}')" + f", y=n.load('{labels}')" * labelled + ")"]
    tests = [path.with_name(path.name.replace("train", "test")), labels.with_name(labels.name.replace("train", "test"))]
    both = labelled and "train" in path.name and "train" in labels.name and all(file.is_file() for file in tests)
    if both:
        saves.append(f"n.savez('{tests[0].with_suffix('.npz')}', X=n.load('{tests[0]}'), y=n.load('{tests[1]}'))")
    reason = "holds one array, and labels stand in another file; put both into one file" if labelled else "is not read"
    more = f", and {tests[0].with_suffix('.npz')} for the test" * both
    raise DataError(f'{path}: {reason}: type: python -c "import numpy as n; {"; ".join(saves)}"; then use {made}{more}')


def splits(names: Collection[str]) -> dict[str, str]:
    """Which of the folders ``names`` is which split: train, valid, test; {} if one is no split, or two are the same."""
    found = {SPLIT_OF[name.lower()]: name for name in names if name.lower() in SPLIT_OF}
    return found if len(found) == len(names) and "train" in found and len(found) > 1 else {}


def refuse_splits(path: Path, names: Collection[str]) -> None:
    """Raise DataError, with what to type, if the folders ``names`` in ``path`` are splits that it takes keys to read."""
    parts = splits(names)
    if not parts or {*names} == SPLITS:
        return
    test = parts.get("test", parts.get("valid", ""))
    merged = f"; what lies in {parts.get('valid')}/ may lie in {parts['train']}/ too, of which a valid split is cut"
    raise DataError(
        f"{path}: holds splits ({some(list(names))}) and no classes; type data.path={path / parts['train']} "
        f"data.test_path={path / test}{merged * (len(parts) == 3)}"
    )


def format_in(path: Path, images: Collection[str]) -> str | None:
    """The format that most files in a folder have by their names; None where most are ``images``, by their suffixes."""
    names = [Path(name) for name in data_files(path)]
    found = [kind for name in names if (kind := named(name))]
    pictures = sum(name.suffix.lower() in images for name in names)
    return max(sorted(set(found)), key=found.count) if len(found) > pictures else None


def look(source: str, path: Path, columns: Columns) -> Folder:
    """What lies in the folder ``path``, read as files of the format ``source``.

    Raises DataError for one without such files, for files beside class folders, and for folders that are no classes.
    """
    every = data_files(path)
    kinds = {name: named(Path(name)) for name in every}
    files = tuple(name for name in every if kinds[name] == source)
    suffixes = ", ".join(config.SERIES[source].suffixes)
    if not files:
        raise DataError(f"{path}: is a folder without a file of the format {source} ({suffixes}); name another, or a file")
    for name in files:
        if not name.isascii() and name.encode("utf-8", "replace").decode() != name:
            raise DataError(f"{path / name}: its path is not UTF-8, and may be an id or a class; rename it")
    others = tuple(name for name in every if kinds[name] != source)
    if columns.recordings:
        labels, groups = _told(path, files, columns)
        return Folder(path, files, (), others, labels, groups, recordings=True)
    inner = tuple(dict.fromkeys(Path(name).parts[0] for name in files if len(Path(name).parts) > 1))
    loose = [name for name in files if len(Path(name).parts) == 1]
    if inner and loose:
        raise DataError(
            f"{path}: holds files ({some(loose)}) and folders of files ({some(list(inner))}); parts of one table lie side by "
            "side, recordings in a folder per class: move the ones or the others away. If each file holds one channel, "
            f"a row per series, {ARRAYS}"
        )
    if set(inner) == SPLITS:
        raise DataError(f"{path}: holds train/ and test/; type data.path={path / 'train'} data.test_path={path / 'test'}")
    refuse_splits(path, inner)
    if inner and all("=" in name for name in inner):
        raise DataError(f"{path}: is partitioned by {inner[0].split('=')[0]!r}, which is not read; write it without partitions")
    if len(inner) == 1 and columns.labelled:
        raise DataError(f"{path}: holds one folder, {inner[0]!r}; recordings need a folder for each class, parts need none")
    by_class = tuple(class_word(name.split("/")[0]) for name in files) if inner else None
    return Folder(path, files, inner, others, by_class, recordings=bool(inner))


def _told(path: Path, files: tuple[str, ...], columns: Columns) -> list[tuple[str, ...] | None]:
    """The labels and the groups of files, as ``columns.recordings`` finds them in their paths; None for what it does not name.

    Raises DataError for a path that says no such thing, where it must.
    """
    form, found = _form(columns.recordings), list[dict[str, str]]()
    for name in files:
        said = form.fullmatch(f"{name.rpartition('/')[0]}/{stem(Path(name))}".lstrip("/"))
        if said is None and columns.labelled:
            raise DataError(
                f"{path / name}: its path below {path} is not as data.recordings = {columns.recordings} says; rename the file, "
                "move it away, or change data.recordings"
            )
        found.append({role: class_word(word) for role, word in (said.groupdict() if said else {}).items()})
    named = [role for role in ROLES if any(role in words for words in found)]
    return [tuple(words.get(role, "") for words in found) if role in named else None for role in ROLES]


def _form(recordings: str) -> re.Pattern[str]:
    """What the paths of ``data.recordings`` look like: a word has no ``/`` and ends where what stands behind it comes first.

    No word is tried twice, however long a path is.
    """
    text, *rest = re.split(f"({config.TOLD})", recordings)
    made = re.escape(text)
    for word, behind in zip(rest[::2], rest[1::2], strict=True):
        name = "" if word == "ANY" else f"?P<{word.lower()}>"
        end = re.escape(behind)
        made += f"({name}[^/]+){end}" if behind[:1] in ("", "/") else f"(?>({name}[^/]+?){end})"
    return re.compile(made)


def data_files(path: Path) -> list[str]:
    """All files below a folder that may be data, as paths from there on. Raises DataError for what cannot be looked at."""
    found: list[str] = []
    for place, inner, names in walk(path):
        inner[:] = [name for name in inner if name[0] not in "._"]
        below = Path(place).relative_to(path)
        found += [(below / name).as_posix() for name in names if name[0] not in "._"]
    return sorted(found, key=lambda name: name.split("/"))


def walk(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As ``os.walk``, through links to folders too, or their files would be left out without a word.

    Raises DataError for what cannot be looked at, and for a link to a folder that it lies in.
    """
    for place, inner, names in os.walk(path, onerror=_refuse, followlinks=True):
        for link in (entry for entry in map(Path(place).joinpath, inner) if entry.is_symlink()):
            if link.resolve() in {above.resolve() for above in link.parents}:
                raise DataError(f"{link}: is a link to a folder that it lies in; remove it")
        yield place, inner, names


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be looked at ({error.strerror}); put that right, or remove it") from error
