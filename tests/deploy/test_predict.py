"""What ``predict`` promises of input that fits: what ``evaluate`` says, in the order of the file, whatever its format."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

from pipeline.data.readers import formats
from pipeline.data.series import Array
from pipeline.deploy import bundle, inputs, outputs, predictor
from pipeline.model import footprint
from pipeline.stages.predict import predict
from tests.support.launching import environment, succeed
from tests.support.predicting import CONFIG, SERIES, export_untrained, rows_of, write_series
from tests.support.raw_files import examples, put

POLICIES = [
    ("missing=error", "max_length=15"),
    ("missing=mean", "truncate=start", "max_length=12"),
    ("missing=forward", "truncate=end", "max_length=12"),
    ("missing=mask", "resample=7"),
]


def train(folder: Path, *settings: str) -> None:
    """prepare, train, evaluate and export into ``folder``/run."""
    (folder / "own.yaml").write_text(CONFIG)
    settings = ("--config", "own.yaml", "run.dir=run", *settings)
    for command in ("prepare", "train"):
        succeed(command, *settings, cwd=folder)
    for command in ("evaluate", "export"):
        succeed(command, "--run", "run", cwd=folder)


def assert_as_evaluated(evaluated: list[dict[str, str]], predicted: list[dict[str, str]]) -> None:
    """The rows of ``predicted``, one an example of the file, say what ``evaluated``, of some of them, says."""
    assert len(evaluated) > 5
    for row in evaluated:
        said = predicted[int(row["index"])]
        assert said["prediction"] == row["prediction"] and said.get("label", row["label"]) == row["label"]
        assert float(said["probability"]) == pytest.approx(float(row["probability"]), abs=1e-5)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a table and a model that was trained on it with missing values under ``mask``."""
    folder = tmp_path_factory.mktemp("tables")
    write_series(folder / "series.csv")
    train(folder, *SERIES, *(f"data.{policy}" for policy in POLICIES[-1]))
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with idx files of images of 5 x 7 pixels and a model that reads them column by column."""
    folder = tmp_path_factory.mktemp("images")
    put(folder / "raw", examples())
    train(folder, "data.source=mnist", "data.root=raw", "data.view=columns")
    return folder


@pytest.mark.parametrize("policies", POLICIES, ids=" ".join)
def test_series_are_predicted_as_evaluated_under_each_policy(tmp_path: Path, policies: tuple[str, ...]) -> None:
    write_series(tmp_path / "series.csv", missing="missing=error" not in policies)
    evaluated = export_untrained(tmp_path, *SERIES, *(f"data.{policy}" for policy in policies))
    said = succeed("predict", "--model", "export", "series.csv", "--output", "out.csv", cwd=tmp_path)
    assert "60 predictions in " in said
    assert_as_evaluated(evaluated, rows_of(tmp_path / "out.csv"))


def test_a_channel_of_a_large_offset_is_predicted_as_evaluated_and_the_export_says_what_to_subtract(tmp_path: Path) -> None:
    write_series(tmp_path / "series.csv", missing=False)
    table = pl.read_csv(tmp_path / "series.csv").with_columns(load=pl.col("load").round(2) + 1_700_000_000)
    table.write_csv(tmp_path / "series.csv")
    evaluated = export_untrained(tmp_path, *SERIES)
    said = succeed("predict", "--model", "export", "series.csv", "--output", "out.csv", cwd=tmp_path)
    assert_as_evaluated(evaluated, rows_of(tmp_path / "out.csv"))
    assert "warning" not in said
    offset = json.loads((tmp_path / "export/config.json").read_text())["facts"]["series"]["offset"]
    assert offset[0] == offset[2] == 0 and offset[1] in table["load"]
    assert f"Subtract {offset[1]!r} from `load` first, in float64" in (tmp_path / "export/README.md").read_text()
    far = table.with_columns(load=pl.when(pl.int_range(pl.len()) == 0).then(1_699_990_000.0).otherwise("load"))
    far.write_csv(tmp_path / "far.csv")
    said = succeed("predict", "--model", "export", "far.csv", "--output", "out.csv", cwd=tmp_path)
    assert "line 2: channel 'load' has the value 1699990000; in training it went from 169999999" in said


def test_data_is_prepared_and_predicted_without_the_seconds_that_the_import_of_torch_takes(tables: Path) -> None:
    program = """
