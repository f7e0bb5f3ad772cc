"""A sweep makes each trial once, whoever is killed; it chooses by the validation split, and its best trains."""

from __future__ import annotations

import csv
import json
import random
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.stages.advice.sweep import gpus
from pipeline.stages.advice.sweep_result import Asked, as_yaml
from pipeline.stages.advice.sweep_trial import Plan
from pipeline.tuning.sweeps.shape import Sweep
from pipeline.tuning.sweeps.table import Row
from tests.support.launching import Job, begin, end, numbers, records, run, succeed, wait_until, weights

SWEEP = ("sweep", "--config", "own.yaml", "--sweep", "space.yaml")
FOLDER = Path("runs/own-sweep")
OWN = "model: {hidden: 4}\ntrain: {epochs: 3, batch: 96, log_every: 5}\ntrack: {backends: []}\n"
SPACE = """\
method: grid
metric: {name: valid/accuracy, goal: maximize}
parameters:
  optim.lr: {values: [0.01, 0.05]}
  model.cell: {values: [gru, rnn]}
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder whose data is prepared."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "own.yaml").write_text(OWN)
    succeed("prepare", "--config", "own.yaml", cwd=folder)
    return folder


@pytest.fixture
def own(tmp_path: Path, prepared: Path) -> Path:
    """A working folder with a configuration and a sweep file."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path


