"""Every command and every program of docs/guide.md works, in its order, and says what is shown there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.support.launching import ROOT, environment, succeed

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs/guide.md").read_text(), re.MULTILINE | re.DOTALL)
WITHOUT = "import sys; sys.modules['torch'] = sys.modules['pipeline'] = None; "
COMMAND = ".venv/bin/python -m pipeline "
MAKE = [line for kind, block in BLOCKS if kind == "bash" for line in block.splitlines() if line.startswith("make ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all of it was done; ``NUMBER.said`` is what the block of this number printed."""
    folder = tmp_path_factory.mktemp("guide")
    for number, (kind, block) in enumerate(BLOCKS):
        said = ""
        if kind == "yaml":
            (folder / "machines.yaml").write_text(block)
        elif kind == "python":
            (folder / "program.py").write_text(block)
            program = f"{WITHOUT}exec(compile(open('program.py').read(), 'program.py', 'exec'))"
            arguments = [sys.executable, "-W", "ignore::ResourceWarning", "-c", program]
            clean = {key: value for key, value in environment().items() if key != "PYTHONPATH"}
            done = subprocess.run(arguments, cwd=folder, env=clean, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            said = done.stdout
        elif kind == "bash":
            for line in block.splitlines():
                assert line.startswith((COMMAND, "make ")), line
                if line.startswith(COMMAND):
                    said += succeed(*shlex.split(line.removeprefix(COMMAND)), cwd=folder)
        (folder / f"{number}.said").write_text(said)
    return folder


@pytest.mark.parametrize("line", MAKE)
def test_make_takes_the_command(line: str) -> None:
    ready = ["-n", "-o", ".venv/installed", "-o", "setup"]
    done = subprocess.run(["make", *ready, *shlex.split(line)[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "-m pipeline" in done.stdout + done.stderr, done.stderr


def test_the_files_and_the_splits_are_those_shown(folder: Path) -> None:
    shown = [block for kind, block in BLOCKS if kind == "text"]
    assert (folder / "readings.csv").read_text().startswith(shown[0])
    (said,) = (
        (folder / f"{number}.said").read_text()
        for number, (_, block) in enumerate(BLOCKS)
        if block == f"{COMMAND}prepare --config machines.yaml\n"
    )
    assert shown[1] in said


def test_the_model_learns_and_the_shown_lines_have_the_form_of_the_real_ones(folder: Path) -> None:
    (shown,) = (block for kind, block in BLOCKS if kind == "text" and "1 process on cpu" in block)
    number = next(number for number, (_, block) in enumerate(BLOCKS) if f"{COMMAND}train" in block)
    said = (folder / f"{number}.said").read_text()
    assert float(re.search(r"test: 30 examples, accuracy (\S+),", said)[1]) > 0.7  # type: ignore[index]
    forms, wanted = (
        {re.sub(r"[\d.e+-]+| by (our own kernel|torch.*)$", "0", line.replace(".venv/bin/", "")) for line in text.splitlines()}
        for text in (said, shown)
    )
    assert not wanted - {"0"} - forms


def test_predictions_are_the_same_from_every_format_and_in_the_program_without_torch(folder: Path) -> None:
    (shown,) = (block for kind, block in BLOCKS if kind == "text" and block.startswith("id,prediction"))
    predicted = pl.read_csv(folder / "predictions.csv")
    assert ",".join(predicted.columns) == shown.splitlines()[0] and len(predicted) == 20
    number = next(number for number, (_, block) in enumerate(BLOCKS) if "import onnxruntime" in block)
    assert (folder / f"{number}.said").read_text().strip() == predicted["prediction"][0]
    expected = pl.read_json(folder / "predictions.json")
    assert len(expected) == 150
    for name in ("parquet.csv", "wide_out.csv", "ts.csv"):
        found = pl.read_csv(folder / name)
        assert found["prediction"].equals(expected["prediction"])
        assert (found["probability"] - expected["probability"]).abs().max() <= 1.1e-6  # type: ignore[operator]