import sys
from pipeline.__main__ import main
sys.argv = ["pipeline", *sys.argv[1:]]
try:
    main()
finally:
    print("LOADED", *sorted({name.split(".")[0] for name in sys.modules} & {"torch", "accelerate", "matplotlib", "sklearn"}))
"""
    commands = {
        "predict --model run/export series.csv --output out.csv": "",
        "prepare own.yaml data.missing=mean": " matplotlib",
    }
    for command, loaded in commands.items():
        words = [*command.split(), *(SERIES if command.startswith("prepare") else ())]
        done = subprocess.run(
            [sys.executable, "-c", program, *words], cwd=tables, env=environment(), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"LOADED{loaded}"


def test_a_row_says_the_class_and_all_probabilities_as_the_evaluation_did(tables: Path) -> None:
    succeed("predict", "--model", "run/export", "series.csv", "--output", "out.csv", cwd=tables)
    predicted = rows_of(tables / "out.csv")
    assert [row["id"] for row in predicted] == [f"s{number}" for number in range(60)], "the order of the file"
    assert_as_evaluated(rows_of(tables / "run/eval/predictions.csv"), predicted)
    names = ["fast", "slow, steady", "Ärger"]
    assert list(predicted[0]) == ["id", "label", "prediction", "probability", *(f"p_{name}" for name in names)]
    for row in predicted:
        chances = [float(row[f"p_{name}"]) for name in names]
        assert sum(chances) == pytest.approx(1, abs=2e-6) and max(chances) == float(row["probability"])
        assert names[chances.index(max(chances))] == row["prediction"]


def test_accuracy_is_that_of_the_labels_in_the_file(tables: Path) -> None:
    said = succeed("predict", "--model", "run/export", "series.csv", "--output", "out.csv", cwd=tables)
    predicted = rows_of(tables / "out.csv")
    hits = sum(row["label"] == row["prediction"] for row in predicted)
    assert f"accuracy {hits / 60:.4f} on 60 examples with a label" in said


def test_images_are_predicted_as_evaluated_from_idx_png_and_folders_by_class(images: Path) -> None:
    evaluated = rows_of(images / "run/eval/predictions.csv")
    raw = "raw/t10k-images-idx3-ubyte.gz"
    succeed("predict", "--model", "run/export", raw, "--output", "idx.csv", cwd=images)
    assert_as_evaluated(evaluated, rows_of(images / "idx.csv"))
    pictures = examples()[2]
    for number, row in enumerate(evaluated):
        path = images / "png" / row["label"] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[number]).convert("RGB").save(path)
    said = succeed("predict", "--model", "run/export", "png", "--output", "png.csv", cwd=images)
    assert "accuracy" in said and "on 40 examples with a label" in said
    ordered = sorted(rows_of(images / "png.csv"), key=lambda row: Path(row["id"]).name)
    assert_as_evaluated(evaluated, ordered)
    alone = f"png/{evaluated[3]['label']}/003.png"
    (single,) = csv.DictReader(shown("predict", "--model", "run/export", alone, cwd=images).splitlines())
    assert single["id"] == "003.png" and "label" not in single and single["prediction"] == evaluated[3]["prediction"]


def test_idx_files_of_emnist_are_turned_as_in_training(tmp_path: Path) -> None:
    names = [
        f"emnist-balanced-{part}-{kind}" for part in ("train", "test") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    put(tmp_path / "raw", examples(train=188, test=94, classes=47), names)
    evaluated = export_untrained(tmp_path, "data.source=emnist", "data.root=raw", "data.validation=0")
    succeed("predict", "--model", "export", f"raw/{names[2]}.gz", "--output", "out.csv", cwd=tmp_path)
    assert_as_evaluated(evaluated, rows_of(tmp_path / "out.csv"))


def shown(*arguments: str, cwd: Path) -> str:
    """What the command writes to the standard output alone."""
    command = [sys.executable, "-m", "pipeline", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_formats_of_input_and_output_say_the_same(tables: Path) -> None:
    table = pl.read_csv(tables / "series.csv")
    table.write_parquet(tables / "series.parquet")
    groups = table.partition_by("id", maintain_order=True)
    values = table.select("pulse", "load", "noise").to_numpy()
    np.savez(
        tables / "series.npz",
        values=values,
        lengths=[len(group) for group in groups],
        ids=[group["id"][0] for group in groups],
        labels=[group["label"][0] for group in groups],
        channels=["pulse", "load", "noise"],
    )
    found = []
    for source in ("csv", "parquet", "npz"):
        for kind in ("csv", "json", "parquet"):
            succeed("predict", "--model", "run/export", f"series.{source}", "--output", f"out.{kind}", cwd=tables)
        stored = pl.read_parquet(tables / "out.parquet")
        assert stored["probability"].dtype == pl.Float64 and stored["id"].dtype == pl.String
        found.append(pl.read_csv(tables / "out.csv"))
        found.append(pl.DataFrame(json.loads((tables / "out.json").read_text())))
        found.append(stored.with_columns(pl.selectors.float().round(6)))
    for other in found[1:]:
        assert_frame_equal(found[0], other, abs_tol=1.1e-6)


def test_onnx_alone_and_safetensors_alone_say_what_the_folder_says(tables: Path, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "weights" / name).write_bytes((tables / "run/export" / name).read_bytes())
    found = []
    for number, model in enumerate(["run/export", "run/export/model.onnx", str(tmp_path / "weights")]):
        succeed("predict", "--model", model, "series.csv", "--output", f"model{number}.csv", cwd=tables)
        found.append(pl.read_csv(tables / f"model{number}.csv"))
    assert found[0].equals(found[1])
    assert_frame_equal(found[0], found[2], abs_tol=1.1e-6)


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_path_may_hold_what_patterns_are_made_of(tables: Path, kind: str) -> None:
    succeed("predict", "--model", "run/export", "series.csv", "--output", f"out.{kind}", cwd=tables)
    odd = tables / "a[1]{b}?*~id=3%20"
    odd.mkdir(exist_ok=True)
    table = pl.read_csv(tables / "series.csv")
    table.write_parquet(odd / "in[1].parquet")
    succeed("predict", "--model", "run/export", f"{odd.name}/in[1].parquet", "--output", f"{odd.name}/p[*].{kind}", cwd=tables)
    assert (odd / f"p[*].{kind}").read_bytes() == (tables / f"out.{kind}").read_bytes()


@pytest.mark.parametrize("kind", ["csv", "json"])
@pytest.mark.parametrize("source", ["csv", "npz", "parquet", "idx"])
def test_a_file_in_many_blocks_gives_what_one_block_gives(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, source: str, kind: str
) -> None:
    folder: Path = request.getfixturevalue("images" if source == "idx" else "tables")
    monkeypatch.chdir(folder)
    path = Path("raw/t10k-images-idx3-ubyte.gz" if source == "idx" else f"series.{source}")
    if source == "npz":
        groups = pl.read_csv("series.csv").partition_by("id", maintain_order=True)
        labelled = {"ids": [group["id"][0] for group in groups], "labels": [group["label"][0] for group in groups]}
        values = pl.concat(groups).select("pulse", "load", "noise").to_numpy()
        np.savez(path, values=values, lengths=[len(group) for group in groups], channels=["pulse", "load", "noise"], **labelled)
    elif source == "parquet":
        pl.read_csv("series.csv").write_parquet(path)
    seen: list[int] = []
    predict_block = predictor.predict
    monkeypatch.setattr(
        predictor, "predict", lambda model, block: (seen.append(len(block.ids)), predict_block(model, block))[1]
    )
    for name, block in (("whole", 2**23), ("blocks", 600)):
        monkeypatch.setattr(inputs, "BLOCK", block)
        seen.clear()
        predict(Path("run/export"), path, Path(f"{name}.{kind}"), None, {})
    assert len(seen) > 5 and max(seen) < 10
    assert Path(f"blocks.{kind}").read_bytes() == Path(f"whole.{kind}").read_bytes()


def test_a_block_is_bounded_by_the_classes_and_by_the_steps_that_series_are_brought_to(tables: Path) -> None:
    trained = bundle.load(tables / "run/export")
    facts = trained.facts
    assert facts.series
    many = facts.model_copy(update={"class_names": tuple(map(str, range(100_000)))})
    long = facts.model_copy(update={"series": facts.series.model_copy(update={"resample": 50_000})})
    for said, least, most in ((facts, 60, 60), (many, 8, 12), (long, 6, 12)):
        blocks = list(inputs.read(tables / "series.csv", "csv", said, trained.features, {}))
        assert sum(len(block.ids) for block in blocks) == 60
        assert least <= max(len(block.ids) for block in blocks) <= most
        bound = 2 * inputs.BLOCK
        assert all(len(block.ids) * len(said.class_names) * 8 + block.values.nbytes <= bound for block in blocks)


def test_the_labels_of_a_block_are_gone_through_once_and_not_once_a_piece(
    tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counted(tuple[str, ...]):
        times = 0

        def __iter__(self) -> Iterator[str]:
            Counted.times += 1
            return super().__iter__()

    trained = bundle.load(tables / "run/export")
    assert trained.facts.series
    (read,) = formats.read("csv", tables / "series.csv", inputs.columns_of("csv", trained.facts.series, {}))
    assert read.labels
    monkeypatch.setattr(inputs, "BLOCK", 600)
    blocks = list(inputs.of_series([replace(read, labels=Counted(read.labels))], trained.facts, False))
    assert len(blocks) > 5 and Counted.times == 1
    assert [label for block in blocks for label in block.labels or ()] == list(read.labels)


def test_what_is_computed_together_is_bounded_by_its_steps_and_widths(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = bundle.load(tables / "run/export")
    (block,) = inputs.read(tables / "series.csv", "csv", trained.facts, trained.features, {})
    shapes: list[tuple[int, int]] = []

    def run(values: Array, lengths: Array) -> Array:
        shapes.append((values.shape[0], values.shape[1]))
        return trained.run(values, lengths)

    whole = predictor.predict(trained, block)
    limit = 20 * trained.arguments.sizes.step_bytes
    monkeypatch.setitem(footprint.LIMITS, "cpu", limit)
    pieces = predictor.predict(replace(trained, run=run), block)
    np.testing.assert_allclose(pieces.probabilities, whole.probabilities, atol=1e-6)
    assert sum(rows for rows, _ in shapes) == 60 and all(rows == 1 or rows * steps <= 20 for rows, steps in shapes)


def test_without_an_output_file_the_screen_has_the_csv_and_nothing_else(tables: Path) -> None:
    succeed("predict", "--model", "run/export", "series.csv", "--output", "out.csv", cwd=tables)
    assert shown("predict", "--model", "run/export", "series.csv", cwd=tables) == (tables / "out.csv").read_text()


@pytest.mark.parametrize("option", ["", "--quiet", "--json"])
def test_predictions_that_the_standard_output_does_not_take_are_an_error(tables: Path, option: str) -> None:
    command = f"{sys.executable} -m pipeline predict --model run/export series.csv {option} > /dev/full"
    done = subprocess.run(command, shell=True, cwd=tables, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: the standard output cannot be written: No space left on device")


def test_columns_may_stand_in_another_order_beside_others_without_labels_and_under_other_names(tables: Path) -> None:
    table = pl.read_csv(tables / "series.csv")
    odd = table.select("noise", pl.lit("x").alias("comment"), "id", "load", "time", "pulse")
    odd.write_csv(tables / "odd.csv")
    renamed = odd.rename({"noise": "a", "load": "b", "pulse": "c", "id": "name", "time": "at"})
    renamed.write_csv(tables / "renamed.csv")
    options = ("--id", "name", "--time", "at", "--channels", "c,b,a")
    succeed("predict", "--model", "run/export", "series.csv", "--output", "out.csv", cwd=tables)
    succeed("predict", "--model", "run/export", "odd.csv", "--output", "odd_out.csv", cwd=tables)
    succeed("predict", "--model", "run/export", "renamed.csv", "--output", "renamed_out.csv", *options, cwd=tables)
    expected = pl.read_csv(tables / "out.csv").drop("label")
    assert pl.read_csv(tables / "odd_out.csv").equals(expected) and pl.read_csv(tables / "renamed_out.csv").equals(expected)


def test_a_label_that_is_missing_is_empty_and_one_that_is_unknown_is_said_and_not_counted(tables: Path) -> None:
    table = pl.read_csv(tables / "series.csv")
    word = pl.when(pl.col("id") == "s0").then(None).when(pl.col("id") == "s1").then(pl.lit("odd")).otherwise("label")
    table.with_columns(label=word).write_csv(tables / "labels.csv")
    said = succeed("predict", "--model", "run/export", "labels.csv", "--output", "labels_out.csv", cwd=tables)
    line = 2 + int((table["id"] == "s1").arg_max() or 0)
    assert f"warning: labels.csv: line {line}: the label 'odd' is no class of the model; it is not counted" in said
    assert "on 58 examples with a label" in said
    assert [row["label"] for row in rows_of(tables / "labels_out.csv")][:3] == ["", "odd", "Ärger"]


def test_values_far_outside_what_was_trained_are_said_with_file_line_and_channel(tables: Path) -> None:
    text = (tables / "series.csv").read_text().splitlines()
    cells = text[1].split(",")
    text[1] = ",".join([*cells[:3], "77.5", *cells[4:]])
    (tables / "far.csv").write_text("\n".join(text))
    said = succeed("predict", "--model", "run/export", "far.csv", "--output", "far_out.csv", cwd=tables)
    assert "warning: far.csv: line 2: channel 'load' has the value 77.5; in training it went from -" in said
    assert "warning" not in succeed("predict", "--model", "run/export", "series.csv", "--output", "out.csv", cwd=tables)


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_far_value_is_said_of_its_own_series_wherever_it_stands_in_it(tables: Path, place: str) -> None:
    table = pl.read_csv(tables / "series.csv")
    rows = np.flatnonzero(table["id"] == "s7")
    row = int(rows[0 if place == "first" else -1])
    far = table.with_columns(load=pl.when(pl.int_range(pl.len()) == row).then(77.5).otherwise("load"))
    far.write_csv(tables / "far.csv")
    said = succeed("predict", "--model", "run/export", "far.csv", "--output", "far_out.csv", cwd=tables)
    assert f"warning: far.csv: line {rows[0] + 2}: channel 'load' has the value " in said and "others" not in said


def test_an_id_with_any_character_that_ends_a_line_somewhere_is_one_row_of_json(tmp_path: Path) -> None:
    ids = [f"a{mark}b" for mark in "\u2028\u2029\x85\x0b\x0c\x1c\r\n\t"]
    frame = pl.DataFrame({"id": ids, "probability": [0.5] * len(ids)})
    outputs.write_json(tmp_path / "out.json", iter([frame[:2], frame[2:]]))
    assert [row["id"] for row in json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))] == ids
