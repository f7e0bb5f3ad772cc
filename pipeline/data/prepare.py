"""The user's or the source's raw examples -> a prepared folder, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from pipeline import config, files
from pipeline.data import build, derive, sources, split
from pipeline.data.build import REPEATED_SHOWN
from pipeline.data.prepared import COMMAND, FORMAT, Manifest, Name, PartInfo, Prepared, folder_of, open_prepared, settings_of
from pipeline.errors import DataError


def prepare(data: config.Data) -> Prepared:
    """The prepared folder of ``data``, made if it is not there yet; of several callers at once, one makes it.

    Raises DataError if the raw files are missing, wrong or not those it was made from, or if it was changed since;
    UserError if the disk cannot be written.
    """
    folder = folder_of(data)
    if not folder.exists():  # a whole one needs no lock, and may lie on a disk that is read-only
        with files.disk_errors("prepared data", folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / ".lock"):
                if not folder.exists():
                    for stale in folder.parent.glob(f".{folder.name}.*"):
                        shutil.rmtree(stale, ignore_errors=True)
                    raw = None if data.series else sources.read(data)
                    with files.whole_folder(folder) as partial:
                        manifest = _images(partial, data, raw) if raw else build.series(partial, data)
                        files.write_json(partial / "manifest.json", manifest.model_dump(mode="json"))
                    return replace(open_prepared(data, verify=False), made=True)
    prepared = open_prepared(data)
    refuse_changed(data, prepared)
    return prepared


def refuse_changed(data: config.Data, prepared: Prepared) -> None:
    """Raise DataError if raw data is there and is not what ``prepared`` was made from."""
    own = data.series or data.source == "images"
    for path, checksum in sources.checksums(data).items():
        if prepared.manifest.source_files.get(str(path) if own else path.name) != checksum:
            what = "is not the folder" if path.is_dir() else "is not the file"
            raise DataError(
                f"{path}: {what} that {prepared.folder} was made from: something in it has changed; put the former one back, "
                f"or delete the folder {prepared.folder} and type: {COMMAND}"
            )


def _images(folder: Path, data: config.Data, raw: sources.Raw) -> Manifest:
    _, height, width = raw.train_values.shape
    order, length, features = derive.view(data, height, width)
    kept, held_out = split.cut(data, "validation", raw.train_labels, raw.class_names)
    everything = np.arange(len(raw.test_labels))
    chosen: Mapping[Name, tuple[sources.Array, sources.Array, sources.Array]] = {
        "train": (raw.train_values, raw.train_labels, kept),
        "valid": (raw.train_values, raw.train_labels, held_out),
        "test": (raw.test_values, raw.test_labels, everything),
    }
    parts: dict[Name, PartInfo] = {}
    twins = derive.repeated(raw.train_values, raw.test_values)
    for name, (images, labels, rows) in chosen.items():
        if name == "valid" and not len(rows):
            continue
        flat = images.reshape(len(images), -1)[rows]
        values = (flat if order is None else flat.take(order, axis=1)).reshape(-1, length, features)
        if name == "train":
            mean, std, global_mean, global_std = derive.statistics(values)
        tensors = {"values": values, "labels": labels[rows], "index": rows}
        path = folder / f"{name}.safetensors"
        files.save_tensors(path, {key: torch.from_numpy(array) for key, array in tensors.items()})
        counts = np.bincount(labels[rows], minlength=len(raw.class_names))
        parts[name] = PartInfo(count=len(rows), class_counts=tuple(counts.tolist()), file=path.name, sha256=files.sha256(path))
    return Manifest(
        format=FORMAT,
        settings=settings_of(data),
        source=data.source,
        class_names=raw.class_names,
        length=length,
        features=features,
        image=(height, width),
        order=None if order is None else tuple(order.tolist()),
        value_range=raw.value_range,
        parts=parts,
        source_files=dict(raw.files),
        mean=mean,
        std=std,
        global_mean=global_mean,
        global_std=global_std,
        repeated=len(twins),
        repeated_rows=tuple(twins[:REPEATED_SHOWN]),
    )
