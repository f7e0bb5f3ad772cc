"""What a run folder says of itself is seen, whatever state it is in; what cannot be read is left out and never raised."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.distributed import lock
from pipeline.report.listing import facts, found
from pipeline.report.listing.facts import Run
from pipeline.run.folder import LOCK, writer
from tests.report.listing.folders import make


def seen(root: Path) -> dict[str, Run]:
    """The runs in a folder, by their names."""
    there = [one for one in found.within(root) if not one.problem]
    return {str(run.folder.relative_to(root)): run for run in facts.all_of(there)}


def test_a_finished_run_says_what_it_gave_and_took(tmp_path: Path) -> None:
    make(tmp_path / "a")
    run = seen(tmp_path)["a"]
    assert (run.state, run.why, run.step, run.steps) == ("done", "", 30, 30)
    assert (run.record.value, run.record.best, run.accuracy) == (0.75, 20, 0.7)
    assert run.record.seconds == 60 and run.size >= 4096 and run.monitor == "valid/accuracy"


def test_the_best_loss_is_the_least(tmp_path: Path) -> None:
    make(tmp_path / "a", "train.monitor=valid/loss")
    assert seen(tmp_path)["a"].record.value == 1.0


def test_of_equal_scores_the_one_with_the_lowest_loss_is_the_best(tmp_path: Path) -> None:
    record = make(tmp_path / "a", values=(0.5, 0.75, 0.75)) / "metrics.jsonl"
    before, _, last = record.read_text().rpartition('"valid/loss": 1.0')
    record.write_text(f'{before}"valid/loss": 0.5{last}')
    best = seen(tmp_path)["a"].record
    assert (best.value, best.best) == (0.75, 30)


def test_time_between_attempts_is_not_time_of_training(tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    attempts = {"started": "2023-11-14T22:13:55Z", "earlier": [{"started": "2023-11-14T22:13:20Z"}]}  # 35 s later
    (folder / "environment.json").write_text(json.dumps(attempts))
    assert seen(tmp_path)["a"].record.seconds == 20 + 25


def test_each_state_is_told_by_the_files(tmp_path: Path) -> None:
    make(tmp_path / "done")
    make(tmp_path / "stopped", finished=False)
    make(tmp_path / "not finite", finished=False, loss=None)
    make(tmp_path / "new", values=(), finished=False, test=None)
    make(tmp_path / "hung", finished=False)
    (tmp_path / "hung/stacks").mkdir()
    (tmp_path / "hung/stacks/0.txt").write_text("Thread ...")
    os.utime(tmp_path / "hung/metrics.jsonl", (1, 1))
    make(tmp_path / "damaged")
    (tmp_path / "damaged/config.yaml").write_text("model: [")
    found = {name: run.state for name, run in seen(tmp_path).items()}
    assert found.pop("not finite") == found.pop("hung") == "failed"
    assert found == {name: name for name in found} and len(found) == 4


def test_a_run_is_running_while_its_process_lives_and_has_failed_when_that_was_killed(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", finished=False)
    program = f"""