def trials(folder: Path) -> list[dict[str, str]]:
    with (folder / FOLDER / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def began(folder: Path) -> list[int]:
    """How often each trial was begun by a process."""
    found = sorted((folder / FOLDER / "trials").iterdir(), key=lambda path: int(path.name))
    return [1 + len(json.loads((path / "environment.json").read_text())["earlier"]) for path in found]


def best_of(folder: Path, number: int) -> float:
    return max(
        record["valid/accuracy"] for record in records(folder / FOLDER / "trials" / str(number)) if "valid/loss" in record
    )


def test_a_grid_is_tried_once_and_the_best_trains_to_the_same_number(own: Path) -> None:
    output = succeed(*SWEEP, cwd=own)
    rows = trials(own)
    asked = [(row["optim.lr"], row["model.cell"]) for row in rows]
    assert asked == [("0.01", "gru"), ("0.01", "rnn"), ("0.05", "gru"), ("0.05", "rnn")] and began(own) == [1, 1, 1, 1]
    values = [float(row["valid/accuracy"]) for row in rows]
    assert values == [best_of(own, number) for number in range(4)] and {row["state"] for row in rows} == {"finished"}
    best = values.index(max(values))
    chosen = f"optim.lr={asked[best][0]} model.cell={asked[best][1]}"
    assert f"best: trial {best}, valid/accuracy {max(values):.4f}: {chosen}" in output
    assert f"next: python -m pipeline evaluate --run {FOLDER}/trials/{best}\n" in output
    for name in ("history.png", "parameters.png"):
        assert (own / FOLDER / name).read_bytes().startswith(b"\x89PNG")

    text = (own / FOLDER / "best.yaml").read_text()
    assert f"trial {best}" in text and f"valid/accuracy {max(values):.4f}" in text and text.count("# chosen by the sweep") == 2
    last = output.splitlines()[-1].removeprefix("or train it anew: python -m pipeline ")
    assert last == f"train --config {FOLDER}/best.yaml"
    succeed(*last.split(), cwd=own)
    assert numbers(own / FOLDER / "best") == numbers(own / FOLDER / f"trials/{best}")
    assert weights(own / FOLDER / "best") == weights(own / FOLDER / f"trials/{best}")

    again = succeed(*SWEEP, cwd=own)
    assert "trial 0 of 4" not in again and again.splitlines()[-1] == output.splitlines()[-1] and began(own) == [1, 1, 1, 1]


def test_the_test_split_is_never_looked_at(own: Path) -> None:
    """Not even where the configuration looks at it for show."""
    output = succeed(*SWEEP, "train.watch_test=1", "--trials", "1", cwd=own)
    assert "the test split was not touched" in output
    assert not list((own / FOLDER).rglob("eval"))
    keys = {key for record in records(own / FOLDER / "trials/0") for key in record}
    assert "valid/loss" in keys and not [key for key in keys if key.startswith("test/")]


def test_a_worker_that_is_killed_leaves_its_trial_to_the_next_one(own: Path) -> None:
    """Killed in the middle of the second trial: the first is not made again, the second goes on, and ends as if alone."""
    slow = (*SWEEP, "train.epochs=12")
    job = Job(*slow, cwd=own)
    wait_until(lambda: len(list((own / FOLDER / "trials/1/checkpoints").glob("step_*"))) >= 2, "the second trial")
    job.signal(signal.SIGKILL)
    assert job.wait()[0] == [-signal.SIGKILL]
    output = succeed(*slow, cwd=own)
    assert next(line for line in output.splitlines() if " of 4: " in line).startswith("trial 1 of 4")
    assert len(trials(own)) == 4 and began(own) == [1, 2, 1, 1]
    assert "resuming after step" in (own / FOLDER / "logs/1.log").read_text()
    alone = ("train", "--config", "own.yaml", *slow[len(SWEEP) :], "optim.lr=0.01", "model.cell=rnn", "run.dir=runs/alone")
    succeed(*alone, cwd=own)
    assert numbers(own / FOLDER / "trials/1") == numbers(own / "runs/alone")


def test_a_signal_saves_the_trial_and_the_same_command_goes_on(own: Path) -> None:
    slow = (*SWEEP, "train.epochs=20")
    job = Job(*slow, cwd=own)
    wait_until(lambda: len(records(own / FOLDER / "trials/0")) > 2, "the first trial")
    job.signal(signal.SIGTERM)
    statuses, output = job.wait()
    assert statuses == [143] and "saved after step" in output
    succeed(*slow, "--trials", "1", cwd=own)
    assert began(own) == [2] and [row["state"] for row in trials(own)] == ["finished"]


def test_two_workers_share_a_sweep_and_a_third_finishes_what_a_killed_one_left(own: Path) -> None:
    slow = (*SWEEP, "train.epochs=30")
    jobs = [Job(*slow, cwd=own) for _ in range(2)]
    wait_until(lambda: all((own / FOLDER / f"trials/{number}/metrics.jsonl").exists() for number in (0, 1)), "two trials")
    jobs[0].signal(signal.SIGKILL)
    third = Job(*slow, cwd=own)
    assert jobs[0].wait()[0] == [-signal.SIGKILL]
    assert [job.wait()[0] for job in (jobs[1], third)] == [[0], [0]]
    assert len(trials(own)) == 4 and sorted(began(own)) == [1, 1, 1, 2]
    assert {row["state"] for row in trials(own)} == {"finished"}


@pytest.mark.parametrize("there", [["locks"], ["locks", "base.yaml"], ["locks", ".base.yaml.1f2e3d4c"]])
def test_a_folder_that_another_worker_is_beginning_is_that_of_the_sweep(own: Path, there: list[str]) -> None:
    """Or one that was killed before it wrote what the sweep is."""
    for name in there:
        path = own / FOLDER / name
        path.mkdir(parents=True) if name == "locks" else path.write_text("")
    succeed(*SWEEP, "--trials", "1", "train.epochs=1", cwd=own)


@pytest.mark.slow
def test_workers_that_are_asked_for_are_started_and_stopped_together(own: Path) -> None:
    command = [sys.executable, "-m", "pipeline", *SWEEP, "--workers", "2", "train.epochs=200"]
    job = begin(command, own)
    wait_until(lambda: all((own / FOLDER / f"trials/{number}/metrics.jsonl").exists() for number in (0, 1)), "two trials")
    job.send_signal(signal.SIGTERM)
    status, output = end(job)
    assert status == 143, output
    status, output = end(begin(command, own))
    assert status == 0, output
    assert output.count("best: trial") == 1 and len(trials(own)) == 4 and sorted(began(own)) == [1, 1, 2, 2]


def test_a_bad_trial_is_stopped_early_and_not_taken_for_the_best(own: Path) -> None:
    (own / "space.yaml").write_text(
        "method: grid\nmetric: {name: valid/loss}\nparameters:\n  optim.lr: {values: [0.05, 0.0000001, 0.02]}\n"
        "early_terminate: {type: hyperband, min_iter: 2}\n"
    )
    output = succeed(*SWEEP, "train.epochs=12", cwd=own)
    rows = trials(own)
    assert [row["state"] for row in rows][:2] == ["finished", "stopped early"]
    evaluations = [len([one for one in records(own / FOLDER / f"trials/{number}") if "valid/loss" in one]) for number in (0, 1)]
    assert evaluations == [12, 2] and "best: trial 0" in output


def test_a_trial_at_its_last_evaluation_is_finished_and_not_stopped(own: Path) -> None:
    (own / "space.yaml").write_text(
        "method: grid\nmetric: {name: valid/loss}\nparameters:\n  optim.lr: {values: [0.05, 0.0000001]}\n"
        "early_terminate: {type: hyperband, min_iter: 2}\n"
    )
    succeed(*SWEEP, "train.epochs=2", cwd=own)
    assert [row["state"] for row in trials(own)] == ["finished", "finished"]


def test_a_trial_is_the_mean_over_its_seeds(own: Path) -> None:
    succeed(*SWEEP, "--seeds", "2", "--trials", "1", cwd=own)
    (row,) = trials(own)
    found = [float(value) for value in row["seeds"].split()]
    each = [
        max(one["valid/accuracy"] for one in records(own / FOLDER / f"trials/0/seed-{place}") if "valid/loss" in one)
        for place in (0, 1)
    ]
    assert found == pytest.approx(each, rel=1e-5) and float(row["valid/accuracy"]) == pytest.approx(sum(each) / 2)
    seeds = [config.load(own / FOLDER / f"trials/0/seed-{place}/config.yaml").run.seed for place in (0, 1)]
    assert seeds == [0, 1] and each[0] != each[1]


def test_a_trial_that_cannot_be_trained_fails_and_the_others_go_on(own: Path) -> None:
    """Values that do not go together, and a loss that is not finite."""
    (own / "space.yaml").write_text(
        "method: grid\nmetric: {name: valid/loss}\nparameters:\n  model.dropout: {values: [0.0, 0.5]}\n"
        "  optim.lr: {values: [0.01, 1.0e+300]}\n"
    )
    output = succeed(*SWEEP, "optim.name=sgd", "train.epochs=1", cwd=own)
    rows = trials(own)
    assert [row["state"] for row in rows] == ["finished", "failed", "failed", "failed"]
    assert "not finite" in rows[1]["reason"] and "model.dropout: acts between layers" in rows[2]["reason"]
    assert "best: trial 0" in output


def test_a_sweep_of_which_nothing_could_be_trained_says_so(own: Path) -> None:
    (own / "space.yaml").write_text(
        "method: grid\nmetric: {name: valid/loss}\nparameters:\n  model.dropout: {values: [0.4, 0.5]}\n"
    )
    status, output = run(*SWEEP, cwd=own)
    assert status == 2 and "no trial was finished" in output and "acts between layers" in output


def test_random_and_bayes_draw_the_same_whoever_asks(own: Path) -> None:
    (own / "space.yaml").write_text(
        "method: random\nrun_cap: 3\nmetric: {name: valid/accuracy, goal: maximize}\nparameters:\n"
        "  optim.lr: {min: 0.001, max: 0.1, distribution: log_uniform_values}\n"
    )
    succeed(*SWEEP, "train.epochs=1", cwd=own)
    succeed(*SWEEP, "train.epochs=1", "--run", "runs/other", "--trials", "1", cwd=own)
    succeed(*SWEEP, "train.epochs=1", "--run", "runs/other", "--trials", "2", cwd=own)
    first = [row["optim.lr"] for row in trials(own)]
    shutil.rmtree(own / FOLDER)
    (own / "runs/other").rename(own / FOLDER)
    assert len(set(first)) == 3 and [row["optim.lr"] for row in trials(own)] == first[:2]


@pytest.mark.parametrize(
    ("change", "more", "said"),
    [
        (("method: grid", "method: random"), (), "random has no end; write run_cap: 20 into it, or type --trials 20"),
        (
            ("optim.lr:", "optim.rl:"),
            (),
            "space.yaml:4: parameters.optim.rl: no key of the configuration; did you mean optim.lr?",
        ),
        (("", ""), ("data.validation=0",), "a sweep chooses by the validation split"),
        (("", ""), ("train.folds=3",), "train.folds and a sweep do not go together"),
        (("", ""), ("--run", "."), "is not empty and holds no sweep; name another folder"),
    ],
)
def test_what_is_wrong_is_one_message(own: Path, change: tuple[str, str], more: tuple[str, ...], said: str) -> None:
    (own / "space.yaml").write_text(SPACE.replace(*change))
    status, output = run(*SWEEP, *more, cwd=own)
    assert status == 2 and said in output and output.count("error:") == 1 and "Traceback" not in output


def test_another_sweep_in_the_same_folder_is_refused_with_what_differs(own: Path) -> None:
    succeed(*SWEEP, "--trials", "1", cwd=own)
    (own / "space.yaml").write_text(SPACE.replace("0.05", "0.06"))
    status, output = run(*SWEEP, "model.hidden=5", "--seeds", "2", cwd=own)
    assert status == 2 and "model.hidden: 4 -> 5" in output
    assert "parameters of the sweep file" in output and "--seeds 1 -> 2" in output


def test_the_table_and_its_tools_are_those_of_optuna(own: Path) -> None:
    """study.db is read by Optuna's own tools, as optuna-dashboard is."""
    import optuna

    succeed(*SWEEP, "--trials", "2", "train.epochs=1", cwd=own)
    study: Any = optuna.load_study(study_name="sweep", storage=f"sqlite:///{own / FOLDER / 'study.db'}")
    assert [trial.params for trial in study.trials] == [
        {"optim.lr": 0.01, "model.cell": "gru"},
        {"optim.lr": 0.01, "model.cell": "rnn"},
    ]


def test_a_launcher_is_refused(own: Path) -> None:
    """The sweep starts processes itself, a trial each."""
    statuses, output = Job(*SWEEP, cwd=own, processes=2).wait()
    assert set(statuses) == {2} and "sweep starts its own processes" in output


def test_a_trial_that_kills_each_worker_is_given_up_and_the_others_are_made(own: Path) -> None:
    """As one that memory does not hold: no checkpoint is there, and three workers died of it."""
    folder = own / FOLDER
    for _ in range(3):
        job = Job(*SWEEP, "--trials", "2", "train.epochs=500", "train.checkpoint_every=100000", cwd=own)
        wait_until(lambda: len(records(folder / "trials/0")) > 0, "the first trial")
        job.signal(signal.SIGKILL)
        job.wait()
        (folder / "trials/0/metrics.jsonl").unlink()
    with_it = (*SWEEP, "--trials", "2", "train.epochs=500", "train.checkpoint_every=100000")
    job = Job(*with_it, cwd=own)
    wait_until(lambda: len(records(folder / "trials/1")) > 0, "the second trial")
    job.signal(signal.SIGTERM)
    output = job.wait()[1]
    assert "trial 0: failed, 3 workers died of it" in output


def test_a_damaged_study_is_one_message_and_without_it_the_runs_are_found_again(own: Path) -> None:
    succeed(*SWEEP, "--trials", "2", cwd=own)
    before = trials(own)
    (own / FOLDER / "study.db").write_bytes(b"no database " * 1000)
    status, output = run(*SWEEP, "--trials", "2", cwd=own)
    assert status == 2 and "study.db: the trials cannot be read or written" in output and "Traceback" not in output
    (own / FOLDER / "study.db").unlink()
    succeed(*SWEEP, "--trials", "2", cwd=own)
    assert [row["valid/accuracy"] for row in trials(own)] == [row["valid/accuracy"] for row in before]
    assert all("nothing to do" in (own / FOLDER / f"logs/{number}.log").read_text() for number in (0, 1))


def test_a_name_with_an_end_of_a_line_is_no_line_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("{}")
    swept = {"method": "grid", "metric": {"name": "valid/accuracy", "goal": "maximize"}}
    plan = Plan(tmp_path, Sweep.model_validate(swept | {"parameters": {"optim.lr": {"values": [0.1]}}}), (), 1)
    asked = Asked("own\nrun: {seed: 7}", (), Path("space\nrun: {seed: 8}"), None, None, 1, 1)
    text = as_yaml(plan, Row(0, "finished", 0.5, {"optim.lr": 0.1}, 1.0), 1, asked)
    (tmp_path / "best.yaml").write_text(text)
    found = config.load(tmp_path / "best.yaml")
    assert (found.run.seed, found.optim.lr) == (config.Config().run.seed, 0.1)


@pytest.mark.slow
def test_a_sweep_that_is_killed_again_and_again_ends_as_one_that_was_left_alone(own: Path) -> None:
    """At any moment: while trials are asked for, trained, saved or told of."""
    space = SPACE.replace("method: grid", "method: random\nrun_cap: 5") + "  model.head_dropout: {min: 0.0, max: 0.4}\n"
    (own / "space.yaml").write_text(space)
    slow, start = (*SWEEP, "train.epochs=60"), time.monotonic()
    succeed(*slow, "--run", "runs/alone", cwd=own)
    whole, chance, kills = time.monotonic() - start, random.Random(0), 0
    for _ in range(8):
        job = Job(*slow, cwd=own)
        wait_until((own / FOLDER / "study.db").exists, "its beginning")
        time.sleep(chance.uniform(0.02, 0.25) * whole)
        with suppress(ProcessLookupError, AssertionError):  # it has ended
            job.signal(signal.SIGKILL)
            kills += 1
        job.wait()
    succeed(*slow, cwd=own)
    assert kills >= 4, "so often, at the least, it was in the middle"
    killed = trials(own)
    (own / FOLDER).rename(own / "runs/killed")
    (own / "runs/alone").rename(own / FOLDER)
    alone = trials(own)
    same = ("trial", "state", "valid/accuracy", "optim.lr", "model.cell", "model.head_dropout")
    assert len(alone) == 5 and [[row[key] for key in same] for row in killed] == [[row[key] for key in same] for row in alone]


@pytest.mark.parametrize(("there", "visible", "named"), [(0, "", []), (1, "", []), (2, "", ["0", "1"]), (2, "3,5", ["3", "5"])])
def test_each_worker_has_a_gpu_where_there_are_several(
    monkeypatch: pytest.MonkeyPatch, there: int, visible: str, named: list[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: there)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus() == named


def test_a_quiet_sweep_says_the_best_and_nothing_else(own: Path) -> None:
    output = succeed(*SWEEP, "--trials", "1", "--quiet", cwd=own)
    assert output == f"best: trial 0, valid/accuracy {best_of(own, 0):.4f}: optim.lr=0.01 model.cell=gru\n"
