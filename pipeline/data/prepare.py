"""Raw examples -> prepared/SOURCE-VIEW-KEY/: sequences, split, statistics of the training part, checksums.

A prepared folder is keyed by the settings that decide its content, arrives whole or not at all, and is never changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from filelock import FileLock
from pydantic import ValidationError
from torch import Tensor

from pipeline import config, files
from pipeline.data import derive, sources
from pipeline.errors import DataError

FORMAT: Final = 1
REPEATED_SHOWN = 5  # of the test examples that were found in the training part
Name = Literal["train", "valid", "test"]


class PartInfo(config.Section):
    """One part in a manifest: examples, examples of each class, and the file that holds them."""

    count: int
    class_counts: tuple[int, ...]
    file: str
    sha256: str


class Manifest(config.Section):
    """What a prepared folder holds. Statistics are of the training part alone."""

    format: Literal[1]
    settings: dict[str, str | int | float]
    source: str
    class_names: tuple[str, ...]
    length: int  # T
    features: int  # F
    image: tuple[int, int] | None  # height, width
    order: tuple[int, ...] | None  # position in the flattened sequence -> pixel of the flattened image; None: the same
    value_range: tuple[int, int]
    parts: dict[Name, PartInfo]
    source_files: dict[str, str]  # name -> sha256
    mean: tuple[float, ...]  # (F), over examples and steps
    std: tuple[float, ...]  # (F), of the population; 0 for a constant feature
    global_mean: float
    global_std: float
    # Absent in folders made before they were looked for, which stay good: the examples are the same.
    repeated: int = 0  # test examples that equal one of the source's training examples
    repeated_rows: tuple[tuple[int, int], ...] = ()  # of the first of them: row in the test part, row in the training part


@dataclass(frozen=True, eq=False)
class Part:
    """One part, rows in ascending ``index``; memory-mapped, private to the process and read when touched."""

    values: Tensor  # (N, T, F) uint8
    labels: Tensor  # (N) int64
    index: Tensor  # (N) int64, the row in the source's own train or test part


@dataclass(frozen=True)
class Prepared:
    """A whole, verified prepared folder."""

    folder: Path
    manifest: Manifest
    digest: str  # SHA-256 of all it holds, wherever it lies and its raw files lay
    made: bool = False  # by this call

    def part(self, name: Name) -> Part:
        """Raises DataError if there is no such part or its file cannot be read."""
        from safetensors import SafetensorError, safe_open

        if name not in self.manifest.parts:
            raise DataError(f"{self.folder}: has no {name} part; set data.validation, then type: {_COMMAND}")
        path = self.folder / self.manifest.parts[name].file
        try:
            with safe_open(path, framework="pt") as file:
                return Part(*(file.get_tensor(key) for key in ("values", "labels", "index")))
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path}: cannot be read ({error}); delete {self.folder} and type: {_COMMAND}") from error

    def normalization(self, mode: Literal["none", "unit", "global", "feature"]) -> tuple[Tensor, Tensor]:
        """Mean and scale, each (F) float32, of ``data.normalize``: the model's input is (values - mean) * scale.

        What is constant over the training part has scale 1.
        """
        manifest = self.manifest
        low, high = manifest.value_range
        moments: dict[str, tuple[Sequence[float], Sequence[float]]] = {
            "none": ([0.0], [1.0]),
            "unit": ([low], [high - low]),
            "global": ([manifest.global_mean], [manifest.global_std]),
            "feature": (manifest.mean, manifest.std),
        }
        means, deviations = moments[mode]
        scale = [1 / deviation if deviation else 1.0 for deviation in deviations]
        mean, scaled = (torch.tensor(numbers, dtype=torch.float32) for numbers in (means, scale))
        return mean.expand(manifest.features).clone(), scaled.expand(manifest.features).clone()


_COMMAND = "python -m pipeline prepare --config FILE"


def folder_of(data: config.Data) -> Path:
    """The prepared folder of a configuration: its name holds a key of everything that decides the content."""
    canonical = json.dumps(_settings(data), sort_keys=True, separators=(",", ":"))
    key = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    return files.path(data.prepared) / f"{data.source}-{data.view}-{key}"


def _settings(data: config.Data) -> dict[str, str | int | float]:
    settings: dict[str, str | int | float] = {
        "format": FORMAT,
        "source": data.source,
        "view": data.view,
        "validation": data.validation or 0,
        "seed": data.seed,
    }
    if data.source == "emnist":
        settings["emnist_split"] = data.emnist_split
    if data.source != "digits":
        settings["root"] = str(sources.root_of(data))
    return settings


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
                    _build(folder, data, sources.read(data))
                    return replace(open_prepared(data, verify=False), made=True)
    prepared = open_prepared(data)
    for path, checksum in sources.checksums(data).items():
        if prepared.manifest.source_files.get(path.name) != checksum:
            raise DataError(
                f"{path}: is not the file that {folder} was made from; "
                f"put that one back, or delete the folder and type: {_COMMAND}"
            )
    return prepared


def open_prepared(data: config.Data, verify: bool = True) -> Prepared:
    """The prepared folder of ``data``; with ``verify`` every file is compared with its checksum.

    Raises DataError if it is missing, unreadable or was changed after it was made.
    """
    folder = folder_of(data)
    remedy = f"delete {folder} and type: {_COMMAND}"
    try:
        text = (folder / "manifest.json").read_bytes()
        manifest = Manifest.model_validate_json(text)
        if manifest.settings != _settings(data):
            raise DataError(f"{folder / 'manifest.json'}: belongs to another configuration; {remedy}")
        for part in manifest.parts.values() if verify else ():
            if files.sha256(folder / part.file) != part.sha256:
                raise DataError(f"{folder / part.file}: changed after it was made; {remedy}")
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "the file"
        raise DataError(f"{folder / 'manifest.json'}: {place}: {fault['msg']}; {remedy}") from None
    except OSError as error:
        if not folder.exists():
            raise DataError(f"{folder}: not prepared yet; type: {_COMMAND}") from None
        raise DataError(f"{error.filename}: {error.strerror}; {remedy}") from error
    content = manifest.model_dump_json(exclude={"settings", "source_files", "repeated", "repeated_rows"})
    return Prepared(folder, manifest, hashlib.sha256(content.encode()).hexdigest())


def _build(folder: Path, data: config.Data, raw: sources.Raw) -> None:
    _, height, width = raw.train_values.shape
    order, length, features = derive.view(data, height, width)
    kept, held_out = derive.split(raw.train_labels, raw.class_names, data)
    everything = np.arange(len(raw.test_labels))
    chosen: Mapping[Name, tuple[sources.Array, sources.Array, sources.Array]] = {
        "train": (raw.train_values, raw.train_labels, kept),
        "valid": (raw.train_values, raw.train_labels, held_out),
        "test": (raw.test_values, raw.test_labels, everything),
    }
    parts: dict[Name, PartInfo] = {}
    twins = derive.repeated(raw.train_values, raw.test_values)
    with files.whole_folder(folder) as partial:
        for name, (images, labels, rows) in chosen.items():
            if name == "valid" and not len(rows):
                continue
            flat = images.reshape(len(images), -1)[rows]
            values = (flat if order is None else flat.take(order, axis=1)).reshape(-1, length, features)
            if name == "train":
                mean, std, global_mean, global_std = derive.statistics(values)
            tensors = {"values": values, "labels": labels[rows], "index": rows}
            path = partial / f"{name}.safetensors"
            files.save_tensors(path, {key: torch.from_numpy(array) for key, array in tensors.items()})
            counts = np.bincount(labels[rows], minlength=len(raw.class_names))
            parts[name] = PartInfo(
                count=len(rows), class_counts=tuple(counts.tolist()), file=path.name, sha256=files.sha256(path)
            )
        manifest = Manifest(
            format=FORMAT,
            settings=_settings(data),
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
        files.write_json(partial / "manifest.json", manifest.model_dump(mode="json"))
