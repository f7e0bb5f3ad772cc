"""What a default does where the data does not fit it, and that a choice of the user's is refused instead."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.launching import run, succeed


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A working folder with 36 training series, and a configuration that names nothing but them."""
    random = np.random.default_rng(0)
    np.savez(tmp_path / "few.npz", values=random.normal(size=(50, 6, 2)).astype("f4"), labels=np.arange(50) % 2)
    (tmp_path / "few.yaml").write_text("data: {source: npz, path: few.npz}\ntrack: {backends: []}\ntrain: {epochs: 1}\n")
    return tmp_path


@pytest.mark.parametrize("processes", [1, 2])
def test_a_default_batch_above_the_training_split_is_made_to_fit_and_said(few: Path, processes: int) -> None:
    output = succeed("train", "--config", "few.yaml", cwd=few, processes=processes)
    assert output.count("train.batch = 8, as the default of 64 is more than the 36 training examples") == 1
    assert yaml.safe_load((few / "runs/few/config.yaml").read_text())["train"]["batch"] == 8
    assert "nothing to do" in succeed("train", "--config", "few.yaml", cwd=few), "the same configuration is the same run"


def test_a_batch_that_the_user_chose_is_refused(few: Path) -> None:
    status, output = run("train", "--config", "few.yaml", "train.batch=64", cwd=few)
    assert status == 2 and "train.batch = 64 is more than the 36 training examples; set train.batch=36 or less" in output


def test_what_is_typed_next_is_whole(few: Path) -> None:
    output = succeed("prepare", "--config", "few.yaml", "data.validation=0.2", "model.hidden=16", cwd=few)
    assert output.splitlines()[-1] == "next: python -m pipeline train --config few.yaml data.validation=0.2 model.hidden=16"
    make = {"MAKELEVEL": "1", "MAKEFLAGS": " -- PROCESSES=1 LAUNCH=launch/cpu.yaml CONFIG=few.yaml"}
    (few / "Makefile").write_text("")
    output = succeed("prepare", "--config", "few.yaml", "run.dir=runs/few", "model.hidden=16", cwd=few, **make)
    assert output.splitlines()[-1] == (
        "next: make train CONFIG=few.yaml RUN=runs/few ARGS=model.hidden=16 PROCESSES=1 LAUNCH=launch/cpu.yaml"
    )
    output = succeed("train", "--config", "few.yaml", cwd=few)
    assert output.splitlines()[-1].endswith("next: python -m pipeline evaluate --run runs/few")


def several(folder: Path, labels: list[int], test: list[int] | None = None) -> None:
    """few.npz, and perhaps a file of the test split, with these labels."""
    for name, words in (("few", labels), ("test", test or labels)):
        values = np.random.default_rng(0).normal(size=(len(words), 6, 2)).astype("f4")
        np.savez(folder / f"{name}.npz", values=values, labels=np.array(words))


@pytest.mark.parametrize("first", ["prepare", "train"])
def test_a_default_validation_share_that_cannot_hold_each_class_is_made_to_fit_and_said(few: Path, first: str) -> None:
    several(few, [number % 8 for number in range(64)])
    said = "data.validation = 8, as the default of 0.1 of 51 examples cannot hold each class"
    assert succeed(first, "--config", "few.yaml", cwd=few).count(said) == 1
    assert succeed("train", "--config", "few.yaml", cwd=few).count(said) == 1
    assert "valid: 8 examples" in succeed("evaluate", "--config", "few.yaml", "--split", "valid", cwd=few)
    chosen = ("train", "--config", "few.yaml", "data.validation=0.1", "run.dir=runs/chosen")
    for text in ("refused beside the adapted folder", "refused alone"):
        status, output = run(*chosen, cwd=few)
        assert status == 2 and "data.validation = 0.1" in output, text
        shutil.rmtree(few / "prepared")


def test_where_no_default_share_can_be_held_out_there_is_no_validation_and_it_is_said(few: Path) -> None:
    several(few, [0, 1] * 6 + [2], [0, 1, 2])
    words = ("--config", "few.yaml", "data.test_path=test.npz")
    output = succeed("train", *words, cwd=few)
    assert output.count("data.validation = 0: there is no valid split, as the default of 0.1 cannot be held out (") == 1
    last = output.splitlines()[-1]
    assert "on 13 training examples; next: python -m pipeline evaluate --run runs/few; or, as nothing was held out" in last
    assert "a cross-validation: python -m pipeline train --config runs/few/config.yaml run.dir=runs/few train.folds=5" in last
    succeed("evaluate", "--run", "runs/few", cwd=few)
    assert run("train", *words, "data.validation=0.1", "run.dir=runs/chosen", cwd=few)[0] == 2
