"""What a folder of images promises: the pixels that torchvision's ImageFolder gives, in grey, with a class a folder."""

from __future__ import annotations

import io
import os
import random
import re
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from pipeline.config import Data
from pipeline.data.preparation import image_parts, twins
from pipeline.data.preparation.folder import prepare
from pipeline.data.readers import folders
from pipeline.data.sources import image_folder
from pipeline.errors import DataError
from tests.support.launching import environment


def draw(folder: Path, words=("cat", "dog"), count: int = 10, mode: str = "L", seed: int = 0, size=(5, 7)) -> None:
    random = np.random.default_rng(seed)
    for word in words:
        (folder / word).mkdir(parents=True)
        for number in range(count):
            shape = (*size, 3) if mode == "RGB" else size
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


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 7 5
%%EndComments
(hello) print
showpage
%%EOF
"""


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there if a program of the name that PIL gives EPS to was run."""
    canary, program = tmp_path / "canary", tmp_path / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {canary}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return canary


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        image_folder.grey(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", folders.IMAGES)
def test_no_program_is_run_for_an_image_whatever_its_name(tmp_path: Path, ghostscript: Path, suffix: str) -> None:
    path = tmp_path / f"cat{suffix}"
    path.write_bytes(EPS)
    assert "not readable as an image of PNG, JPEG, PPM, BMP, TIFF, WEBP" in refused(path)
    assert not ghostscript.exists()


def test_the_program_of_these_tests_would_be_run(tmp_path: Path, ghostscript: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # looked for once a process
    (tmp_path / "cat.png").write_bytes(EPS)
    with pytest.raises(Exception), Image.open(tmp_path / "cat.png") as image:  # noqa: B017
        image.load()
    assert ghostscript.exists()


@pytest.mark.parametrize("name", ["GIF", "JPEG2000", "ICNS", "TGA", "SGI", "PCX", "ICO", "DDS", "AVIF"])
def test_formats_that_are_not_meant_are_refused_although_pil_knows_them(tmp_path: Path, name: str) -> None:
    path = tmp_path / "cat.png"
    Image.new("RGB", (64, 64)).save(path, format=name)
    refused(path)


@pytest.mark.parametrize(
    "error", [RuntimeError("decoder"), MemoryError(), OverflowError("size"), AttributeError("tag"), KeyError(7), IndexError()]
)
def test_whatever_a_decoder_raises_is_one_message_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    Image.new("L", (7, 5)).save(tmp_path / "cat.png")

    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fails)
    assert f"({str(error) or type(error).__name__})" in refused(tmp_path / "cat.png")


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize("side", [10_000, 30_000, 2**31 - 1])
def test_an_image_that_states_a_size_it_cannot_hold_costs_no_memory(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(side, side))
    refused(tmp_path / "bomb.png")


@pytest.mark.parametrize("name", ["PNG", "JPEG", "PPM", "BMP", "TIFF", "WEBP"])
def test_mutated_images_are_read_or_refused_with_one_message(tmp_path: Path, name: str) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)).save(whole, format=name)
    chance = random.Random(name)
    path = tmp_path / "cat.png"
    for _ in range(150):
        content = bytearray(whole.getvalue())
        for _ in range(chance.randrange(1, 6)):
            content[chance.randrange(min(len(content), 200))] = chance.randrange(256)
        path.write_bytes(content[: chance.randrange(len(content)) if chance.random() < 0.2 else None])
        try:
            assert image_folder.grey(path).dtype == np.uint8
        except DataError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("folders", [("",), ("train", "test")], ids=["cut", "test folder"])
def test_the_memory_that_images_take_does_not_grow_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: tuple[str, ...]
) -> None:
    """By the arrays that there are while images are read: the prepared parts are mapped."""
    monkeypatch.setattr(image_parts, "BLOCK", 2**18)
    arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    plain, held, peaks = twins.hash_of, [], []

    def looked_at(image: np.ndarray) -> int:
        held.append(0)
        if len(held) % 50 == 0:
            held[-1] = sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([arrays]).traces)
        return plain(image)

    monkeypatch.setattr(twins, "hash_of", looked_at)
    for count in (200, 600):
        for folder in folders:
            draw(tmp_path / str(count) / folder, count=count, size=(60, 60))
        tracemalloc.start()
        prepared = prepare(data(tmp_path, str(count)))
        tracemalloc.stop()
        peaks.append(max(held))
        held.clear()
    pixels = sum(info.count for info in prepared.manifest.parts.values()) * 60 * 60
    assert 2**18 < peaks[1] < peaks[0] + 2**18 < pixels, "800 more have 2.9 MB"


def test_what_is_wrong_with_an_image_in_the_middle_is_said_with_its_file_and_leaves_no_folder(tmp_path: Path) -> None:
    draw(tmp_path / "own")
    Image.new("L", (7, 6)).save(tmp_path / "own/dog/5.png")
    with pytest.raises(DataError, match=r"own/dog/5\.png: 7 x 6 pixels, but those before it have 7 x 5; bring all images"):
        prepare(data(tmp_path, "own"))
    (tmp_path / "own/dog/5.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"own/dog/5\.png: is not readable as an image"):
        prepare(data(tmp_path, "own"))
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == [".lock"]


def test_images_whose_names_are_not_utf_8_are_read_and_noticed(tmp_path: Path) -> None:
    draw(tmp_path / "own")
    os.rename(tmp_path / "own/cat/0.png", os.fsencode(tmp_path / "own/cat/") + b"\xff.png")  # noqa: PTH104
    prepare(data(tmp_path, "own"))
    assert not prepare(data(tmp_path, "own")).made


@pytest.mark.parametrize("call", ["scandir", "stat"])
def test_what_cannot_be_looked_at_is_refused_and_not_left_out(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/inner", "b"):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name / "1.png")
    real, bad = getattr(os, call), tmp_path / ("a/inner" if call == "scandir" else "b/1.png")

    def broken(path: str | Path, **more: object) -> object:
        if str(path) == str(bad):
            raise OSError(5, "Input/output error", str(path))
        return real(path, **more)

    monkeypatch.setattr(os, call, broken)
    with pytest.raises(DataError, match=f"{bad}: cannot be looked at"):
        image_folder._files(tmp_path)


@pytest.mark.parametrize(
    ("tag", "new", "compression"), [(b"\x15\x01", b"\x15\x01", "raw"), (b"\x11\x01", b"\x10\x01", "tiff_lzw")]
)
def test_what_a_library_says_of_a_damaged_image_is_not_on_the_screen(
    tag: bytes, new: bytes, compression: str, tmp_path: Path
) -> None:
    """PIL logs that there are 256 samples of a pixel; libtiff writes that there are no StripOffsets."""
    Image.new("RGB", (3, 3)).save(tmp_path / "a.tif", compression=compression)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    place = next(match.start() for match in re.finditer(re.escape(tag), content) if content[match.start() + 2] in (3, 4))
    content[place : place + 2] = new
    content[place + 8 : place + 10] = struct.pack("<H", 256)
    (tmp_path / "a.tif").write_bytes(content)
    program = """
from pathlib import Path
from pipeline.data.sources import image_folder
from pipeline.errors import DataError
try:
    image_folder.grey(Path("a.tif"))
except DataError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert done.stdout.startswith("a.tif: is not readable as an image") and not done.stderr
