"""Which folder a run lies in: one a configuration, found again by it, and never shared by two that start at once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline import fit
from tests.support.launching import Job, environment, run, succeed

TRAIN = ("train", "--config", "own.yaml")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A working folder with 60 series and a configuration that names no run folder."""
    random = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", values=random.normal(size=(60, 5, 2)).astype("f4"), labels=np.arange(60) % 2)
    (tmp_path / "own.yaml").write_text(
        "data: {source: npz, path: own.npz}\nmodel: {hidden: 4}\ntrack: {backends: []}\n"
        "train: {epochs: 1, batch: 16}\nexport: {formats: [safetensors]}\n"
    )
    return tmp_path


def runs(folder: Path) -> list[str]:
    return sorted(str(path.parent.relative_to(folder / "runs")) for path in (folder / "runs").rglob("config.yaml"))


def test_a_changed_configuration_gets_the_next_free_folder_and_says_so_in_one_line(own: Path) -> None:
    succeed(*TRAIN, cwd=own)
    output = succeed(*TRAIN, "optim.lr=0.02", cwd=own)
    said = "runs/own: belongs to another run (optim.lr: 0.01 -> 0.02); this one is runs/own-2"
    assert output.count(said) == 1 and output.rstrip().endswith("evaluate --run runs/own-2")
    assert succeed(*TRAIN, "optim.lr=0.03", cwd=own).count("this one is runs/own-3") == 1
    assert runs(own) == ["own", "own-2", "own-3"]
    assert yaml.safe_load((own / "runs/own-2/config.yaml").read_text())["run"]["dir"] == "runs/own-2"


def test_the_same_configuration_is_the_same_run_wherever_it_lies(own: Path) -> None:
    succeed(*TRAIN, cwd=own)
    succeed(*TRAIN, "optim.lr=0.02", cwd=own)
    output = succeed(*TRAIN, "lr=2e-2", "run.timeout=300", "train.keep_last=5", cwd=own)
    assert "runs/own-2: finished at step 3, nothing to do" in output
    assert "runs/own: finished at step 3, nothing to do" in succeed(*TRAIN, cwd=own)
    assert runs(own) == ["own", "own-2"]


def test_a_killed_run_is_gone_on_with_in_its_own_folder(own: Path) -> None:
    succeed(*TRAIN, cwd=own)
    often = (*TRAIN, "train.epochs=4", "train.checkpoint_every=1")
    assert run(*often, cwd=own, INJECTED_FAULT="kill@0:5")[0] == -9
    output = succeed(*often, cwd=own)
    assert "runs/own-2: resuming after step" in output and runs(own) == ["own", "own-2"]


def test_other_data_under_the_same_name_is_another_run(own: Path) -> None:
    succeed(*TRAIN, cwd=own)
    random = np.random.default_rng(1)
    np.savez(own / "other.npz", values=random.normal(size=(60, 5, 2)).astype("f4"), labels=np.arange(60) % 2)
    output = succeed(*TRAIN, "data.path=other.npz", cwd=own)
    assert "runs/own: belongs to another run (the data is other than it was); this one is runs/own-2" in output


@pytest.mark.parametrize("where", ["override", "file"])
def test_a_run_folder_given_by_hand_is_refused_for_another_configuration(own: Path, where: str) -> None:
    if where == "file":
        (own / "own.yaml").write_text((own / "own.yaml").read_text() + "run: {dir: runs/own}\n")
    named = () if where == "file" else ("run.dir=runs/own",)
    succeed(*TRAIN, *named, cwd=own)
    status, output = run(*TRAIN, *named, "optim.lr=0.02", cwd=own)
    assert status == 2 and "begun with another configuration:\n  optim.lr: 0.01 -> 0.02" in output
    assert runs(own) == ["own"]


@pytest.mark.parametrize("processes", [1, 2])
def test_two_configurations_that_start_at_once_share_no_folder(own: Path, processes: int) -> None:
    rates = ("0.02", "0.03", "0.04")
    jobs = [Job(*TRAIN, f"optim.lr={rate}", cwd=own, processes=processes - 1 and processes) for rate in rates]
    for job in jobs:
        statuses, output = job.wait()
        assert not any(statuses), output
    found = [yaml.safe_load((own / "runs" / name / "config.yaml").read_text())["optim"]["lr"] for name in runs(own)]
    assert runs(own) == ["own", "own-2", "own-3"] and sorted(found) == [0.02, 0.03, 0.04]


