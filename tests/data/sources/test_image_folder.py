"""What a folder of images promises: the pixels that torchvision's ImageFolder gives, in grey, with a class a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from pipeline.config import Data
from pipeline.data.preparation.folder import prepare
from pipeline.errors import DataError


def draw(folder: Path, words=("cat", "dog"), count: int = 10, mode: str = "L", seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    for word in words:
        (folder / word).mkdir(parents=True)
        for number in range(count):
            shape = (5, 7, 3) if mode == "RGB" else (5, 7)
            Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8), mode).save(folder / word / f"{number}.png")


def data(tmp_path: Path, path: str, **keys) -> Data:
    return Data(source="images", path=str(tmp_path / path), prepared=str(tmp_path / "prepared"), **keys)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_examples_are_those_of_torchvisions_imagefolder_in_grey(tmp_path, mode):
    draw(tmp_path / "own/train", mode=mode)
    draw(tmp_path / "own/test", count=4, mode=mode, seed=1)
    prepared = prepare(data(tmp_path, "own", validation=0))
    for name in ("train", "test"):
        part, theirs = prepared.part(name), ImageFolder(tmp_path / "own" / name)
        assert part.values.dtype == torch.uint8 and prepared.manifest.image == (5, 7)
        wanted = torch.cat([pil_to_tensor(image.convert("L")) for image, _ in theirs])
        assert torch.equal(part.values, wanted) and part.labels.tolist() == theirs.targets
        assert list(prepared.manifest.class_names) == theirs.classes


def test_without_a_test_folder_the_test_part_is_cut_and_each_image_stands_in_one_part(tmp_path):
    draw(tmp_path / "own", words=("10", "9"))
    prepared = prepare(data(tmp_path, "own", view="columns"))
    counts = {name: info.class_counts for name, info in prepared.manifest.parts.items()}
    assert counts == {"train": (7, 7), "valid": (1, 1), "test": (2, 2)}
    assert prepared.manifest.class_names == ("9", "10") and prepared.manifest.length == 7
    found = [image.tobytes() for name in counts for image in prepared.part(name).values.numpy()]
    assert len(set(found)) == len(found) == 20


def test_a_folder_of_its_own_is_the_test_part(tmp_path):
    draw(tmp_path / "own")
    draw(tmp_path / "other", words=("dog",), count=3, seed=1)
    prepared = prepare(data(tmp_path, "own", test_path=str(tmp_path / "other")))
    assert prepared.manifest.parts["test"].class_counts == (0, 3)


def test_an_image_that_was_changed_added_or_renamed_is_noticed(tmp_path):
    draw(tmp_path / "own")
    prepare(data(tmp_path, "own"))
    assert not prepare(data(tmp_path, "own")).made
    (tmp_path / "own/cat/0.png").rename(tmp_path / "own/cat/zero.png")
    with pytest.raises(DataError, match=r"own: is not the folder that .* was made from: something in it has changed"):
        prepare(data(tmp_path, "own"))


def test_train_without_test_is_named(tmp_path):
    draw(tmp_path / "own/train")
    with pytest.raises(DataError, match=r"holds train/ but not the other of train/ and test/; add it, or set data\.test_path"):
        prepare(data(tmp_path, "own"))


def test_a_test_folder_on_top_of_train_and_test_is_refused(tmp_path):
    for name in ("own/train", "own/test", "other"):
        draw(tmp_path / name)
    with pytest.raises(DataError, match=r"holds train/ and test/, and data\.test_path comes on top; leave it out"):
        prepare(data(tmp_path, "own", test_path=str(tmp_path / "other")))
