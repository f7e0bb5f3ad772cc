"""Runs that reports are made of: as a user makes them, trained for a few seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.support.launching import ROOT, succeed

HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "\"'><img src=x onerror=\"document.title='owned'\">",
    "עברית ثلاثة 3",
    "😀 &amp; {{ 7 * 7 }} ${8*8}",
    "long" * 2500,
)


def made(folder: Path, *arguments: str) -> Path:
    """The run folder of a configuration, trained, evaluated, exported and reported."""
    run = str(folder / "run")
    settings = (*arguments, f"run.dir={run}", f"data.prepared={folder / 'prepared'}", "track.backends=[]")
    succeed("prepare", "--config", *settings, cwd=folder)
    succeed("train", "--config", *settings, cwd=folder)
    for command in ("evaluate", "export", "report"):
        succeed(command, "--run", run, cwd=folder)
    return Path(run)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on scikit-learn's digits that knows them well."""
    return made(tmp_path_factory.mktemp("digits"), str(ROOT / "configs/digits.yaml"), "train.epochs=20")


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on series of unequal lengths with missing values, whose classes and channels have hostile names."""
    folder, random = tmp_path_factory.mktemp("series"), np.random.default_rng(0)
    rows = []
    for number in range(120):
        label, steps = number % len(HOSTILE), int(random.integers(6, 19))
        wave = np.sin(np.arange(steps) * (label + 1) / 3) + random.normal(0, 0.2, steps)
        for step in range(steps):
            gap = None if random.random() < 0.05 else float(random.normal())
            rows.append((number, step, float(wave[step]), gap, HOSTILE[label]))
    names = ["id", "time", HOSTILE[0], HOSTILE[1], "label"]
    pl.DataFrame(rows, schema=names, orient="row").write_csv(folder / "own.csv")
    text = "data: {source: csv, path: own.csv, missing: mask}\nmodel: {hidden: 12, bidirectional: true, pooling: attention}\n"
    (folder / "own.yaml").write_text(text + "train: {batch: 16, epochs: 3, log_every: 1}\n")
    return made(folder, "own.yaml")
