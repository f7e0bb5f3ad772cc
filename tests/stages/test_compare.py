"""``compare`` as it is typed: a short table, a page, a JSON document; and real runs, trained here."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.__main__ import app
from pipeline.stages.terminal.answers import Compared
from pipeline.stages.terminal.endings import ended
from tests.report.compare.runs import evaluated, hits
from tests.support.launching import ROOT, succeed


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """``said(words)``: what a command prints in a folder with runs that were evaluated."""
    evaluated(tmp_path / "runs/good", hits(200, range(10)))
    evaluated(tmp_path / "runs/bad", hits(200, range(90)), "model.cell=rnn")
    monkeypatch.chdir(tmp_path)

    def call(*words: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["pipeline", *words])
        with pytest.raises(SystemExit) as caught:
            ended(partial(app, standalone_mode=False))
        out, err = capsys.readouterr()
        assert (caught.value.code or 0) == status, err
        return out if status == 0 else err

    return call


def test_the_table_the_differences_and_the_verdict_are_printed_and_the_page_is_written(said: Any, tmp_path: Path) -> None:
    lines = said("compare", "runs/good", "runs/bad").splitlines()
    assert lines[0].split() == ["run", "seeds", "test", "accuracy", "test", "macro", "F1", "test", "loss"]
    assert lines[1].split() == ["good", "1", "0.9500*", "0.9500*", "0.0500*"]
    assert "model.cell: lstm, rnn" in lines and "good against bad: good is better, with the seed of each" in lines
    assert lines[-1] == f"written: {tmp_path}/runs/compare.html"
    assert said("compare", "runs/good", "runs/bad", "-q", "--output", "own.html") == (
        "good against bad: good is better, with the seed of each\n"
    )
    assert (tmp_path / "own.html").read_text().startswith("<!doctype html>")


def test_json_is_the_document(said: Any) -> None:
    found = json.loads(said("compare", "runs/good", "runs/bad", "--json"))
    assert list(found) == list(Compared.model_fields)
    assert found["pairs"][0]["better"] == "good" and found["pairs"][0]["p"] < 1e-4
    assert found["differences"] == {"model.cell": ["lstm", "rnn"]} and found["examples"] == 200


def test_wrong_input_is_one_message(said: Any) -> None:
    assert "two runs or more" in said("compare", "runs/good", status=2)
    assert "must end in .html" in said("compare", "runs/good", "runs/bad", "--output", "own.png", status=2)
    assert "no such run folder" in said("compare", "runs/good", "runs/none", status=2)


def test_real_runs_of_two_recipes_and_three_seeds(tmp_path: Path) -> None:
    smoke = ("--config", str(ROOT / "configs/smoke.yaml"), "track.backends=[]")
    for name, more in (("good", ("train.epochs=4",)), ("bad", ("train.epochs=4", "optim.lr=0.0005"))):
        succeed("seeds", "--count", "3", *smoke, *more, f"run.dir=runs/{name}", cwd=tmp_path)
    lines = succeed("compare", "runs/good", "runs/bad", cwd=tmp_path).splitlines()
    assert "good against bad: good is better" in lines and any("Welch's t-test" in line for line in lines)
    assert "optim.lr: 0.01, 0.0005" in lines
    alike = succeed("compare", "runs/good/seed-1", "runs/good/seed-2", "runs/good/seed-3", cwd=tmp_path)
    assert alike.count("no evidence of a difference") == 3
    assert "None but the seed" in (tmp_path / "runs/good/compare.html").read_text()
