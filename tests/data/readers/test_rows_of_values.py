"""What ``data.steps`` promises: a row of values becomes steps of several, row by row, in every format."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline import config, load
from pipeline.data.inspection import roles
from pipeline.errors import ConfigError, DataError
from pipeline.stages.advice.init import init
from tests.support.launching import succeed
from tests.support.predicting import export_untrained, rows_of
from tests.support.series_files import only

SIDE = 8
IMAGES = np.random.default_rng(0).integers(0, 17, (24, SIDE, SIDE))
LABELS = np.arange(24) % 2


def table(name: str = "pixel{}", first: int = 0) -> pl.DataFrame:
    flat = IMAGES.reshape(len(IMAGES), -1)
    return pl.DataFrame({"label": LABELS, **{name.format(first + n): flat[:, n] for n in range(flat.shape[1])}})


def written(folder: Path, kind: str) -> Path:
    path = folder / f"images.{kind}"
    if kind == "csv":
        table().write_csv(path)
    elif kind == "parquet":
        table().write_parquet(path)
    elif kind == "npz":
        np.savez(path, X=IMAGES.reshape(len(IMAGES), -1), y=LABELS)
    elif kind == "arff":
        names = "".join(f"@attribute pixel{n} numeric\n" for n in range(SIDE**2))
        rows = "".join(f"{','.join(map(str, image.ravel()))},{label}\n" for image, label in zip(IMAGES, LABELS, strict=True))
        path.write_text(f"@relation x\n{names}@attribute class {{0,1}}\n@data\n{rows}")
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "arff"])
def test_a_row_of_pixels_becomes_the_rows_of_an_image(tmp_path, kind):
    roles_ = {"label": "y"} if kind == "npz" else {"layout": "wide", "id": ""} if kind in ("csv", "parquet") else {}
    got = only(kind, written(tmp_path, kind), steps=SIDE, **roles_)
    assert got.channels == tuple(f"channel_{n}" for n in range(SIDE)) and got.lengths.tolist() == [SIDE] * len(IMAGES)
    np.testing.assert_array_equal(got.values.reshape(IMAGES.shape), IMAGES)
    assert got.labels == tuple(map(str, LABELS))


@pytest.mark.parametrize("name", ["pixel_{}", "p{}"])
def test_columns_that_are_numbered_as_steps_are_pixels_too(tmp_path, name):
    table(name).write_csv(tmp_path / "a.csv")
    got = only("csv", tmp_path / "a.csv", layout="wide", id="", steps=4)
    np.testing.assert_array_equal(got.values.reshape(-1, 4, 16), IMAGES.reshape(-1, 4, 16))


def test_steps_that_do_not_divide_the_values_are_refused_with_those_that_do(tmp_path):
    path = written(tmp_path, "csv")
    with pytest.raises(DataError, match=r"64 values a series, which data\.steps = 7 does not divide.*2, 4, 8, 16, 32"):
        only("csv", path, layout="wide", id="", steps=7)
    with pytest.raises(DataError, match="give as many values as in training"):
        only("csv", path, layout="wide", id="", steps=7, labelled=False)


def test_a_row_of_fewer_values_and_several_channels_are_refused_by_place(tmp_path):
    lines = table().write_csv().splitlines()
    lines[5] = re.sub(r"\d+$", "", lines[5])
    (tmp_path / "a.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"line 6: 63 values, but the first series has 64; .*NaN"):
        only("csv", tmp_path / "a.csv", layout="wide", id="", steps=8)
    np.savez(tmp_path / "a.npz", values=np.zeros((4, 6, 2)), labels=np.arange(4) % 2)
    with pytest.raises(DataError, match=r"has 2 channels, and data\.steps = 3 cuts the values of one"):
        only("npz", tmp_path / "a.npz", steps=3)


def test_images_of_a_folder_of_images_have_no_such_key():
    with pytest.raises(ConfigError, match=r"data\.steps.*is for series"):
        config.load(Path("configs/digits.yaml"), ("data.steps=8",))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_predict_cuts_a_row_as_training_did(tmp_path, kind):
    path = written(tmp_path, kind)
    settings = (f"data.source={kind}", f"data.path={path.name}", "data.layout=wide", "data.steps=8")
    evaluated = export_untrained(tmp_path, *settings)
    succeed("predict", "--model", "export", path.name, "--output", "out.csv", cwd=tmp_path)
    predicted = rows_of(tmp_path / "out.csv")
    assert len(predicted) == len(IMAGES)
    for row in evaluated:
        said = predicted[int(row["index"])]
        assert float(said["probability"]) == pytest.approx(float(row["probability"]), abs=1e-5)


def smooth(side: int = 12) -> pl.DataFrame:
    """Grey levels that change slowly along both axes, under names that say nothing."""
    y, x = np.mgrid[:side, :side] / side
    images = [127 + 120 * np.sin(3 * x + n) * np.cos(4 * y - n) for n in range(30)]
    return pl.DataFrame(
        {"y": [n % 2 for n in range(30)], **{f"v{k}": [int(i.ravel()[k]) for i in images] for k in range(side**2)}}
    )


@pytest.mark.parametrize(
    ("frame", "steps"),
    [
        (table(), 8),
        (table("pixel{}", 1), 8),
        (table("px_{}"), 8),
        (table().rename({f"pixel{n}": f"{n // 8 + 1}x{n % 8 + 1}" for n in range(64)}), 8),
        (table().select(pl.all().exclude("pixel63")), 0),  # no square
        (smooth(), 12),
        (smooth().with_columns(pl.col("v3") * 1000), 0),  # no grey levels
        (table("value{}"), 0),  # noise is like nothing beside it
    ],
    ids=["pixel0", "pixel1", "px_0", "1x1", "odd", "measured", "range", "noise"],
)
def test_init_sees_images_in_the_rows_of_a_table(tmp_path, frame, steps):
    frame.write_csv(tmp_path / "a.csv")
    found = roles.find("csv", tmp_path / "a.csv")
    assert found.columns.steps == steps, found.reasons
    assert any("images of" in line for line in found.reasons) == (steps > 0)
    assert len(only("csv", tmp_path / "a.csv", **found.columns.model_dump())) == len(frame)


def test_a_series_is_no_image_though_its_steps_are_a_square_number_of_small_whole_numbers(tmp_path):
    steps = np.arange(100)
    rows = {f"t{k}": [int(120 + 100 * np.sin(k / 3 + n)) for n in range(30)] for k in steps}
    pl.DataFrame({"y": [n % 2 for n in range(30)], **rows}).write_csv(tmp_path / "a.csv")
    assert roles.find("csv", tmp_path / "a.csv").columns.steps == 0


def test_init_normalises_images_in_a_table_as_images(tmp_path, monkeypatch):
    table().write_csv(tmp_path / "a.csv")
    monkeypatch.chdir(tmp_path)
    init(Path("a.csv"), None, None)
    data = config.load(Path("a.yaml")).data
    assert (data.steps, data.normalize, data.layout, data.label) == (8, "global", "wide", "label")


def test_a_frame_of_python_is_cut_as_training_did(tmp_path):
    path = written(tmp_path, "csv")
    export_untrained(tmp_path, "data.source=csv", f"data.path={path.name}", "data.layout=wide", "data.steps=8")
    model = load(tmp_path / "export")
    whole, framed = model.predict(path), model.predict(table())
    np.testing.assert_array_equal(whole.probabilities, framed.probabilities)
