"""What ``predict`` promises of what does not fit: one message that names the place, exit status 2, and no file touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from PIL import Image

from pipeline.deploy import inputs
from pipeline.errors import DataError
from pipeline.stages.predict import predict
from tests.support.launching import run
from tests.support.predicting import SERIES, export_untrained, write_series
from tests.support.raw_files import examples, idx, put, small_disk


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table in which nothing is missing, and an export under ``missing: error`` and ``truncate: error``."""
    folder = tmp_path_factory.mktemp("strict")
    write_series(folder / "series.csv", missing=False)
    export_untrained(folder, *SERIES, "data.max_length=15")
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of another run on the same data: the same shapes, facts and classes, other weights."""
    folder = tmp_path_factory.mktemp("other")
    write_series(folder / "series.csv", missing=False)
    export_untrained(folder, *SERIES, "data.max_length=15", "run.seed=1")
    return folder / "export"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with idx files of images of 7 x 5 pixels, and an export of a model for them."""
    folder = tmp_path_factory.mktemp("images")
    put(folder / "raw", examples())
    export_untrained(folder, "data.source=mnist", "data.root=raw", "data.view=columns")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".output"))
    return {str(path): path.read_bytes() for path in files}


def refused(folder: Path, *arguments: str) -> str:
    """The one message of the command, which leaves everything in ``folder`` as it was."""
    (folder / "kept.csv").write_text("old")
    before = content(folder)
    status, said = run("predict", "--output", "kept.csv", *arguments, cwd=folder)
    assert status == 2 and said.startswith("error: ") and said.count("error: ") == 1 and "Traceback" not in said, said
    assert content(folder) == before
    return said


