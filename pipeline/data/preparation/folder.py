"""The user's or the source's raw examples -> a prepared folder, whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import replace

from filelock import FileLock

from pipeline import config, files
from pipeline.data.manifest import manifest_of
from pipeline.data.preparation import image_parts, series_parts
from pipeline.data.prepared import COMMAND, Prepared, folder_of, open_prepared, settings_of
from pipeline.data.sources import catalog
from pipeline.errors import DataError


def prepare(data: config.Data) -> Prepared:
    """The prepared folder of ``data``, made if it is not there yet; of several callers at once, one makes it.

    Raises DataError if the raw files are missing, wrong or not those it was made from, or if it was changed since;
    UserError if the disk cannot be written.
    """
    folder = folder_of(data)
    if not folder.exists():  # a whole one needs no lock, and may lie on a disk that is read-only
        with files.disk_errors("prepared data", folder):
            files.make_folder(folder.parent)
            with FileLock(folder.parent / ".lock"):
                if not folder.exists():
                    for stale in folder.parent.glob(f".{folder.name}.*"):
                        shutil.rmtree(stale, ignore_errors=True)
                    raw = None if data.series else catalog.read(data)
                    with files.whole_folder(folder) as partial:
                        content = image_parts.write(partial, data, raw) if raw else series_parts.write(partial, data)
                        manifest = manifest_of(data, settings_of(data), content)
                        files.write_json(partial / "manifest.json", manifest.model_dump(mode="json"))
                    return replace(open_prepared(data, verify=False), made=True)
    prepared = open_prepared(data)
    refuse_changed(data, prepared)
    return prepared


def refuse_changed(data: config.Data, prepared: Prepared) -> None:
    """Raise DataError if raw data is there and is not what ``prepared`` was made from."""
    own = data.series or data.source == "images"
    for path, checksum in catalog.checksums(data).items():
        if prepared.manifest.source_files.get(str(path) if own else path.name) != checksum:
            what = "is not the folder" if path.is_dir() else "is not the file"
            raise DataError(
                f"{path}: {what} that {prepared.folder} was made from: something in it has changed; put the former one back, "
                f"or delete the folder {prepared.folder} and type: {COMMAND}"
            )
