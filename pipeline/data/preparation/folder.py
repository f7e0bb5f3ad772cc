"""The user's or the source's raw examples -> a prepared folder, whole or not at all."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from pipeline import config, files
from pipeline.data.manifest import NAMES, Name, manifest_of
from pipeline.data.preparation import image_parts, series_parts
from pipeline.data.prepared import COMMAND, Prepared, folder_of, open_prepared, settings_of
from pipeline.data.sources import catalog
from pipeline.data.sources.checksums import Checksums, Stamps
from pipeline.distributed.lock import held
from pipeline.errors import DataError


def prepare(data: config.Data, anew: bool = False) -> Prepared:
    """The prepared folder of ``data``, made if it is not there yet; of several callers at once, one makes it.

    One that is there is compared with what it was made from and was made into; with ``anew`` each file is read for that, also
    if it seems untouched since the last time.

    Raises DataError if the raw files are missing, wrong or not those it was made from, or if it was changed since;
    UserError if the disk cannot be written.
    """
    folder = folder_of(data)
    if not folder.exists():  # a whole one needs no lock, and may lie on a disk that is read-only
        with files.disk_errors("prepared data", folder):
            files.make_folder(folder.parent)
            with held(folder.parent / ".lock", wait=True):
                if not folder.exists():
                    for stale in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
                        shutil.rmtree(stale, ignore_errors=True)
                    before = catalog.checksums(data, Stamps())
                    raw = None if data.series else catalog.read(data)
                    with files.whole_folder(folder) as partial:
                        content = image_parts.write(partial, data, raw) if raw else series_parts.write(partial, data)
                        known = Checksums(partial)
                        sources = {name: checksum for name, (_, checksum) in _checksums(data, known, "").items()}
                        _refuse_moving(data, before)
                        manifest = manifest_of(data, settings_of(data), content, sources)
                        files.write_json(partial / "manifest.json", manifest.model_dump(mode="json"))
                        known.save()
                    return replace(open_prepared(data, verify=()), made=True)
    prepared = open_prepared(data, verify=())
    refuse_changed(data, prepared, anew=anew)
    return prepared


def _refuse_moving(data: config.Data, before: dict[str, tuple[Path, str]]) -> None:
    """Raise DataError for a raw file that is not what it was ``before`` it was read: its checksum is of what nobody read."""
    now = catalog.checksums(data, Stamps())
    for name, (path, stamp) in before.items():
        if now.get(name) != (path, stamp):
            raise DataError(f"{path}: changed while it was read; once nobody writes to it any more, type: {COMMAND}")


def _checksums(data: config.Data, known: Checksums, instead: str) -> dict[str, tuple[Path, str]]:
    """``catalog.checksums``. Raises DataError for a file that cannot be read; ``instead``: what else can be done."""
    try:
        return catalog.checksums(data, known)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); put a good copy there{instead}") from error


def refuse_changed(
    data: config.Data, prepared: Prepared, parts: Collection[Name] = NAMES, raw: bool = True, anew: bool = False
) -> None:
    """Raise DataError if one of the prepared ``parts`` is not what it was, or, with ``raw``, if raw data is there and is not
    what they were made from. ``anew``: read also the files that seem untouched since the last time.
    """
    if prepared.manifest.adapted and data.is_chosen("validation"):
        raise DataError(
            f"data.validation = {data.validation} cannot be held out of these examples; leave it out, and it is made to fit: "
            f"{prepared.manifest.adapted}"
        )
    known = Checksums(prepared.folder, anew)
    prepared.verify(parts, known)
    with known:
        found = _checksums(data, known, f", or move it away: {prepared.folder} is used without it") if raw else {}
    for name, (path, checksum) in found.items():
        if prepared.manifest.source_files.get(name) != checksum:
            what = "is not the folder" if path.is_dir() else "is not the file"
            raise DataError(
                f"{path}: {what} that {prepared.folder} was made from: something in it has changed; put the former one back, "
                f"or delete the folder {prepared.folder} and type: {COMMAND}"
            )
