"""A run that goes on says what is other than before, and counts nothing twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import __version__, files
from pipeline.run.environment import program
from tests.support.launching import ROOT, numbers, records, run, succeed, weights

SMOKE = ("--config", str(ROOT / "configs/smoke.yaml"))
# A rate at which nothing moves: all evaluations tie, so that each but the first is one without a better one.
STILL = ("optim.lr=1e-12", "train.epochs=20", "train.evaluate_every=5", "train.checkpoint_every=5", "train.log_every=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared data and a run ``stopped`` that was killed after step 12."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", *SMOKE, cwd=folder)
    status, _ = run("train", *SMOKE, *STILL, "run.dir=stopped", cwd=folder, INJECTED_FAULT="kill@0:12")
    assert status == -9
    return folder


def copied(folder: Path, name: str) -> Path:
    """A copy of the stopped run."""
    return Path(shutil.copytree(folder / "stopped", folder / name))


def going_on(run_folder: Path, **more: str) -> str:
    """What the run prints that goes on."""
    arguments = ("train", *SMOKE, *STILL, f"run.dir={run_folder.name}")
    status, output = run(*arguments, cwd=run_folder.parent, **({"INJECTED_FAULT": "kill@0:30"} | more))
    assert status == -9 and "resuming after step" in output, output
    return output


def newest(folder: Path) -> Path:
    return max((folder / "checkpoints").glob("step_*"))


def test_a_run_that_other_code_goes_on_with_says_so(folder: Path) -> None:
    assert "trained so far by" not in going_on(copied(folder, "same"))
    made = json.loads((newest(folder / "stopped") / "state.json").read_text())["facts"]["program"]
    assert made == {"version": __version__, "code": program().code, "torch": torch.__version__}
    now = f"goes on by version {__version__} (code {made['code'][:8]}) with torch {torch.__version__}"
    for name, other in (("code", "0123456789abcdef"), ("torch", "2.14.0"), ("version", "0.0.9")):
        restated(copied(folder, name), program=(was := made | {name: other}))
        before = f"trained so far by version {was['version']} (code {was['code'][:8]}) with torch {was['torch']}"
        assert going_on(folder / name).count(f"{name}: {before}, {now}\n") == 1
    restated(copied(folder, "unheard"), program=made | {"code": "0123456789abcdef"})
    _, output = run("train", "-q", *SMOKE, *STILL, "run.dir=unheard", cwd=folder, INJECTED_FAULT="kill@0:30")
    assert output.count("unheard: trained so far by") == 1 and "resuming" not in output, "--quiet hides no change"
    restated(copied(folder, "earlier"), program=None)  # a version that did not say it
    assert "trained so far by" not in going_on(folder / "earlier")


def restated(folder: Path, **facts: Any) -> None:
    """Change what the newest checkpoint says of the run; None takes a fact away."""
    checkpoint = newest(folder)
    content = json.loads((checkpoint / "state.json").read_text())
    content["facts"] = {name: value for name, value in (content["facts"] | facts).items() if value is not None}
    (checkpoint / "state.json").write_text(json.dumps(content))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["state.json"] = files.sha256(checkpoint / "state.json")
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


def test_an_evaluation_that_is_made_again_counts_once_for_early_stopping(folder: Path) -> None:
    early = (*SMOKE, *STILL, "train.early_stopping=3", "train.keep_last=100")
    assert "finished at step 20;" in succeed("train", *early, "run.dir=alone", cwd=folder)
    status, _ = run("train", *early, "run.dir=killed", cwd=folder, INJECTED_FAULT="kill@0:12")
    assert status == -9
    assert "finished at step 20;" in succeed("train", *early, "run.dir=killed", cwd=folder)
    assert numbers(folder / "killed") == numbers(folder / "alone")
    assert weights(folder / "killed") == weights(folder / "alone")


def test_records_that_are_behind_the_checkpoint_are_said_to_be_lost(folder: Path) -> None:
    said = "metrics.jsonl: ends at step {}; what was recorded from there to step {} is lost"
    assert " is lost" not in going_on(copied(folder, "whole"))
    behind, without = copied(folder, "behind"), copied(folder, "without")
    step = int(newest(behind).name[-3:])
    kept = [json.dumps(record) for record in records(behind) if record["step"] <= 2]
    (behind / "metrics.jsonl").write_text("\n".join([*kept, ""]))
    assert said.format(2, step) in going_on(behind)
    (without / "metrics.jsonl").unlink()
    assert said.format(0, step) in going_on(without)


def test_the_last_step_is_recorded_and_evaluated_though_neither_is_due(folder: Path) -> None:
    settings = ("run.dir=ends", "train.epochs=1", "train.log_every=4", "train.evaluate_every=5")
    succeed("train", *SMOKE, *settings, cwd=folder)
    seen = records(folder / "ends")
    assert [record["step"] for record in seen if "train/loss" in record] == [4, 8, 12, 14]
    assert [record["step"] for record in seen if "valid/loss" in record] == [5, 10, 14]
