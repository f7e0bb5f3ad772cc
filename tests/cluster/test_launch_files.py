"""The files of launch/ that no test can run here are what their readers accept: a shell, Docker, Kubeflow, SkyPilot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.launching import ROOT

LAUNCH = ROOT / "launch"
SCRIPTS = ("launch/slurm.sbatch", "launch/torchrun_elastic.sh", ".ci/run")
CLOUD = sorted((LAUNCH / "cloud").glob("*.yaml"))


def tool(name: str, *arguments: str) -> tuple[int, str]:
    """A program of the environment that runs the tests: its exit status, and what it said."""
    done = subprocess.run(
        [Path(sys.executable).parent / name, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def shown(name: str) -> Any:
    return yaml.safe_load((LAUNCH / "cloud" / name).read_text())


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing_in_a_script(script: str) -> None:
    assert tool("shellcheck", "--shell=bash", script) == (0, "")
    assert os.access(ROOT / script, os.X_OK) or script.endswith(".sbatch"), "sbatch reads it, all others are run"


def test_hadolint_finds_nothing_in_the_dockerfile(tmp_path: Path) -> None:
    assert tool("hadolint", "launch/Dockerfile") == (0, "")
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN apt-get install g++\n")
    assert tool("hadolint", str(bad))[0] == 1


def test_the_dockerfile_copies_what_there_is() -> None:
    lines = (LAUNCH / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY")]
    assert len(copied) >= 3 and all((ROOT / path).exists() for path in copied)


def test_the_trainjob_comes_back_from_kubeflows_own_model_as_it_went_in() -> None:
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

    def there_and_back(job: Any) -> Any:
        model = TrainerV1alpha1TrainJob.from_dict(job)
        assert model
        return model.to_dict()

    job = shown("trainjob.yaml")
    assert there_and_back(job) == job
    job["spec"]["trainer"]["numNode"] = 2
    assert there_and_back(job) != job, "a key that the model does not know falls away"


def test_the_trainjob_mounts_the_folder_that_it_names() -> None:
    spec = shown("trainjob.yaml")["spec"]
    pod = spec["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
    pod = pod["template"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= 60, "a run has to save"
    mounted = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert [word for word in spec["trainer"]["args"] if "=/" in word]
    assert all(any(f"={path}/" in word for path in mounted) for word in spec["trainer"]["args"] if "=/" in word)


def test_skypilots_schema_accepts_the_task_and_no_slip_in_it() -> None:
    from jsonschema import Draft202012Validator

    known = json.loads((ROOT / "tests/cluster/skypilot.json").read_text())
    task, resources = Draft202012Validator(known["task"]), Draft202012Validator(known["resources"])
    said = shown("skypilot.yaml")
    assert not list(task.iter_errors(said)) and not list(resources.iter_errors(said["resources"]))
    assert list(task.iter_errors({**said, "num_node": 2}))
    assert list(resources.iter_errors({**said["resources"], "use_spots": True}))


@pytest.mark.parametrize("name", ["setup", "run"])
def test_shellcheck_finds_nothing_in_the_commands_of_the_skypilot_task(name: str, tmp_path: Path) -> None:
    script = tmp_path / name
    script.write_text(f"#!/bin/bash\n{shown('skypilot.yaml')[name]}")
    assert tool("shellcheck", str(script)) == (0, "")


@pytest.mark.parametrize(
    "file", [*(ROOT / script for script in SCRIPTS[:2]), LAUNCH / "Dockerfile", *CLOUD], ids=lambda path: path.name
)
def test_a_file_begins_by_saying_what_is_typed(file: Path) -> None:
    head = [line for line in file.read_text().splitlines() if not line.startswith("#!")][:3]
    assert head[0].startswith("# ")
    assert any(str(file.relative_to(ROOT)) in line for line in head)


@pytest.mark.parametrize("arguments", [(), ("2", "host:1", "--config"), ("1:2", "host", "--config")])
def test_the_elastic_launch_says_how_it_is_used(arguments: tuple[str, ...]) -> None:
    done = subprocess.run([LAUNCH / "torchrun_elastic.sh", *arguments], capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and done.stderr.startswith("usage: ") and "MIN:MAX HEAD:PORT" in done.stderr
