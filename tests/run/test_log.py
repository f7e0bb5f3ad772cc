"""What log.py promises: a bar on a terminal, lines elsewhere, and nothing from the other processes."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from pathlib import Path

import pytest

from pipeline.run.log import Progress
from pipeline.training.selection import Selection
from tests.support.launching import run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time; a test sets it."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_elsewhere_than_on_a_terminal_each_step_is_a_line(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with Progress(steps=100, done=0, main=True) as progress:
        clock[0] += 30
        progress.update(25, loss=0.51234, accuracy=0.875, rate=12345.6)
        progress.say("step 25  valid accuracy 90.00%")
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "step 25/100  loss 0.5123  accuracy 87.50%  12,346 samples/s  01:30 left",
        "step 25  valid accuracy 90.00%",
    ]
    assert err == "" and "\r" not in out and "\x1b" not in out


def test_the_time_left_of_a_resumed_run_counts_only_its_own_steps(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    progress = Progress(steps=1000, done=900, main=True)
    clock[0] += 10
    progress.update(910, 1.0, 0.5, 10.0)
    progress.update(1000, 1.0, 0.5, 10.0)
    first, last = capsys.readouterr().out.splitlines()
    assert first.endswith("01:30 left") and last.endswith("00:00 left")


def test_a_first_report_at_the_step_it_began_with_divides_by_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(steps=10, done=5, main=True).update(5, float("nan"), 0.0, 0.0)
    assert capsys.readouterr().out.startswith("step 5/10  loss nan")


def test_a_line_is_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []

    class Pipe(io.StringIO):
        def flush(self) -> None:
            flushed.append(self.getvalue())

    monkeypatch.setattr(sys, "stdout", Pipe())
    Progress(steps=10, done=0, main=True).say("hello")
    assert flushed[-1] == "hello\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_other_processes_are_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    if terminal:
        monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress(steps=10, done=0, main=False) as progress:
        progress.update(5, 1.0, 0.5, 10.0)
        progress.say("hello")
    if terminal:
        assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_is_a_bar_with_the_same_numbers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress(steps=40, done=10, main=True) as progress:
        time.sleep(0.15)  # tqdm draws ten times a second
        progress.update(40, loss=0.25, accuracy=0.5, rate=1000.0)
        progress.say("a line of its own")
    shown = screen.getvalue()
    assert "40/40" in shown and "loss 0.2500, accuracy 50.00%, 1,000 samples/s" in shown
    assert capsys.readouterr().out == "a line of its own\n", "lines go to stdout, where they can be kept"


def test_a_terminal_that_cannot_go_back_in_a_line_gets_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "dumb")
    with Progress(steps=40, done=0, main=True) as progress:
        progress.update(40, loss=0.25, accuracy=0.5, rate=1000.0)
    assert screen.getvalue() == "" and capsys.readouterr().out.startswith("step 40/40  loss 0.2500")


def test_the_bar_has_the_epoch_and_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "200")
    chosen = Selection().after(0.75, 0.5, 10, "valid/accuracy").after(0.7, 0.6, 20, "valid/accuracy")
    with Progress(steps=40, done=0, main=True, per_epoch=16, best=chosen.shown("valid/accuracy")) as progress:
        time.sleep(0.15)
        progress.update(40, loss=0.25, accuracy=0.5, rate=1000.0)
    assert "epoch 2.50" in screen.getvalue()
    assert "accuracy 50.00%, best accuracy 0.7500 at step 10, 1,000 samples/s" in screen.getvalue()


def test_the_accuracy_of_a_line_is_of_all_examples_since_the_line_before(tmp_path: Path) -> None:
    words = ("train", "--config", "one.yaml", "train.log_every=1")
    (tmp_path / "one.yaml").write_text("data: {prepared: p}\ntrain: {epochs: 1, batch: 100}\ntrack: {backends: []}\n")
    each = shares(run(*words, "run.dir=each", cwd=tmp_path)[1])
    every = shares(run(*words[:3], "train.log_every=4", "run.dir=fourth", cwd=tmp_path)[1])
    record, single = (records(tmp_path / name / "metrics.jsonl") for name in ("fourth", "each"))
    begun, last = 0, max(each)
    counts = {step: 100 if step < last else TRAINED - 100 * (last - 1) for step in each}
    for step, share in every.items():
        of = range(begun + 1, step + 1)
        mean = sum(single[one]["train/accuracy"] * counts[one] for one in of) / sum(counts[one] for one in of)
        assert share == pytest.approx(mean, abs=1e-4), "not that of the last batch alone"
        assert record[step]["train/accuracy"] == single[step]["train/accuracy"], "the record has that of the step"
        begun = step
    assert len(every) > 2


TRAINED = 1221  # digits in the training split


def records(path: Path) -> dict[int, dict[str, float]]:
    """The records of training steps."""
    found = map(json.loads, path.read_text().splitlines())
    return {line["step"]: line for line in found if "train/accuracy" in line}


def shares(said: str) -> dict[int, float]:
    """The accuracy of each line of a training, by step."""
    found = re.findall(r"^step (\d+)/\d+ .* accuracy ([\d.]+)%", said, re.MULTILINE)
    return {int(step): float(share) / 100 for step, share in found}
