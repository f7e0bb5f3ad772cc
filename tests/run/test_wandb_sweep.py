"""A sweep by wandb's own agent, each of whose trials is several processes of ``accelerate launch``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.launching import ROOT, TIMEOUT, environment, records, succeed
from tests.support.wandb_server import WandbServer

OWN = "model: {hidden: 4}\ntrain: {epochs: 2, batch: 96, log_every: 5}\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A working folder with prepared data, and the shipped sweep file with a small grid in it."""
    (tmp_path / "own.yaml").write_text(OWN)
    succeed("prepare", "--config", "own.yaml", cwd=tmp_path)
    said = yaml.safe_load((ROOT / "configs/sweep.yaml").read_text())
    places = {"configs/digits.yaml": "own.yaml", "launch/cpu.yaml": str(ROOT / "launch/cpu.yaml")}
    said["command"] = [places.get(word, word) for word in said["command"]]
    said |= {
        "method": "grid",
        "parameters": {"optim.lr": {"values": [0.01, 0.05]}, "model.bidirectional": {"values": [True, False]}},
    }
    del said["run_cap"]
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(said))
    return tmp_path


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as started:
        yield started


def variables(server: WandbServer, folder: Path) -> dict[str, str]:
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # as in an environment that is activated
    return environment(HOME=str(folder), PATH=paths, **server.environment())


def wandb(server: WandbServer, folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start wandb's command line."""
    return subprocess.Popen(
        [sys.executable, "-m", "wandb", *words],
        cwd=folder,
        env=variables(server, folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output(job: subprocess.Popen[str]) -> str:
    said, _ = job.communicate(timeout=3 * TIMEOUT)
    assert job.returncode == 0, said
    return said


@pytest.mark.slow
def test_two_agents_share_a_sweep_of_four_trials_over_two_processes_each(own: Path, server: WandbServer) -> None:
    """Each trial has its folder, its values on all processes, and its run on the server, once."""
    output(wandb(server, own, "sweep", "--project", "p", "sweep.yaml"))
    agents = [wandb(server, own, "agent", "--entity", "me", "--project", "p", "sweep0") for _ in range(2)]
    said = [output(agent) for agent in agents]
    given = server.sweeps["sweep0"].given
    names = [f"sweep0-run{number}" for number in range(4)]
    assert len({agent for agent, _ in given}) == 2 and [run for _, run in given] == names
    folders = sorted((own / "runs/own-sweep-sweep0").iterdir())
    assert [folder.name for folder in folders] == names, said
    for folder, trial in zip(folders, server.sweeps["sweep0"].trials, strict=True):
        begun: dict[str, Any] = json.loads((folder / "environment.json").read_text())
        assert begun["processes"] == 2 and begun["earlier"] == [] and begun["launch"]["WORLD_SIZE"] == "2"
        trained = yaml.safe_load((folder / "config.yaml").read_text())
        assert trained["optim"]["lr"] == trial["optim.lr"] and trained["model"]["bidirectional"] is trial["model.bidirectional"]
        run = server.runs[folder.name]
        assert run.complete and run.exit_code == 0
        evaluated = {one["step"]: one["valid/accuracy"] for one in records(folder) if "valid/accuracy" in one}
        rows = [(row["step"], row["valid/accuracy"]) for row in run.history if "valid/accuracy" in row]
        assert rows == list(evaluated.items()) and len(rows) == 2, "each evaluation, once"
    assert sorted(server.runs) == [folder.name for folder in folders] and server.unknown == []


def test_a_sweep_that_the_agent_makes_is_made_here_without_a_server_too(own: Path) -> None:
    """The same file, and the same numbers of the same trial: the number of processes changes the speed alone."""
    succeed("sweep", "--config", "own.yaml", "--sweep", "sweep.yaml", "track.backends=[]", "--trials", "1", cwd=own)
    trained = yaml.safe_load((own / "runs/own-sweep/trials/0/config.yaml").read_text())
    assert trained["optim"]["lr"] == 0.01 and trained["model"]["bidirectional"] is True
