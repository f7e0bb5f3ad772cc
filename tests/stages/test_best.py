"""What is evaluated and exported is the best of a run: whatever was copied, moved, damaged or stopped on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.support.launching import ROOT, records, run, succeed

SMOKE = ("--config", str(ROOT / "configs/smoke.yaml"))
# A rate at which nothing moves: all evaluations tie, so the first is the best, and the best is not the newest.
STILL = ("optim.lr=1e-12", "train.epochs=5", "train.evaluate_every=14", "train.checkpoint_every=14", "train.keep_last=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a finished run ``still``, whose best checkpoint is that of step 14 and whose last is of 70."""
    folder = tmp_path_factory.mktemp("work")
    succeed("train", *SMOKE, *STILL, "run.dir=still", cwd=folder)
    kept = sorted(path.name for path in (folder / "still/checkpoints").iterdir())
    assert kept == ["best.json", "finished.json", "step_00000014", "step_00000056", "step_00000070"]
    return folder


def evaluated(folder: Path, name: str, *arguments: str) -> dict[str, object]:
    """What evaluate writes of a run."""
    succeed("evaluate", "--run", name, *arguments, cwd=folder)
    measured: dict[str, object] = json.loads((folder / name / "eval" / arguments[-1] / "metrics.json").read_text())
    return measured


def former(folder: Path, name: str) -> Path:
    """A copy of ``still`` as earlier versions wrote it: with links."""
    shutil.copytree(folder / "still", folder / name)
    checkpoints = folder / name / "checkpoints"
    for what, step in (("best", 14), ("finished", 70)):
        (checkpoints / f"{what}.json").unlink()
        (checkpoints / what).symlink_to(f"step_000000{step}")
    return checkpoints


def test_the_best_weights_are_evaluated_and_exported_the_averaged_ones_where_there_are_any(folder: Path) -> None:
    arguments = ("run.dir=averaged", "train.ema=0.9", "train.epochs=6", "optim.lr=0.05", "train.evaluate_every=7")
    succeed("train", *SMOKE, *arguments, "train.checkpoint_every=7", "train.keep_last=100", cwd=folder)
    run_folder = folder / "averaged"
    checkpoints = run_folder / "checkpoints"
    seen = {record["step"]: record for record in records(run_folder) if "valid/loss" in record}
    step = sorted(seen)[2]
    succeed("evaluate", "--run", "averaged", cwd=folder)
    assert json.loads((run_folder / "eval/metrics.json").read_text())["step"] != step
    (checkpoints / "best.json").write_text(json.dumps({"step": step}))  # which is not the newest
    measured = evaluated(folder, "averaged", "--split", "valid")
    assert measured["step"] == step
    for name in ("loss", "accuracy"):
        assert measured[name] == pytest.approx(seen[step][f"valid/{name}"], rel=1e-9)
    succeed("export", "--run", "averaged", cwd=folder)
    facts = json.loads((run_folder / "export/config.json").read_text())["facts"]
    assert facts["step"] == step and facts["test"] is None, "an evaluation of other weights says nothing of these"
    exported = load_file(run_folder / "export/model.safetensors")
    averaged, plain = (load_file(checkpoints / f"step_{step:08d}/{name}.safetensors") for name in ("ema", "model"))
    assert all(exported[name].equal(value) for name, value in averaged.items())
    assert not all(exported[name].equal(value) for name, value in plain.items())


@pytest.mark.parametrize("symlinks", [True, False], ids=["kept", "followed"])
def test_a_copy_of_an_earlier_run_evaluates_its_best_whether_links_are_kept_or_followed(folder: Path, symlinks: bool) -> None:
    name = f"copy_{symlinks}"
    former(folder, f"{name}_of")
    shutil.copytree(folder / f"{name}_of", folder / name, symlinks=symlinks)
    assert "nothing to do" in succeed("train", *SMOKE, *STILL, f"run.dir={name}", cwd=folder)
    measured = evaluated(folder, name, "--split", "valid")
    assert measured["step"] == 14


def test_a_copy_that_lost_its_marks_is_refused_until_the_same_training_has_found_the_best_again(folder: Path) -> None:
    checkpoints = former(folder, "lost")
    for what in ("best", "finished"):
        (checkpoints / what).unlink()
    for command in ("evaluate", "export"):
        status, output = run(command, "--run", "lost", cwd=folder)
        assert (status, output.count("error:"), "Traceback" in output) == (2, 1, False), output
        assert "lost/checkpoints/best.json: is missing or damaged" in output
    (command,) = {line.split("type: python -m pipeline ")[1] for line in output.splitlines() if "type: " in line}
    assert "finished at step 70" in succeed(*command.split(), cwd=folder), "what the message says"
    assert evaluated(folder, "lost", "--split", "valid")["step"] == 14
    assert json.loads((checkpoints / "finished.json").read_text()) == {"step": 70}


def test_after_a_fall_back_the_best_is_that_of_the_checkpoint_the_run_goes_on_from_and_is_kept(folder: Path) -> None:
    shutil.copytree(folder / "still", folder / "fell")
    checkpoints = folder / "fell/checkpoints"
    (checkpoints / "finished.json").unlink()
    (checkpoints / "best.json").write_text('{"step": 70}')  # as if the evaluation there had been the best
    (checkpoints / "step_00000070/model.safetensors").write_bytes(b"")
    output = succeed("train", *SMOKE, *STILL, "run.dir=fell", "train.keep_last=2", cwd=folder)
    assert "skipped" in output and "resuming after step 56" in output and "at step 14;" in output
    assert evaluated(folder, "fell", "--split", "valid")["step"] == 14


def test_where_the_best_checkpoint_is_gone_another_is_chosen_and_the_run_says_so(folder: Path) -> None:
    shutil.copytree(folder / "still", folder / "gone")
    checkpoints = folder / "gone/checkpoints"
    shutil.rmtree(checkpoints / "step_00000014")
    status, output = run("evaluate", "--run", "gone", cwd=folder)
    assert status == 2 and "manifest.json is missing; put an intact copy back, or remove gone/checkpoints/best.json" in output
    (checkpoints / "best.json").unlink()
    (command,) = {line.split(" python -m pipeline ")[1] for line in output.splitlines() if "python -m pipeline" in line}
    output = succeed(*command.split(), cwd=folder)
    assert "step_00000014: manifest.json is missing; it was the best so far, and another is chosen from step 70 on" in output
    assert evaluated(folder, "gone", "--split", "valid")["step"] == 70