import time
from pathlib import Path
from pipeline.run.folder import writer
with writer(Path({str(folder)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    running = seen(tmp_path)["a"]
    assert running.state == "running" and f"process {process.pid} of host {socket.gethostname()}" in running.why
    process.kill()
    process.wait()
    failed = seen(tmp_path)["a"]
    assert failed.state == "failed" and failed.why.endswith("died")
    with writer(folder):
        pass
    assert seen(tmp_path)["a"].state == "stopped", "the next attempt ended in order"


def test_a_process_of_another_host_counts_as_alive(tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    (folder / LOCK).write_text(lock.Holder(host="far away", boot="x", process=5, began=7).model_dump_json())
    assert seen(tmp_path)["a"].state == "running"


@pytest.mark.parametrize("name", ["metrics.jsonl", "environment.json", "eval/metrics.json", "config.yaml", "checkpoints"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b"[1, 2]",
        b'{"step": "x", "epoch": {}, "time": 1e999}\n' * 3,
        b'{"step": 1e999, "valid/accuracy": [1e999]}\n',
        b'{"step": ' + b"9" * 999 + b', "epoch": 1e-300, "valid/accuracy": 1e999, "train/loss": NaN}\n',
        b'{"step": 5, "epoch": 1e-300, "train/loss": 1}\n',
        b"[" * 100_000 + b"\n",
        b'{"step": 3, "valid/accuracy": []',
        None,
    ],
)
def test_damage_is_never_raised(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = make(tmp_path / "a")
    path = folder / name
    if path.is_dir():
        path.rename(tmp_path / ".former")
    else:
        path.unlink()
    if content is None:
        path.symlink_to(path)
    else:
        path.write_bytes(content)
    runs = [facts.read(one) for one in found.within(tmp_path)]
    assert len(runs) == 1
    if name != "config.yaml":
        assert runs[0].state in ("done", "stopped", "new") and runs[0].settings is not None
    elif content is None:
        assert runs[0].state == "damaged" and "missing" in runs[0].why
    elif content:
        assert runs[0].state == "damaged" and "config.yaml" in runs[0].why


def test_a_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "epoch": 4.0, "time": 9, "valid/accuracy": 0.99')
    run = seen(tmp_path)["a"]
    assert run.record.value == 0.75 and run.step == 30


def test_seeds_and_folds_belong_to_the_run_that_holds_them(tmp_path: Path) -> None:
    make(tmp_path / "a", values=(), finished=False, test=None)
    for number in (1, 2, 10):
        make(tmp_path / f"a/seed-{number}", f"run.seed={number}")
    spread = {"mean": 0.8, "std": 0.1, "min": 0.7, "max": 0.9, "low": None, "high": None}
    (tmp_path / "a/seeds.json").write_text(json.dumps({"seeds": 3, "split": "test", "accuracy": spread, "each": []}))
    make(tmp_path / "b-sweep-x/t1")
    runs = seen(tmp_path)
    assert list(runs) == ["a", "a/seed-1", "a/seed-2", "a/seed-10", "b-sweep-x/t1"]
    assert {str(run.above and run.above.name) for run in list(runs.values())[1:4]} == {"a"}
    assert (runs["a"].state, runs["a"].parts, runs["a"].accuracy) == ("done", 3, 0.8)
    assert runs["b-sweep-x/t1"].above is None
    (tmp_path / "a/seed-2/checkpoints/finished.json").unlink()
    assert seen(tmp_path)["a"].state == "stopped"


def test_what_is_no_run_is_said_and_nothing_of_other_programs_is_taken_for_one(tmp_path: Path) -> None:
    make(tmp_path / "a")
    (tmp_path / "a/wandb/run-1/files").mkdir(parents=True)
    (tmp_path / "a/wandb/run-1/files/config.yaml").write_text("wandb_version: 1")
    (tmp_path / "photos/2020").mkdir(parents=True)
    make(tmp_path / "lost")
    (tmp_path / "lost/config.yaml").unlink()
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").touch()
    there = {(one.folder.name, one.problem) for one in found.within(tmp_path) if one.folder.parent == tmp_path}
    assert there == {("a", ""), ("photos", "no run"), ("lost", "its config.yaml is missing")}


def test_links_are_not_counted_and_not_followed_by_the_size(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 2**20)
    folder = make(tmp_path / "runs/a")
    before = facts.usage(folder)[0]
    (folder / "link").symlink_to(tmp_path / "large")
    (folder / "around").symlink_to(tmp_path)
    assert facts.usage(folder)[0] - before < 2**14


def test_trials_of_a_sweep_and_runs_of_earlier_versions_are_listed(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        make(tmp_path / f"x-sweep/trials/{number}")
    (tmp_path / "x-sweep/study.db").touch()
    (tmp_path / "x-sweep/sweep.json").touch()
    for name in ("locks", "logs"):
        (tmp_path / "x-sweep" / name).mkdir()
    assert not [one for one in found.within(tmp_path) if one.problem], "what a sweep leaves is nothing strange"
    folder = make(tmp_path / "old")
    lines = (folder / "config.yaml").read_text().splitlines()
    (folder / "config.yaml").write_text("\n".join(line for line in lines if "cuda_graph" not in line) + "\n")
    (folder / "checkpoints/finished.json").unlink()
    (folder / "checkpoints/finished").symlink_to("step_00000030")
    runs = seen(tmp_path)
    assert list(runs) == ["old", "x-sweep/trials/1", "x-sweep/trials/2", "x-sweep/trials/10"]
    assert {run.state for run in runs.values()} == {"done"} and {run.above for run in runs.values()} == {None}