def change(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


def ending(*rows: str) -> Callable[[str], str]:
    """The table of 478 lines with one more series, without a label."""
    return lambda text: text + "".join(f"last,{row},\n" for row in rows)


TABLES: dict[str, tuple[Callable[[str], str], str]] = {
    "a channel is missing": (change("pulse", "pulsee"), "there is no channel 'pulse'; did you mean 'pulsee'? there are: "),
    "no id": (change("id,time", "name,time"), "there is no column 'id'; there are: name, time"),
    "a missing value": (
        ending("0,1,1,1", "1,,1,1"),
        "line LAST: channel 'pulse' has no value at step 1 (from 0); put a number",
    ),
    "an infinite value": (ending("0,1,1,1", "1,inf,1,1"), "line LATER, column 'pulse': is infinite"),
    "a value beyond float32": (ending("0,1,1,-1e39"), "line LAST, column 'noise': is infinite or beyond"),
    "a word": (ending("0,high,1,1"), "line LAST, column 'pulse': 'high' is not a number"),
    "a short line": (ending("0,1"), "line LAST: 4 cells, but the header names 6 columns"),
    "an empty file": (lambda text: "", "line 1: the file is empty"),
    "a header alone": (lambda text: text.splitlines()[0] + "\n", "no rows"),
    "too long": (
        ending(*(f"{step},1,1,1" for step in range(16))),
        "line LAST: 16 steps, more than data.max_length = 15; shorten",
    ),
    "no UTF-8": (ending("0,1,1,\udcff"), "line LAST: byte 0xff is not UTF-8"),
}


@pytest.mark.parametrize("fault", TABLES)
def test_a_table_that_does_not_fit_is_refused_with_its_line(strict: Path, fault: str) -> None:
    spoil, message = TABLES[fault]
    table = (strict / "series.csv").read_text()
    (strict / "bad.csv").write_text(spoil(table), errors="surrogateescape")
    said = refused(strict, "--model", "export", "bad.csv")
    last = table.count("\n") + 1
    assert said.startswith("error: bad.csv: ") and message.replace("LAST", str(last)).replace("LATER", str(last + 1)) in said
    assert "data.id" not in said and "data.channels" not in said, "this command has options, not keys"


def test_what_is_in_the_file_is_said_as_it_is_there(strict: Path) -> None:
    """And not rewritten where it looks like a key of a configuration."""
    (strict / "data.id.csv").write_text("data.time,data.channels\n1,2\n")
    said = refused(strict, "--model", "export", "data.id.csv")
    assert said.startswith("error: data.id.csv: there is no column 'id'; there are: data.time, data.channels"), said
    assert "by --id=NAME" in said


def test_channels_without_names_must_be_as_many_as_the_models(strict: Path) -> None:
    np.savez(strict / "four.npz", values=np.zeros((2, 3, 4), np.float32))
    said = refused(strict, "--model", "export", "four.npz")
    assert (
        "four.npz: has 4 channels (channel_0, channel_1, channel_2, channel_3), but the model reads 3 (pulse, load, noise)"
        in said
    )
    said = refused(strict, "--model", "export", "four.npz", "--channels", "channel_0,channel_3")
    assert "has 2 channels (channel_0, channel_3), but the model reads 3" in said


INPUTS: dict[str, tuple[tuple[str, ...], str]] = {
    "absent": (("absent.csv",), "absent.csv: there is no such file or folder"),
    "unknown suffix": (("own.yaml",), "own.yaml: its name does not tell its format; type --source with one of: npz, csv"),
    "unknown source": (("own.yaml", "--source", "xls"), "--source xls: expected one of npz"),
    "unknown layout": (("series.csv", "--layout", "tall"), "--layout tall: expected long or wide"),
    "a folder": (
        ("prepared", "--source", "csv"),
        "prepared: is a folder without a file of the format csv (.csv, .tsv, .txt); name another, or a file\n",
    ),
    "images": (("prepared",), "prepared: is read as images, but this model was trained on series"),
    "output of no format": (
        ("series.csv", "--output", "out.xls"),
        "--output out.xls: its name must end in one of .csv, .json, .parquet",
    ),
    "output nowhere": (("series.csv", "--output", "no/out.csv"), "--output no/out.csv: there is no folder no; create it"),
    "output is the input": (("series.csv", "--output", "series.csv"), "--output series.csv: is the input"),
}


@pytest.mark.parametrize("fault", INPUTS)
def test_arguments_that_do_not_fit_are_refused_by_name(strict: Path, fault: str) -> None:
    arguments, message = INPUTS[fault]
    assert message in refused(strict, "--model", "export", *arguments)


def _sixteen_bits(path: Path) -> None:
    Image.fromarray(np.zeros((5, 7), np.uint16)).save(path)


def _other_size(path: Path) -> None:
    Image.fromarray(np.zeros((7, 5), np.uint8)).save(path)


def _no_image(path: Path) -> None:
    path.write_text("text")


IMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "other size": (_other_size, "png/b.png: 5 x 7 pixels, but the model reads images of 7 x 5; bring it to that size"),
    "sixteen bits": (_sixteen_bits, "png/b.png: its pixels are of mode I;16; save it with 8 bits a channel"),
    "no image": (_no_image, "png/b.png: is not readable as an image"),
}


@pytest.mark.parametrize("fault", IMAGES)
def test_an_image_that_does_not_fit_is_refused_by_the_name_of_its_file(images: Path, fault: str) -> None:
    (images / "png").mkdir(exist_ok=True)
    Image.fromarray(examples()[0][0]).save(images / "png/a.png")
    spoil, message = IMAGES[fault]
    spoil(images / "png/b.png")
    assert message in refused(images, "--model", "export", "png")


def test_a_file_whose_name_nobody_sees_as_it_is_is_refused(images: Path) -> None:
    (images / "odd").mkdir()
    Image.fromarray(examples()[0][0]).save(images / "odd/a\x1b[2K.png")
    said = refused(images, "--model", "export", "odd")
    assert "odd: the name of file 'a\\x1b[2K.png' holds the character U+001B" in said and "\x1b" not in said


