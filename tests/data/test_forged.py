"""A prepared folder that somebody sent may say anything, with checksums that fit: it is refused in one message."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pipeline.config import Data
from pipeline.data.preparation.folder import prepare
from pipeline.data.prepared import Prepared, open_prepared
from pipeline.errors import DataError
from tests.support.series_files import npz

Tensors = dict[str, np.ndarray[Any, Any]]


def put(name: str, change: Callable[[np.ndarray[Any, Any]], Any]) -> Callable[[Tensors], Tensors]:
    """What puts something else in the place of a tensor."""
    return lambda tensors: tensors | {name: np.ascontiguousarray(change(tensors[name]))}


TENSORS: dict[str, Callable[[Tensors], Tensors]] = {
    "a label too large": put("labels", lambda old: old + 1),
    "a label below 0": put("labels", lambda old: old - 1),
    "labels that are no integers": put("labels", lambda old: old.astype(np.float32)),
    "labels of 16 bits": put("labels", lambda old: old.astype(ml_dtypes.bfloat16)),
    "fewer labels": put("labels", lambda old: old[1:]),
    "labels in a square": put("labels", lambda old: old[:, None]),
    "no label": put("labels", lambda old: old[:0]),
    "fewer rows": put("index", lambda old: old[1:]),
    "values of another width": put("values", lambda old: old[..., :1]),
    "values in one row": put("values", np.ravel),
    "values of one series": put("values", lambda old: old[:1]),
    "values of float64": put("values", lambda old: old.astype(np.float64)),
    "a tensor more": lambda tensors: tensors | {"more": tensors["labels"]},
    "no labels": lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "labels"},
    "no values": lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "values"},
    "no index": lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "index"},
}
OFFSETS: dict[str, Callable[[Tensors], Tensors]] = {
    "offsets beyond the end": put("offsets", lambda old: old + (old == old.max())),
    "offsets that do not begin at 0": put("offsets", lambda old: old + (old == 0)),
    "offsets that go back": put("offsets", lambda old: np.concatenate([old[:1], old[2:3], old[1:2], old[3:]])),
    "a series without steps": put("offsets", lambda old: np.concatenate([old[:1], old[:1], old[2:]])),
    "no offsets": lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "offsets"},
    "fewer offsets": put("offsets", lambda old: old[:-1]),
    "no offset": put("offsets", lambda old: old[:0]),
}
SAYS: dict[str, Callable[[dict[str, Any]], object]] = {
    "fewer classes": lambda said: said.update(class_names=said["class_names"][:1]),
    "other counts": lambda said: said["parts"]["train"].update(count=7),
    "no train split": lambda said: said["parts"].pop("train"),
    "more features": lambda said: said.update(features=5),
    "no feature": lambda said: said.update(features=0),
    "fewer means": lambda said: said.update(mean=said["mean"][1:]),
    "neither image nor series": lambda said: said.update(series=None, image=None),
}


def forge(made: Prepared, change: Callable[[Tensors], Tensors]) -> None:
    """Change the file of the train split, and its checksum in the manifest."""
    path = made.folder / "train.safetensors"
    save_file(change(load_file(path)), path)
    said = json.loads((made.folder / "manifest.json").read_text())
    said["parts"]["train"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (made.folder / "manifest.json").write_text(json.dumps(said))


def data_of(folder: Path, kind: str) -> Data:
    if kind == "images":
        return Data(source="digits", prepared=str(folder / "prepared"))
    random, lengths = np.random.default_rng(0), [9, 5] * 30 if kind == "unequal" else [9] * 60
    values, labels = random.standard_normal((sum(lengths), 2)), ["a", "b"] * 30
    path = npz(folder / "data.npz", values=values, lengths=lengths, labels=labels)
    return Data(source="npz", path=str(path), prepared=str(folder / "prepared"))


@pytest.mark.parametrize(
    ("kind", "change"),
    [(kind, name) for kind in ("equal", "unequal", "images") for name in [*TENSORS, *(OFFSETS if kind == "unequal" else ())]],
)
def test_a_part_that_is_not_what_its_manifest_says_is_refused_by_name(tmp_path, kind, change):
    data = data_of(tmp_path, kind)
    forge(prepare(data), (TENSORS | OFFSETS)[change])
    forged = open_prepared(data)
    for use in (lambda: forged.part("train"), lambda: forged.column("train", "labels")):
        with pytest.raises(DataError, match=r"train\.safetensors: cannot be read .*delete") as caught:
            use()
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kind", ["equal", "images"])
@pytest.mark.parametrize("change", SAYS)
def test_a_manifest_that_contradicts_itself_is_refused_by_name(tmp_path, kind, change):
    data = data_of(tmp_path, kind)
    path = prepare(data).folder / "manifest.json"
    said = json.loads(path.read_text())
    SAYS[change](said)
    path.write_text(json.dumps(said))
    with pytest.raises(DataError, match=r"manifest\.json: .*contradicts itself; delete"):
        prepare(data)


@pytest.mark.parametrize("kind", ["equal", "unequal", "images"])
def test_what_was_not_forged_is_read(tmp_path, kind):
    made = prepare(data_of(tmp_path, kind))
    forge(made, lambda tensors: tensors)
    again = open_prepared(data_of(tmp_path, kind))
    assert len(again.part("train").labels) == len(again.column("train", "labels")) == again.manifest.parts["train"].count
