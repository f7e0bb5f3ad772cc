"""prepared/SOURCE-VIEW-KEY/ as it lies on the disk: its manifest, its parts, and whether it is whole.

A prepared folder is keyed by the settings that decide its content, arrives whole or not at all, and is never changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open

from pipeline import config, files
from pipeline.data import clean
from pipeline.data.manifest import FORMAT, NAMES, RULES, Manifest, Name
from pipeline.data.series import Array
from pipeline.data.sources import catalog
from pipeline.data.sources.checksums import Checksums
from pipeline.errors import DataError

if TYPE_CHECKING:
    from pipeline.data.store import Part

COMMAND = "python -m pipeline prepare --config FILE"
LARGEST = 2**28  # bytes of a manifest
LARGE = 2**20  # from here on, neighbours among the float32 are 1/8 and more apart
Settings = dict[str, str | int | float]


@dataclass(frozen=True)
class Prepared:
    """A whole prepared folder."""

    folder: Path
    manifest: Manifest
    digest: str  # SHA-256 of all it holds, wherever it lies and its raw files lay
    made: bool = False  # by this call

    def verify(self, names: Collection[Name], known: Checksums | None = None) -> None:
        """Raise DataError if a file of the parts ``names`` is not what it was when it was made. ``known``: what is known of
        the files so far; if not given, what is kept in the folder. Parts that are not there are left out.
        """
        known = known or Checksums(self.folder)
        remedy = f"delete {self.folder} and type: {COMMAND}"
        with known:
            self._verify(names, known, remedy)

    def _verify(self, names: Collection[Name], known: Checksums, remedy: str) -> None:
        for file in (file for name, info in self.manifest.parts.items() if name in names for file in info.files):
            path = self.folder / file.file
            try:
                changed = known.of(path) != file.sha256
            except OSError as error:
                raise DataError(f"{path}: {error.strerror}; {remedy}") from error
            if changed:
                raise DataError(f"{path}: changed after it was made; {remedy}")

    def part(self, name: Name) -> Part:
        """A part for training. Raises DataError if there is no such part or its file cannot be read."""
        from pipeline.data import store  # only where it is used: PyTorch takes seconds

        found = []
        for path in self._files(name):
            with self._readable(path):
                self._refuse_forged(path)
                found.append(store.mapped(path))
        return store.joined(found)

    def column(self, name: Name, key: Literal["labels", "lengths"]) -> Array:
        """(N) int64: the label or the steps of each example of a part. Raises DataError as ``part`` does."""
        found = []
        for path in self._files(name):
            with self._readable(path), safe_open(path, framework="np") as file:
                self._refuse_forged(path)
                found.append(_lengths(file) if key == "lengths" else file.get_tensor(key))
        return np.concatenate(found)

    def examples(self, name: Name, rows: Iterable[int]) -> Iterator[Array]:
        """The values (T, F) of examples of a part, one by one, and nothing else. Raises DataError as ``part`` does."""
        with ExitStack() as stack:
            opened, lengths = [], []
            for path in self._files(name):
                with self._readable(path):
                    opened.append(stack.enter_context(safe_open(path, framework="np")))
                    lengths.append(_lengths(opened[-1]))
            firsts = np.cumsum([0, *map(len, lengths)])
            for row in rows:
                number = int(np.searchsorted(firsts, row, side="right")) - 1
                place, values = int(row - firsts[number]), opened[number].get_slice("values")
                if len(values.get_shape()) == 3:
                    yield values[place : place + 1][0]
                else:
                    start = int(lengths[number][:place].sum())
                    yield values[start : start + int(lengths[number][place])]

    def _files(self, name: Name) -> list[Path]:
        if name not in self.manifest.parts:
            raise DataError(f"{self.folder}: has no {name} split; set data.validation, then type: {COMMAND}")
        return [self.folder / part_file.file for part_file in self.manifest.parts[name].files]

    def _refuse_forged(self, path: Path) -> None:
        """Raise ValueError for a file that is not what the manifest says: checksums that fit may be of anything."""
        with safe_open(path, framework="np") as file:
            names, values = {*file.keys()}, file.get_slice("values")
            found = {name: file.get_tensor(name) for name in ("labels", "index", *(names & {"offsets"}))}
        count, *others = values.get_shape()
        fits = {"values": others[-1:] == [self.manifest.features] and values.get_dtype() in ("F32", "U8")}
        if len(others) == 1 or "offsets" in found:
            offsets = found.get("offsets", np.zeros(0, np.int64))
            ends = offsets[:1].tolist() == [0] and offsets[-1] == count and len(others) == 1
            fits["offsets"] = offsets.dtype == np.int64 and bool(ends and (np.diff(offsets) > 0).all())
            count = len(offsets) - 1
        fits |= {name: found[name].dtype == np.int64 and found[name].shape == (count,) for name in ("labels", "index")}
        if fits["labels"] and count:
            fits["labels"] = 0 <= found["labels"].min() <= found["labels"].max() < len(self.manifest.class_names)
        wrong = [name for name, right in fits.items() if not right] + sorted(names - found.keys() - {"values"})
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: not as the manifest says")

    @contextmanager
    def _readable(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (OSError, SafetensorError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error}); delete {self.folder} and type: {COMMAND}") from error


def _lengths(file: Any) -> Array:
    """(n) the steps of each example in a file of a part."""
    shape = file.get_slice("values").get_shape()
    lengths: Array = np.full(shape[0], shape[1]) if len(shape) == 3 else np.diff(file.get_tensor("offsets"))
    return lengths


def folder_of(data: config.Data, settings: Settings | None = None) -> Path:
    """The prepared folder of a configuration: its name holds a key of everything that decides the content."""
    canonical = json.dumps(settings or settings_of(data), sort_keys=True, separators=(",", ":"))
    key = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    form = re.sub(r"[^A-Za-z0-9_.]", "_", Path(data.path).stem)[:40] if data.series else data.view
    return files.path(data.prepared) / f"{data.source}-{form}-{key}"


def settings_of(data: config.Data) -> Settings:
    """What decides the content of the prepared folder."""
    settings: Settings = {
        "format": FORMAT,
        "source": data.source,
        "view": data.view,
        "validation": data.validation or 0,
        "seed": data.seed,
    }
    if data.fold:
        settings |= {"fold": data.fold, "validation": 0}
    if data.path:
        settings["path"] = str(files.path(data.path).resolve())
        other = "test_path" if data.test_path else "test"
        settings[other] = str(files.path(data.test_path).resolve()) if data.test_path else data.test
        if not data.series:
            return settings
        del settings["view"]
        settings |= {"split": data.split, "shard_mb": data.shard_mb, **data.of(config.Policies)}
        del settings["z_norm"]  # said only where it is on: folders made before the key was there stay what they are
        if data.z_norm:
            settings["z_norm"] = 1
        if config.SERIES[data.source].roles:
            settings |= {key: getattr(data, key) for key in config.FIRST}
        settings |= {key: json.dumps(value) for key, value in data.later.items()}
        settings["channels"] = json.dumps(data.channels)
        if data.split != "stratified":
            settings["split_rules"] = RULES
        if data.resample and data.may_have_times:
            settings["resample_rules"] = RULES
        return settings
    if data.source == "emnist":
        settings["emnist_split"] = data.emnist_split
    if data.source != "digits":
        settings["root"] = str(catalog.root_of(data))
    return settings


def open_prepared(data: config.Data, verify: Collection[Name] = NAMES, trained_on: str = "") -> Prepared:
    """The prepared folder of ``data``; the files of the parts ``verify`` are compared with their checksums.

    A folder made by former rules, by which ``data`` came out otherwise, is taken only if its digest is that of what a model was
    ``trained_on``. Raises DataError if the folder is missing, unreadable or was changed after it was made.
    """
    settings = settings_of(data)
    for rules in ({"resample_rules"}, {"split_rules"}, {"resample_rules", "split_rules"}) if trained_on else ():
        former = {key: value for key, value in settings.items() if key not in rules}
        if not rules <= settings.keys() or not folder_of(data, former).exists():
            continue
        prepared = _open(folder_of(data, former), former)
        if prepared.digest == trained_on:
            prepared.verify(verify)
            return prepared
    prepared = _open(folder_of(data), settings)
    if prepared.digest != trained_on:
        _refuse_coarse(prepared)
    prepared.verify(verify)
    return prepared


def _refuse_coarse(prepared: Prepared) -> None:
    """Raise DataError for a folder of the time before offsets, if float32 was too coarse for one of its channels."""
    manifest = prepared.manifest
    if manifest.rules < RULES and manifest.series:
        count = len(manifest.series.channels)
        low, high = (np.array(limits[:count]) for limits in (manifest.series.low, manifest.series.high))
        coarse = clean.is_narrow(low, high) & ((low < high) | (abs(low) > LARGE))
        if coarse.any():
            number = int(coarse.argmax())
            raise DataError(
                f"{prepared.folder}: was made by an earlier version, which lost digits of channel "
                f"{manifest.series.channels[number]!r} ({low[number]:.9g} to {high[number]:.9g}); delete the folder and type: "
                f"{COMMAND}"
            )


def _open(folder: Path, settings: Settings) -> Prepared:
    remedy = f"delete {folder} and type: {COMMAND}"
    try:
        manifest = files.read_json(folder / "manifest.json", Manifest, LARGEST)
        if manifest.settings != settings:
            raise ValueError("belongs to another configuration")
    except OSError as error:
        if not folder.exists():
            raise DataError(f"{folder}: not prepared yet; type: {COMMAND}") from None
        raise DataError(f"{error.filename or folder / 'manifest.json'}: {error.strerror}; {remedy}") from error
    except ValueError as error:
        raise DataError(f"{folder / 'manifest.json'}: {error}; {remedy}") from None
    return Prepared(folder, manifest, digest_of(manifest))


def digest_of(manifest: Manifest) -> str:
    """The SHA-256 of all that a folder holds, wherever it lies and whatever is known of its raw files."""
    content = manifest.model_dump_json(exclude={"settings", "source_files", "repeated", "repeated_rows", "rules", "doubts"})
    return hashlib.sha256(content.encode()).hexdigest()
