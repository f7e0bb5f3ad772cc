"""``runs`` as it is typed: on a terminal, in a pipe, as JSON; nothing is deleted that was not named and confirmed."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.__main__ import app
from pipeline.run.folder import writer
from pipeline.stages.terminal.endings import ended
from tests.report.listing.folders import make
from tests.support.launching import environment


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """``said(words)``: what ``runs`` prints in a folder with three runs."""
    make(tmp_path / "runs/best", "optim.lr=0.1", values=(0.9,))
    make(tmp_path / "runs/worse", "optim.lr=0.2", values=(0.8,))
    make(tmp_path / "runs/many", values=(), finished=False, test=None)
    make(tmp_path / "runs/many/seed-1", "run.seed=1")
    (tmp_path / "runs/photos").mkdir()
    monkeypatch.chdir(tmp_path)

    def call(*words: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["pipeline", "runs", *words])
        with pytest.raises(SystemExit) as caught:
            ended(partial(app, standalone_mode=False))
        out, err = capsys.readouterr()
        assert (caught.value.code or 0) == status, err
        return out if status == 0 else err

    return call


def test_the_list_has_each_run_and_says_what_is_none(said: Any) -> None:
    lines = said().splitlines()
    assert lines[0].split()[:3] == ["run", "state", "steps"]
    assert {line.split()[0] for line in lines[1:]} == {"best", "worse", "many", "runs/photos:"}
    assert "lr=0.1" in next(line for line in lines if line.startswith("best"))
    assert any(line.startswith("  many/seed-1") for line in said("--all").splitlines())
    assert said("--sort", "test", "-q").count("\n") == 5, "the list is the answer"


def test_json_has_all_runs_with_their_values(said: Any) -> None:
    found = json.loads(said("--json"))
    assert [one["folder"] for one in found["others"]] == ["runs/photos"]
    runs = {one["run"]: one for one in found["runs"]}
    assert set(runs) == {"runs/best", "runs/worse", "runs/many", "runs/many/seed-1"}
    assert runs["runs/best"]["differs"]["optim.lr"] == 0.1 and runs["runs/many/seed-1"]["within"] == "runs/many"
    assert runs["runs/best"]["best"] == 0.9 and runs["runs/best"]["keep"] is None
    assert {one["run"]: one["keep"] for one in json.loads(said("--prune", "--json"))["runs"]}["runs/worse"] is False


def test_a_folder_without_runs_is_no_error_and_one_that_is_not_there_is(said: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert said("empty").startswith("no runs in empty; train one: ")
    assert json.loads(said("empty", "--json"))["runs"] == []
    assert "no such folder" in said("none", status=2)
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert said().startswith("no runs in runs; train one: ")
    assert said("moved/best").splitlines()[1].startswith("moved/best")


def test_what_is_proposed_can_be_pasted_and_only_that_is_deleted(said: Any, tmp_path: Path) -> None:
    last = said("--prune").splitlines()[-1]
    assert (tmp_path / "runs/worse").is_dir()
    words = last.partition(" runs ")[2].split()
    assert words == ["--delete", "runs/worse", "--yes"]
    assert "nothing was deleted" in said(*words[:-1]) and (tmp_path / "runs/worse").is_dir()
    assert said(*words).startswith("deleted runs/worse")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["best", "many", "photos"]
    assert said("--prune").splitlines()[-1] == "nothing to delete"


def test_if_one_of_those_that_were_named_must_not_go_none_goes(said: Any, tmp_path: Path) -> None:
    assert "is not a run folder" in said("--delete", "runs/worse", "--delete", "runs/photos", "--yes", status=2)
    with writer(tmp_path / "runs/best"):
        assert "is running" in said("--delete", "runs/worse", "--delete", "runs/best", "--yes", status=2)
    assert len(list((tmp_path / "runs").iterdir())) == 4


def test_a_thousand_runs_are_listed_without_torch(tmp_path: Path) -> None:
    folder = make(tmp_path / "runs/t0")
    text = (folder / "config.yaml").read_text()
    for number in range(1, 1000):
        (tmp_path / f"runs/t{number}").mkdir()
        (tmp_path / f"runs/t{number}/config.yaml").write_text(text.replace("lr: 0.01", f"lr: 0.{number}"))
    program = """
import sys, time
sys.argv = ["pipeline", "runs", "--sort", "name"]
import pipeline.__main__
try:
    pipeline.__main__.main()
finally:
    heavy = ("torch", "accelerate", "sklearn", "polars", "numpy")
    print("HEAVY", [name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "HEAVY []\n")
    lines = done.stdout.splitlines()
    assert len(lines) == 1001 and lines[-1].startswith("t999 ") and lines[-1].endswith("lr=0.999")