def test_other_files_than_images_are_refused_by_name(images: Path) -> None:
    (images / "empty").mkdir()
    assert "empty: holds no images (" in refused(images, "--model", "export", "empty")
    labels = "raw/t10k-labels-idx1-ubyte.gz"
    assert f"{labels}: is no idx file of images by its name" in refused(images, "--model", "export", labels)
    (images / "big-idx3-ubyte").write_bytes(idx(np.zeros((3, 28, 28), np.uint8)))
    said = refused(images, "--model", "export", "big-idx3-ubyte")
    assert "big-idx3-ubyte: row 0 (from 0): 28 x 28 pixels, but the model reads images of 7 x 5" in said
    (images / "cut-idx3-ubyte").write_bytes(idx(np.zeros((3, 5, 7), np.uint8))[:-1])
    assert "cut-idx3-ubyte: cut short" in refused(images, "--model", "export", "cut-idx3-ubyte")
    (images / "x.csv").write_text("id,a\n1,2\n")
    assert "x.csv: is read as csv, but this model was trained on images" in refused(images, "--model", "export", "x.csv")


def facts(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config["facts"])
        (folder / "config.json").write_text(json.dumps(config))

    return spoil


def alone(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Facts changed, in a folder without ONNX."""

    def spoil(folder: Path) -> None:
        (folder / "model.onnx").unlink()
        facts(change)(folder)

    return spoil


def arguments(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config["arguments"])
        (folder / "config.json").write_text(json.dumps(config))

    return spoil


def weights(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """The arguments changed, in a folder without ONNX."""

    def spoil(folder: Path) -> None:
        (folder / "model.onnx").unlink()
        arguments(change)(folder)

    return spoil


def _external(folder: Path) -> None:
    proto = onnx.load(folder / "model.onnx")
    bias = next(tensor for tensor in proto.graph.initializer if tensor.name == "head_bias")
    bias.ClearField("raw_data")
    bias.data_location = TensorProto.EXTERNAL
    bias.external_data.add(key="location", value="../own.yaml")
    (folder / "model.onnx").write_bytes(proto.SerializeToString())


def _of_four_features(folder: Path) -> None:
    proto = onnx.load(folder / "model.onnx")
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 4
    (folder / "model.onnx").write_bytes(proto.SerializeToString())


def _unsigned(folder: Path) -> None:
    """As an older export, which does not say what its files hold."""
    config = json.loads((folder / "config.json").read_text())
    del config["sha256"]
    (folder / "config.json").write_text(json.dumps(config))


def _bad_weights(folder: Path) -> None:
    _unsigned(folder)
    proto = onnx.load(folder / "model.onnx")
    bias = next(tensor for tensor in proto.graph.initializer if tensor.name == "head_bias")
    bias.raw_data = np.full(3, np.nan, np.float32).tobytes()
    (folder / "model.onnx").write_bytes(proto.SerializeToString())


MODELS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "absent": ("absent", lambda _: None, "absent: there is no such file or folder; name the export folder"),
    "pt2": (
        "bad/model.pt2",
        lambda folder: (folder / "model.pt2").write_bytes(b"PK"),
        "bad/model.pt2: is not read here; name the",
    ),
    "not an export": (
        ".",
        lambda _: None,
        ".: holds no config.json with a model.onnx or model.safetensors; type: --model export",
    ),
    "no model": (
        "bad",
        lambda folder: [path.unlink() for path in folder.glob("model.*")],
        "bad: holds no config.json with a model",
    ),
    "damaged config": (
        "bad",
        lambda folder: (folder / "config.json").write_text("{"),
        "bad/config.json: its facts: Invalid JSON",
    ),
    "no columns": (
        "bad",
        facts(lambda said: said["series"].pop("columns")),
        "bad/config.json: facts.series.columns: Field required",
    ),
    "a wrong type": (
        "bad",
        facts(lambda said: said["series"].update(resample="7")),
        "facts.series.resample: Input should be a valid int",
    ),
    "a fill of NaN": (
        "bad",
        facts(lambda said: said["series"].update(fill=[0, 0, float("nan")])),
        "facts.series.fill.2: Input should be a",
    ),
    "a fill less": (
        "bad",
        facts(lambda said: said["series"]["fill"].pop()),
        "series.channels, masked, fill, low and high are not of the same",
    ),
    "a class more": (
        "bad",
        facts(lambda said: said["class_names"].append("x")),
        "class_names names 4 classes, but the model has 3",
    ),
    "a class twice": (
        "bad",
        facts(lambda said: said.update(class_names=["x", "x", "y"])),
        "class_names names 2 classes, but the model has 3",
    ),
    "neither": ("bad", facts(lambda said: said.update(series=None)), "it says neither image nor series"),
    "a side beyond all files": (
        "bad",
        facts(lambda said: said.update(series=None, image=[10**10, 10**10])),
        "bad/config.json: facts.image.0: Input should be less than 65536",
    ),
    "a length beyond all memory": (
        "bad",
        facts(lambda said: said.update(series=None, image=[10**5, 10**5], length=5 * 10**9)),
        "bad/config.json: facts.length: Input should be less than 2147483648",
    ),
    "an image of all memory that fits": (
        "bad",
        alone(lambda said: said.update(series=None, image=[60_000, 60_000], length=1_200_000_000)),
        "series.csv: is read as csv, but this model was trained on images",
    ),
    "values beyond all numbers": (
        "bad",
        facts(lambda said: said.update(value_range=[10**400, 10**401])),
        "bad/config.json: facts.value_range.",
    ),
    "an order outside of the image": (
        "bad",
        facts(lambda said: said.update(series=None, image=[9, 5], order=[45, *range(44)])),
        "image, order and length do not give 15 steps of 3 features",
    ),
    "steps beyond all memory": (
        "bad",
        facts(lambda said: said["series"].update(resample=10**9)),
        "bad/config.json: facts.series.resample: Input should be less than or equal to 16777216",
    ),
    "less than no steps": (
        "bad",
        facts(lambda said: said["series"].update(resample=-3)),
        "bad/config.json: facts.series.resample: Input should be greater than or equal to 0",
    ),
    "less than no length": (
        "bad",
        facts(lambda said: said["series"].update(max_length=-5)),
        "bad/config.json: facts.series.max_length: Input should be greater than or equal to 0",
    ),
    "an indicator of no channel": (
        "bad",
        facts(lambda said: said["series"].update(masked=[3], low=[0] * 4, high=[1] * 4)),
        "series describes 4 features, but the model reads 3",
    ),
    "nested beyond all stacks": (
        "bad",
        lambda folder: (folder / "config.json").write_text('{"facts":' + "[" * 100_000),
        "bad/config.json: its facts: Invalid JSON: recursion limit exceeded",
    ),
    "layers beyond all time": (
        "bad",
        weights(lambda said: said.update(layers=1000)),
        "bad/model.safetensors: holds 1 layers, but config.json says 1000",
    ),
    "units beyond all memory": (
        "bad",
        weights(lambda said: said.update(hidden=10**6)),
        "bad/model.safetensors: its tensor head.weight is (3, 12) F32, but config.json describes (3, 2000000) F32",
    ),
    "a size beyond all numbers": (
        "bad",
        weights(lambda said: said.update(projection=10**12)),
        "bad/config.json: arguments.projection: Input should be less than or equal to 1048576",
    ),
    "no pooling": (
        "bad",
        weights(lambda said: said.update(pooling="x")),
        "bad/config.json: arguments.pooling: Input should be 'last', 'mean', 'max' or 'attention'",
    ),
    "no share": (
        "bad",
        weights(lambda said: said.update(dropout="a")),
        "bad/config.json: arguments.dropout: Input should be a valid number",
    ),
    "an image": ("bad", facts(lambda said: said.update(series=None, image=[9, 9])), "do not give 15 steps of 3 features"),
    "hostile": (
        "bad",
        _external,
        "bad/model.onnx: not a model that this program exported: the data of 'head_bias' is in another",
    ),
    "hostile alone": (
        "bad/model.onnx",
        _external,
        "bad/model.onnx: not a model that this program exported: the data of",
    ),
    "other features": (
        "bad",
        _of_four_features,
        "bad/model.onnx: not a model that this program exported: its inputs are not those of an exported one",
    ),
    "other classes": (
        "bad",
        facts(lambda said: said["class_names"].reverse()),
        "bad/model.onnx: its class_names is not that of config.json beside it; copy all files of one export together",
    ),
    "another way to clean": (
        "bad",
        facts(lambda said: said["series"].update(missing="mean")),
        "bad/model.onnx: its series is not that of config.json beside it",
    ),
    "another network": (
        "bad",
        arguments(lambda said: said.update(pooling="max")),
        "bad/model.onnx: its pooling is not that of config.json beside it",
    ),
    "an ONNX file of another run": (
        "bad",
        lambda folder: shutil.copy(folder / "model.onnx.other", folder / "model.onnx"),
        "bad/model.onnx: is not the file that config.json was written with (SHA-256 differs); copy all files of one export",
    ),
    "weights of another run": (
        "bad",
        lambda folder: [
            shutil.copy(folder / "model.safetensors.other", folder / "model.safetensors"),
            (folder / "model.onnx").unlink(),
        ],
        "bad/model.safetensors: is not the file that config.json was written with (SHA-256 differs)",
    ),
    "NaN in it": ("bad", _bad_weights, "series.csv: line 2: the model's logits of it are not finite"),
    "no ONNX": (
        "bad",
        lambda folder: (folder / "model.onnx").write_bytes(b"\x80\x04cos\n"),
        "bad/model.onnx: is not an ONNX file",
    ),
    "other ONNX": (
        "bad/model.onnx",
        lambda folder: (folder / "model.onnx").write_bytes(b""),
        "bad/model.onnx: not a model that this",
    ),
}


@pytest.mark.parametrize("fault", MODELS)
def test_a_model_that_is_damaged_or_hostile_is_refused_by_name(strict: Path, other: Path, fault: str) -> None:
    model, spoil, message = MODELS[fault]
    shutil.rmtree(strict / "bad", ignore_errors=True)
    shutil.copytree(strict / "export", strict / "bad")
    for file in ("model.onnx", "model.safetensors"):
        shutil.copy(other / file, strict / "bad" / f"{file}.other")
    spoil(strict / "bad")
    assert message in refused(strict, "--model", model, "series.csv")


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_full_disk_leaves_the_old_output(strict: Path, tmp_path: Path, kind: str) -> None:
    with small_disk(tmp_path / "disk", "16k") as disk:
        out = disk / f"out.{kind}"
        out.write_text("old")
        (disk / "ballast").write_bytes(b"x" * 12000)
        status, said = run("predict", "--model", "export", "series.csv", "--output", str(out), cwd=strict)
        assert status == 2 and "cannot write the predictions: the disk is full" in said, said
        assert out.read_text() == "old" and {path.name for path in disk.iterdir()} == {out.name, "ballast"}


def test_a_place_in_a_file_of_many_blocks_is_that_in_the_file(strict: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that in its block."""
    monkeypatch.chdir(strict)
    monkeypatch.setattr(inputs, "BLOCK", 600)
    table = ending("0,1,1,1", "1,,1,1")(Path("series.csv").read_text())
    Path("bad.csv").write_text(table)
    first = len(table.splitlines()) - 1  # of the last series
    with pytest.raises(DataError, match=f"bad.csv: line {first}: channel 'pulse' has no value at step 1"):
        predict(Path("export"), Path("bad.csv"), Path("out.csv"), None, {})
    assert not Path("out.csv").exists()
