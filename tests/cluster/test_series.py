"""A user's own table of series, from the file to the exported model, on one and two processes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.data_section import SERIES_WARPS
from tests.support.launching import losses, run, succeed, weights

SETTINGS = """\
data: {source: csv, path: series.csv, missing: mask, validation: 0.2}
model: {hidden: 12, bidirectional: true, pooling: mean}
train: {epochs: 8, batch: 16, bucket: true, log_every: 1}
track: {backends: []}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a table of 120 series of 3 to 20 steps, prepared."""
    folder = tmp_path_factory.mktemp("work")
    random = np.random.default_rng(0)
    with (folder / "series.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "time", "sine", "noise", "label"])
        for number in range(120):
            label = ("slow, steady", "fast")[number % 2]
            phase = random.uniform(0, 6)
            for step in range(random.integers(3, 21)):
                value = np.sin(phase + step * (0.3, 1.5)[number % 2])
                noise = "" if random.random() < 0.1 else f"{random.normal():.3f}"
                writer.writerow([f"s{number}", step, f"{value:.4f}", noise, label])
    (folder / "own.yaml").write_text(SETTINGS)
    said = succeed("prepare", "--config", "own.yaml", cwd=folder)
    assert "76 examples of 3 to 20 steps x 3 values" in said and "noise: " in said and "missing: " in said
    return folder


def test_prepared_series_come_with_a_report_and_pictures(folder: Path) -> None:
    (prepared,) = (folder / "prepared").glob("csv-series-*")
    report = json.loads((prepared / "report.json").read_text())
    assert report["parts"] == {"train": 76, "valid": 20, "test": 24}
    assert report["classes"]["test"] == {"fast": 12, "slow, steady": 12}
    assert [channel["name"] for channel in report["channels"]] == ["sine", "noise", "noise missing"]
    assert report["channels"][1]["missing"] > 50 and report["repeated"]["count"] == 0
    assert all((prepared / name).stat().st_size > 1000 for name in ("report.png", "samples.png"))


@pytest.mark.parametrize("processes", [1, 2])
def test_series_train_evaluate_and_export_on_one_and_two_processes(folder: Path, processes: int) -> None:
    name = f"own{processes}"
    said = succeed("train", "--config", "own.yaml", f"run.dir={name}", cwd=folder, processes=processes)
    assert "padding: " in said and " without buckets" in said
    said = succeed("evaluate", "--run", name, cwd=folder, processes=processes)
    measured = json.loads((folder / name / "eval/metrics.json").read_text())
    assert measured["count"] == 24 and measured["accuracy"] > 0.7
    with (folder / name / "eval/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24 and {row["label"] for row in rows} == {"fast", "slow, steady"}
    if processes == 1:
        return  # once is enough for what is the same
    said = succeed("export", "--run", name, cwd=folder)
    assert said.count("0 of 24 predictions differ") == 3
    facts = json.loads((folder / name / "export/config.json").read_text())["facts"]
    series = facts["series"]
    assert series["channels"] == ["sine", "noise"] and series["masked"] == [1] and len(series["fill"]) == 2
    assert (series["missing"], series["resample"], facts["class_names"]) == ("mask", 0, ["fast", "slow, steady"])
    assert "`sine`" in (folder / name / "export/README.md").read_text()


def test_plain_runs_on_1_and_2_processes_agree_in_their_first_steps(folder: Path) -> None:
    for processes in (1, 2):
        succeed("train", "--config", "own.yaml", f"run.dir=plain{processes}", "train.epochs=2", cwd=folder, processes=processes)
    np.testing.assert_allclose(losses(folder / "plain2"), losses(folder / "plain1"), rtol=1e-5)


def test_exact_mode_gives_the_same_bits_on_unequal_lengths_for_1_2_and_4_processes(folder: Path) -> None:
    exact = ["train.gradient_shards=4", "train.epochs=2"]
    names = {processes: f"exact{processes}" for processes in (1, 2, 4)}
    for processes, name in names.items():
        succeed("train", "--config", "own.yaml", f"run.dir={name}", *exact, cwd=folder, processes=processes)
    assert len({weights(folder / name) for name in names.values()}) == 1
    succeed("evaluate", "--run", names[1], cwd=folder, processes=1)
    alone = (folder / names[1] / "eval/predictions.csv").read_bytes()
    succeed("evaluate", "--run", names[1], cwd=folder, processes=3)
    assert (folder / names[1] / "eval/predictions.csv").read_bytes() == alone


def test_a_run_on_buckets_that_was_stopped_ends_as_one_left_alone(folder: Path) -> None:
    common = ("--config", "own.yaml", "train.gradient_shards=4", "train.checkpoint_every=2")
    succeed("train", *common, "run.dir=whole", "train.epochs=4", cwd=folder)
    fault = {"INJECTED_FAULT": "term@0:7"}
    assert run("train", *common, "run.dir=stopped", "train.epochs=4", cwd=folder, **fault)[0] == 143
    succeed("train", *common, "run.dir=stopped", "train.epochs=4", cwd=folder, processes=2)
    assert weights(folder / "stopped") == weights(folder / "whole")


CONVOLVED = ("model.conv=8", "model.conv_norm=batch", "train.epochs=2")


def test_statistics_of_a_batch_are_those_of_all_processes_together(folder: Path) -> None:
    """With a gradient that SGD takes as it is, so that a wrong scale shows too."""
    options = (*CONVOLVED, "optim.name=sgd", "optim.lr=0.05", "optim.clip=0.5")
    for processes in (1, 2):
        succeed("train", "--config", "own.yaml", f"run.dir=norm{processes}", *options, cwd=folder, processes=processes)
    np.testing.assert_allclose(losses(folder / "norm2"), losses(folder / "norm1"), rtol=1e-5)


def test_exact_mode_gives_the_same_bits_with_batch_statistics_and_a_stop_changes_none(folder: Path) -> None:
    exact = (*CONVOLVED, "train.gradient_shards=4", "train.ema=0.9", "train.checkpoint_every=2")
    for processes in (1, 2, 4):
        succeed("train", "--config", "own.yaml", f"run.dir=bits{processes}", *exact, cwd=folder, processes=processes)
    stop = {"INJECTED_FAULT": "term@0:5"}
    assert run("train", "--config", "own.yaml", "run.dir=bits_stopped", *exact, cwd=folder, **stop)[0] == 143
    succeed("train", "--config", "own.yaml", "run.dir=bits_stopped", *exact, cwd=folder, processes=2)
    assert len({weights(folder / name) for name in ("bits1", "bits2", "bits4", "bits_stopped")}) == 1
    succeed("evaluate", "--run", "bits1", cwd=folder)
    assert succeed("export", "--run", "bits1", cwd=folder).count("0 of 24 predictions differ") == 3


WARPED = ("data.jitter=0.1", "data.scaling=0.2", "data.time_warp=0.3", "data.crop=0.2", "data.channel_dropout=0.2")


def test_distorted_series_are_the_same_bits_on_any_processes_after_a_stop_and_never_evaluated(folder: Path) -> None:
    exact = (*WARPED, "train.gradient_shards=4", "train.epochs=2", "train.checkpoint_every=2")
    succeed("train", "--config", "own.yaml", "run.dir=undistorted", *exact[len(WARPED) :], cwd=folder)
    for processes in (1, 2, 4):
        succeed("train", "--config", "own.yaml", f"run.dir=warp{processes}", *exact, cwd=folder, processes=processes)
    stop = {"INJECTED_FAULT": "term@0:5"}
    assert run("train", "--config", "own.yaml", "run.dir=warp_stopped", *exact, cwd=folder, **stop)[0] == 143
    succeed("train", "--config", "own.yaml", "run.dir=warp_stopped", *exact, cwd=folder, processes=2)
    found = {weights(folder / name) for name in ("warp1", "warp2", "warp4", "warp_stopped")}
    assert len(found) == 1 and weights(folder / "undistorted") not in found
    written, predictions = folder / "warp1/config.yaml", folder / "warp1/eval/predictions.csv"
    succeed("evaluate", "--run", "warp1", cwd=folder)
    distorting = predictions.read_bytes()
    lines = [line for line in written.read_text().splitlines() if line.split(":")[0].strip() not in SERIES_WARPS]
    assert len(written.read_text().splitlines()) == len(lines) + len(WARPED)
    written.write_text("\n".join(lines) + "\n")
    succeed("evaluate", "--run", "warp1", cwd=folder)
    assert predictions.read_bytes() == distorting, "without the keys the evaluation is the same"
