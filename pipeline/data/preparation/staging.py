"""A copy of a prepared folder on a disk of this host, where a disk that all hosts share is slow."""

from __future__ import annotations

import glob
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pipeline import files
from pipeline.data.manifest import NAMES
from pipeline.data.prepared import Prepared
from pipeline.distributed import collectives
from pipeline.distributed.lock import held
from pipeline.errors import DataError


def on_each_host(prepared: Prepared, place: str, first: bool) -> Prepared:
    """The copy of ``prepared`` in the folder ``place`` of this host, made by the ``first`` process of each; without a ``place``
    what it was given. Collective."""
    if not place:
        return prepared
    folder = files.path(place)
    collectives.patiently(lambda: stage(prepared, folder) if first else None)
    return staged(prepared, folder)


def staged(prepared: Prepared, place: Path) -> Prepared:
    """``prepared`` as it lies, or will lie, in ``place``: what is of the same content has the same name there."""
    return replace(prepared, folder=place / f"{prepared.folder.name}-{prepared.digest[:12]}", made=False)


def stage(prepared: Prepared, place: Path) -> None:
    """Copy a prepared folder to ``place``, unless it is there, whole. All that is there then has the checksums of its manifest.

    Raises DataError if it was changed on the way, UserError if the disk is full or cannot be written.
    """
    copy = staged(prepared, place)
    with files.disk_errors("the copy of the prepared data (data.stage)", copy.folder):
        files.make_folder(place)
        with held(place / ".lock", wait=True):
            with suppress(DataError):
                copy.verify(NAMES)
                return
            files.remove(copy.folder)
            for stale in place.glob(f".{glob.escape(copy.folder.name)}.*"):  # of a process that was killed
                files.remove(stale)
            with files.whole_folder(copy.folder) as partial:
                for info in prepared.manifest.parts.values():
                    for file in info.files:
                        shutil.copyfile(prepared.folder / file.file, partial / file.file)
                replace(copy, folder=partial).verify(NAMES)