def test_evaluate_export_and_summary_find_the_run_of_a_configuration(own: Path) -> None:
    succeed(*TRAIN, cwd=own)
    succeed(*TRAIN, "optim.lr=0.02", cwd=own)
    other = ("--config", "own.yaml", "optim.lr=0.02")
    assert "export --run runs/own-2" in succeed("evaluate", *other, cwd=own)
    assert "runs/own-2/export" in succeed("export", *other, cwd=own)
    assert "runs/own-2" in succeed("summary", *other, cwd=own)
    assert not (own / "runs/own/eval").exists()
    status, output = run("evaluate", "own.yaml", "optim.lr=0.5", cwd=own)
    assert status == 2 and output.rstrip().endswith("type: python -m pipeline train --config own.yaml optim.lr=0.5")


def test_one_run_is_named_and_not_two(own: Path) -> None:
    status, output = run("evaluate", "--config", "own.yaml", "--run", "runs/own", cwd=own)
    assert status == 2 and "--run RUN, or --config FILE" in output


def test_a_batch_that_was_made_to_fit_does_not_hide_the_run(own: Path) -> None:
    (own / "own.yaml").write_text((own / "own.yaml").read_text().replace(", batch: 16", ""))
    assert "train.batch = 8" in succeed(*TRAIN, cwd=own)
    assert "nothing to do" in succeed(*TRAIN, cwd=own, processes=2)
    succeed("evaluate", "--config", "own.yaml", cwd=own)
    assert (own / "runs/own/eval/metrics.json").exists() and runs(own) == ["own"]


def test_from_python_the_folder_is_that_of_the_configuration_too(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    first = fit("own.yaml")
    second = fit("own.yaml", "optim.lr=0.02")
    assert (first.folder, second.folder) == (Path("runs/own"), Path("runs/own-2"))
    assert second.metrics and second.evaluate()["count"] == 12 and not (first.folder / "eval").exists()


def test_each_trial_of_a_sweep_has_its_folder_and_goes_on_there(own: Path) -> None:
    succeed(*TRAIN, cwd=own)
    often = (*TRAIN, "train.epochs=4", "train.checkpoint_every=1", "optim.lr=0.02")
    one = {"WANDB_SWEEP_ID": "s1", "WANDB_RUN_ID": "abc"}
    assert run(*often, cwd=own, INJECTED_FAULT="kill@0:5", **one)[0] == -9
    succeed(*often, cwd=own, WANDB_SWEEP_ID="s1", WANDB_RUN_ID="abd")
    assert "runs/own-sweep-s1/abc: resuming after step" in succeed(*often, cwd=own, **one)
    assert runs(own) == ["own", "own-sweep-s1/abc", "own-sweep-s1/abd"]
    succeed("evaluate", *often[1:], cwd=own, **one)
    assert (own / "runs/own-sweep-s1/abc/eval/metrics.json").exists()


@pytest.mark.parametrize("words", [(), ("RUN=runs/mine",), ("ARGS=optim.lr=0.02",), ("ARGS=run.dir=runs/mine",)])
def test_make_names_the_same_run_in_every_target(words: tuple[str, ...]) -> None:
    lines = []
    for target in ("train", "eval", "export", "summary"):
        command = ["make", "-n", "-o", "setup", "CONFIG=configs/smoke.yaml", *words, target]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
        lines.append(done.stdout.strip())
    if words[:1] == ("RUN=runs/mine",):
        assert "run.dir=runs/mine" in lines[0] and all("--run runs/mine" in line for line in lines[1:])
    else:
        more = words[0].removeprefix("ARGS=") if words else ""
        assert all(f"--config configs/smoke.yaml  {more}".strip() in line for line in lines), lines
        assert all("run.dir" not in line.replace(more or "-", "") for line in lines)
