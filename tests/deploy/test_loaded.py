"""What ``pipeline.load`` promises: from arrays, frames and files the answers of ``python -m pipeline predict``."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from pipeline import load
from pipeline.deploy.loaded import Trained
from pipeline.errors import UserError
from pipeline.stages.predict import predict
from tests.support.predicting import SERIES, export_untrained, write_series
from tests.support.raw_files import examples, put


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a long table and an export of a model that saw missing values and masks them."""
    folder = tmp_path_factory.mktemp("tables")
    write_series(folder / "series.csv")
    export_untrained(folder, *SERIES, "data.missing=mask")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with idx files and an export of a model that reads their images in an order of its own."""
    folder = tmp_path_factory.mktemp("images")
    put(folder / "raw", examples())
    export_untrained(folder, "data.source=mnist", "data.root=raw", "data.view=columns")
    return folder


def said(folder: Path, name: str) -> pl.DataFrame:
    """What the command says of a file."""
    with contextlib.chdir(folder):
        predict(Path("export"), Path(name), Path("out.parquet"), None, {})
        return pl.read_parquet("out.parquet")


def same(model: Trained, given: Any, rows: pl.DataFrame, ids: bool = True) -> None:
    names, probabilities, found = model.predict(given)
    assert names.tolist() == rows["prediction"].to_list()
    assert probabilities.dtype == np.float64 and probabilities.shape == (len(rows), len(model.class_names))
    assert np.array_equal(probabilities, rows.select(f"p_{name}" for name in model.class_names).to_numpy())
    assert found == (tuple(rows["id"]) if ids else tuple(map(str, range(len(rows)))))


def series_of(frame: pl.DataFrame) -> list[np.ndarray[Any, Any]]:
    """Each series as an array (steps, 3), NaN for what is missing."""
    channels = ["pulse", "load", "noise"]
    return [rows.select(channels).to_numpy() for _, rows in frame.group_by("id", maintain_order=True)]


def test_arrays_frames_and_files_are_predicted_alike(tables: Path) -> None:
    model, rows = load(str(tables / "export")), said(tables, "series.csv")
    frame = pl.read_csv(tables / "series.csv")
    arrays = series_of(frame)
    assert any(np.isnan(array).any() for array in arrays) and len({len(array) for array in arrays}) > 5
    same(model, tables / "series.csv", rows)
    same(model, str(tables / "series.csv"), rows)
    same(model, frame, rows)
    same(model, frame.lazy(), rows)
    same(model, frame.select(reversed(frame.columns)), rows)
    same(model, frame.drop("label").with_columns(other=pl.lit(7)), rows)
    same(model, arrays, rows, ids=False)
    same(model, tuple(torch.tensor(array) for array in arrays), rows, ids=False)
    same(model, [array.tolist() for array in arrays], rows, ids=False)
    equal = np.stack([np.resize(array, (4, 3)) for array in arrays])
    before = equal.copy()
    same_length = model.predict(equal)
    assert np.array_equal(equal, before, equal_nan=True), "what is given stays as it is"
    assert np.array_equal(same_length.probabilities, model.predict(list(equal)).probabilities)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame,
        lambda frame: frame.convert_dtypes(),
        lambda frame: frame.astype({"id": "category", "label": "category"}),
        lambda frame: frame.set_index(frame["id"].to_numpy()[::-1]),
        lambda frame: frame.assign(time=pd.to_datetime("2026-01-01") + pd.to_timedelta(frame["time"], "h")),
        lambda frame: frame.assign(time=pd.to_datetime("2026-01-01", utc=True) + pd.to_timedelta(frame["time"], "h")),
    ],
    ids=["numpy", "nullable", "category", "index", "dates", "dates of a zone"],
)
def test_a_frame_of_pandas_is_predicted_like_the_file_whatever_its_types(
    tables: Path, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    same(load(tables / "export"), change(pd.read_csv(tables / "series.csv")), said(tables, "series.csv"))


def test_a_query_that_fails_is_refused_with_the_words_of_polars(tables: Path) -> None:
    frame = pl.scan_csv(tables / "series.csv")
    for query in (frame.select("nobody"), frame.with_columns(pl.col("label").cast(pl.Int64))):
        with pytest.raises(UserError, match=r"the frame: .*(nobody|conversion from)"):
            load(tables / "export").predict(query)


def test_a_wide_frame_of_pandas_ends_its_series_where_nothing_more_is_there(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    cells = [[f"{value:.3f}" for value in random.normal(size=3 + row % 3)] + [""] * (2 - row % 3) for row in range(40)]
    lines = ["id,label,a_0,a_1,a_2,a_3,a_4", *(f"r{row},{row % 2},{','.join(line)}" for row, line in enumerate(cells))]
    (tmp_path / "wide.csv").write_text("\n".join(lines) + "\n")
    export_untrained(tmp_path, "data.source=csv", "data.path=wide.csv", "data.layout=wide")
    model, rows = load(tmp_path / "export"), said(tmp_path, "wide.csv")
    same(model, pd.read_csv(tmp_path / "wide.csv"), rows)
    same(model, pl.read_csv(tmp_path / "wide.csv"), rows)
    flat = [np.array([float(cell) for cell in line if cell]) for line in cells]
    same(model, flat, rows, ids=False)
    with pytest.raises(UserError, match=r"series 0 \(from 0\) has the shape \(1,\).*array \(series, steps, 1\)"):
        model.predict(flat[0][:, None])  # one series, or many of one step?


def test_images_are_predicted_as_their_file(images: Path) -> None:
    model, rows = load(images / "export"), said(images, "raw/t10k-images-idx3-ubyte.gz")
    pixels = examples()[2]
    same(model, images / "raw/t10k-images-idx3-ubyte.gz", rows)
    for given in (pixels, torch.tensor(pixels), pixels.astype(np.float64), list(pixels)):
        same(model, given, rows)
    assert model.channels is None


def test_a_call_gives_the_logits_of_what_is_prepared_already(tables: Path) -> None:
    model = load(tables / "export")
    assert model.features == 5 and model.channels == ("pulse", "load", "noise")
    values = torch.randn(3, 6, 5)
    logits = model(values, [6, 2, 1])
    assert logits.shape == (3, 3) and logits.dtype == torch.float32
    assert torch.equal(logits[1:2], model(values[1:2, :2])), "what follows the length has no part"
    assert torch.allclose(load(tables / "export/model.onnx")(values.numpy(), np.array([6, 2, 1])), logits)


def test_an_export_without_onnx_is_loaded_from_its_weights(tables: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tables / "export" / name).read_bytes())
    rows = said(tables, "series.csv")
    assert np.allclose(load(tmp_path).predict(tables / "series.csv").probabilities.max(1), rows["probability"], atol=1e-5)


def test_no_examples_have_no_answers(tables: Path, images: Path) -> None:
    for folder, empty in ((tables, np.empty((0, 4, 3))), (tables, []), (images, np.empty((0, 7, 5)))):
        names, probabilities, ids = load(folder / "export").predict(empty)
        assert len(names) == len(ids) == 0 and probabilities.shape[0] == 0 and probabilities.shape[1] > 1


SERIES_FAULTS: dict[str, tuple[Any, str]] = {
    "two channels": (
        np.zeros((2, 4, 2)),
        r"the array: series 0 \(from 0\) has the shape \(4, 2\), .* \(steps, 3\): pulse, load, noise",
    ),
    "no steps": ([np.zeros((2, 3)), np.zeros((0, 3))], r"series 1 \(from 0\) has the shape \(0, 3\)"),
    "one series": (np.zeros((4, 3)), r"has the shape \(3,\).* give an array \(series, steps, 3\)"),
    "a number": (np.array(3.0), "is a single number"),
    "numbers": ([1.0, 2.0], r"series 0 \(from 0\) has the shape \(\)"),
    "words": (np.full((1, 2, 3), "x"), r"example 0 \(from 0\) holds <U1, not real numbers"),
    "ragged": ([[[1, 2, 3], [4]]], "is not made of numbers"),
    "infinite": (
        [np.zeros((1, 3)), np.array([[0, 0, 0], [0, math.inf, 0]])],
        r"series 1 \(from 0\), step 1 \(from 0\), channel 'load': is infinite",
    ),
    "complex": (np.zeros((1, 2, 3), complex), "complex128"),
    "none": (None, "NoneType is nothing to predict"),
    "a column short": (pl.DataFrame({"id": ["a"], "time": [0], "pulse": [1.0], "load": [1.0]}), "no channel 'noise'"),
    "a name twice": (pd.DataFrame([[1, 2]], columns=["id", "id"]), "two columns have the name 'id'"),
    "a file that is not there": ("none.csv", "there is no such file"),
}


@pytest.mark.parametrize("given", SERIES_FAULTS)
def test_what_fits_no_model_of_series_is_named(tables: Path, given: str) -> None:
    example, message = SERIES_FAULTS[given]
    with pytest.raises(UserError, match=message):
        load(tables / "export").predict(example)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2, 28, 28)), r"the array: image 0 \(from 0\): 28 x 28 pixels"),
        (np.zeros((7, 5)), r"image 0 \(from 0\) has the shape \(5,\), but the model reads images of"),
        (np.full((1, 7, 5), np.nan), "no finite number"),
        (pl.DataFrame({"id": [1]}), "trained on images"),
    ],
)
def test_what_fits_no_model_of_images_is_named(images: Path, given: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(images / "export").predict(given)


def test_wrong_words_are_named(tables: Path) -> None:
    model = load(tables / "export")
    with pytest.raises(TypeError, match="'idd'"):
        model.predict("series.csv", idd="x")
    with pytest.raises(UserError, match="id: names columns, and an array has none"):
        model.predict(np.zeros((1, 2, 3)), id="x")
    with pytest.raises(UserError, match="source=csv"):
        model.predict(np.zeros((1, 2, 3)), source="csv")
    for values, lengths in ((np.zeros((2, 3, 4)), None), (np.zeros((2, 3, 5)), [3, 4]), (np.zeros((2, 3, 5)), [3])):
        with pytest.raises(UserError, match=r"\(batch, time, 5\)|2 numbers from 1 to 3"):
            model(values, lengths)
    renamed = pl.read_csv(tables / "series.csv").rename({"id": "person", "pulse": "p"})
    found = model.predict(renamed, id="person", channels="p,load,noise")
    assert found.names.tolist() == said(tables, "series.csv")["prediction"].to_list()


def test_values_far_from_those_of_the_training_are_warned_of(tables: Path) -> None:
    with pytest.warns(UserWarning, match=r"the array: series 1 \(from 0\): channel 'load' has the value 1e\+06") as seen:
        load(tables / "export").predict([np.zeros((1, 3)), np.array([[0, 1e6, 0]])])
    assert [warning.filename for warning in seen] == [__file__]


def test_threads_may_share_a_model(tables: Path) -> None:
    model, expected = load(tables / "export"), said(tables, "series.csv")
    arrays = series_of(pl.read_csv(tables / "series.csv"))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                same(model, arrays, expected, ids=False)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_what_is_no_export_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no config\.json"):
        load(tmp_path)
    with pytest.raises(UserError, match="there is no such file or folder"):
        load(tmp_path / "none")
