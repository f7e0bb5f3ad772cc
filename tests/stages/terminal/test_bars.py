"""Each stage shows how far it is on a terminal, and leaves its lines alone there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.launching import environment
from tests.support.terminal import Terminal

PROGRAM = """
import sys
from pipeline.data.sources import progress
progress.APPEARS, progress.TICK = 0.0, 0.001
from pipeline.__main__ import main
sys.argv[1:] = {words!r}
main()
"""
CONFIG = """
data: {source: csv, path: wards.csv, prepared: prepared}
model: {hidden: 8}
train: {epochs: 1, batch: 16}
track: {backends: []}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wards")
    random = np.random.default_rng(0)
    rows = [f"{one},{step},{value:.3f},{one % 2}" for one in range(400) for step, value in enumerate(random.normal(size=30))]
    (folder / "wards.csv").write_text("\n".join(["id,time,pulse,label", *rows]) + "\n")
    (folder / "one.yaml").write_text(CONFIG)
    return folder


def typed(folder: Path, *words: str) -> tuple[str, list[str]]:
    """What was written to the terminal, and what is seen at the end."""
    with Terminal([sys.executable, "-c", PROGRAM.format(words=list(words))], folder, environment(TERM="xterm"), 120) as shown:
        assert shown.ended() == 0, shown.raw
        return shown.raw, shown.screen()


def test_each_stage_shows_how_far_it_is_and_nothing_of_it_stays(folder: Path) -> None:
    stages = {
        ("prepare", "one.yaml"): ("reading wards.csv: ", "measuring the train split", "writing the train split"),
        ("train", "one.yaml"): ("epoch ",),
        ("evaluate", "runs/one"): ("evaluating",),
        ("export", "runs/one"): ("writing model.onnx", "writing model.pt2: 00:0", "comparing"),
        ("predict", "runs/one/export", "wards.csv", "--output", "out.csv"): ("predicting wards.csv: ",),
        ("tune", "one.yaml", "--budget", "4"): (r"tuning: \d+%",),
    }
    for words, bars in stages.items():
        raw, screen = typed(folder, *words)
        for bar in bars:
            assert re.search(bar, raw), (words, bar, raw)
        shape = r"\|| left$|^(reading|writing|measuring|evaluating|comparing|predicting|tuning)"
        left = [line for line in screen if re.search(shape, line)]
        assert left == [] or words[0] == "train", (words, left)
        assert not [line for line in screen if "Traceback" in line]


def test_the_numbers_of_a_bar_are_those_of_the_work(folder: Path) -> None:
    size = (folder / "wards.csv").stat().st_size
    raw, _ = typed(folder, "prepare", "one.yaml", "data.prepared=again", "data.test=0.25")
    shown = [int(number) for number in re.findall(r"writing the train split: \d+%\|.*?\| (\d+)/", raw)]
    assert shown == sorted(shown)
    read = set(re.findall(r"reading wards.csv: \d+%\|.*?\| [\d.]+\w?/([\d.]+)kB", raw))
    assert read == {f"{size / 1000:.0f}"}, raw
