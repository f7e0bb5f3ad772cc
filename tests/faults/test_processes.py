"""Processes die, hang and are told to stop; nothing that was saved is lost."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.distributed.stop_signal import StopSignal
from tests.support.launching import (
    ROOT,
    Job,
    end,
    free_port,
    launch,
    losses,
    numbers,
    reached,
    run,
    succeed,
    wait_until,
    weights,
)

SMOKE = str(ROOT / "configs/smoke.yaml")
LONG = ("train.epochs=20", "train.checkpoint_every=20", "train.evaluate_every=33", "optim.schedule=cosine", "run.timeout=20")


def arguments(name: str, *more: str) -> tuple[str, ...]:
    return ("train", "--config", SMOKE, f"run.dir={name}", *LONG, *more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared data and a run on two processes that was left alone."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", "--config", SMOKE, cwd=folder)
    succeed(*arguments("alone"), cwd=folder, processes=2)
    return folder


def assert_as_if_left_alone(folder: Path, name: str, alone: str = "alone") -> None:
    assert weights(folder / name) == weights(folder / alone)
    assert numbers(folder / name) == numbers(folder / alone)


@pytest.mark.slow
def test_worker_that_dies_is_restarted_and_the_run_resumes_by_itself(folder: Path) -> None:
    marks = folder / "marks"
    marks.mkdir()
    fault = {"INJECTED_FAULT": "kill@1:130,kill@0:190", "INJECTED_FAULT_DONE": str(marks)}
    job = launch("cpu.yaml", *arguments("elastic"), cwd=folder, options=("--max_restarts", "3"), **fault)
    status, output = end(job)
    assert status == 0, output
    assert len(list(marks.iterdir())) == 2, "both faults struck"
    assert output.count("resuming after step") == 2, output
    assert_as_if_left_alone(folder, "elastic")


def test_more_signals_while_stopping_change_nothing(folder: Path) -> None:
    """Whenever they come, until the process is gone."""
    job = Job(*arguments("twice"), cwd=folder, processes=2)
    wait_until(lambda: reached(folder / "twice", 90), "step 90")
    while alive := [process for process in job.processes if process.is_alive()]:
        for process in alive:
            with suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGTERM)
        time.sleep(0.0005)
    statuses, output = job.wait()
    assert statuses == [143, 143], output
    assert output.count("stopped by SIGTERM and saved after step") == 1 and "outside of the training" not in output
    succeed(*arguments("twice"), cwd=folder, processes=2)
    assert_as_if_left_alone(folder, "twice")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signal_saves_and_exits_143(folder: Path, number: signal.Signals) -> None:
    name = f"signal{number}"
    job = Job(*arguments(name), cwd=folder, processes=2)
    wait_until(lambda: reached(folder / name, 50), "step 50")
    sent = time.monotonic()
    job.signal(number, rank=0)
    statuses, output = job.wait()
    assert statuses == [143, 143], output
    assert time.monotonic() - sent < 25
    assert output.count(f"stopped by {number.name} and saved after step") == 1


@pytest.mark.slow
def test_signal_during_a_long_evaluation_stops_it_and_the_evaluation_is_made_on_resuming(folder: Path) -> None:
    # pixel by pixel and with a wide layer, an evaluation takes many times as long as reaching it
    slow = ("data.view=pixels", "model.hidden=256", "data.validation=1200", "train.batch=8", "train.evaluate_every=20")
    # small batches: a step is far quicker than a block of the evaluation, at each of which the processes still agree
    slow = (*slow, "train.epochs=2", "train.checkpoint_every=100", "model.layers=4")
    prepare = ("--config", SMOKE, *slow)
    succeed("prepare", *prepare, cwd=folder)
    job = Job("train", *prepare, "run.dir=evaluating", cwd=folder, processes=2)
    wait_until(lambda: reached(folder / "evaluating", 20), "step 20")
    job.signal(signal.SIGTERM)
    statuses, output = job.wait()
    assert statuses == [143, 143], output
    assert "valid loss" not in output, "the evaluation was cut short"
    succeed("train", *prepare, "run.dir=evaluating", cwd=folder, processes=2)
    succeed("train", *prepare, "run.dir=evaluated", cwd=folder, processes=2)
    assert_as_if_left_alone(folder, "evaluating", "evaluated")


@pytest.mark.slow
def test_process_that_hangs_ends_the_job_with_an_error_and_no_orphans(folder: Path) -> None:
    options = ("run.timeout=10",)
    job = launch("cpu.yaml", *arguments("hangs", *options), cwd=folder, INJECTED_FAULT="stop@1:60")
    wait_until(lambda: reached(folder / "hangs", 59), "step 59")
    began = time.monotonic()
    status, output = end(job)
    assert status != 0
    assert time.monotonic() - began < 10 + 35, output
    assert "process 0 lost the others: one of them died, hangs for more than run.timeout = 10 s" in output
    assert "pipeline/training/loop.py" not in output, "no traceback of ours"
    wait_until(lambda: not alive(folder, "hangs"), "the last process to go")
    succeed(*arguments("hangs", *options), cwd=folder, processes=2)


def alive(folder: Path, name: str) -> list[int]:
    """The processes of a run that are not dead, launcher included."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = path.joinpath("cmdline").read_bytes().split(b"\0")
            state = path.joinpath("stat").read_text().rpartition(")")[2].split()[0]
            if f"run.dir={name}".encode() in words and path.joinpath("cwd").readlink() == folder and state != "Z":
                found.append(int(path.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_exact_mode_survives_kills_and_other_numbers_of_processes(folder: Path) -> None:
    exact = ("train.gradient_shards=4", "data.shift=1", "train.ema=0.9")
    succeed(*arguments("exact_alone", *exact), cwd=folder, processes=4)
    for processes, rank in ((4, 2), (2, 1), (1, 0)):
        step = {4: 70, 2: 130, 1: 190}[processes]
        job = Job(*arguments("exact", *exact), cwd=folder, processes=processes)
        wait_until(lambda step=step: reached(folder / "exact", step), f"step {step}")
        for number in range(processes):
            job.signal(signal.SIGKILL, (rank + number) % processes)
        statuses, _ = job.wait()
        assert -signal.SIGKILL in statuses
    output = succeed(*arguments("exact", *exact), cwd=folder, processes=4)
    assert "number of processes was 1, goes on with 4" in output
    assert_as_if_left_alone(folder, "exact", "exact_alone")


@pytest.mark.slow
def test_plain_mode_goes_on_with_another_number_of_processes_and_says_so(folder: Path) -> None:
    job = Job(*arguments("fewer"), cwd=folder, processes=3)
    wait_until(lambda: reached(folder / "fewer", 40), "step 40")
    job.signal(signal.SIGTERM)
    job.wait()
    output = succeed(*arguments("fewer"), cwd=folder, processes=2)
    assert "number of processes was 3, goes on with 2" in output
    assert len(losses(folder / "fewer")) == 280


@pytest.mark.slow
def test_bit_that_flips_in_one_process_stops_the_run_and_names_it(folder: Path) -> None:
    status, output = run(*arguments("flipped", "train.compare_every=10"), cwd=folder, processes=3, INJECTED_FAULT="flip@1:95")
    assert status == 3, output
    assert output.count("process 1 has another set of weights after step 99") == 1, output
    assert "Traceback" not in output
    succeed(*arguments("flipped", "train.compare_every=10"), cwd=folder, processes=3)
    succeed(*arguments("unflipped", "train.compare_every=10"), cwd=folder, processes=3)
    assert_as_if_left_alone(folder, "flipped", "unflipped")


def test_weights_that_are_not_finite_are_never_saved(folder: Path) -> None:
    status, output = run(*arguments("nan"), cwd=folder, processes=2, INJECTED_FAULT="nan@0:50,nan@1:50")
    assert status == 3, output
    assert "step 51: the loss or its gradient is not finite" in output
    assert "Traceback" not in output
    succeed(*arguments("nan"), cwd=folder, processes=2)
    assert_as_if_left_alone(folder, "nan")


@pytest.mark.parametrize("step", [40, 280])
def test_weights_that_turn_bad_when_a_checkpoint_is_due_are_not_saved_either(folder: Path, step: int) -> None:
    """40: a checkpoint is due; 280: the last step, which is evaluated too."""
    name = f"nan{step}"
    status, output = run(*arguments(name), cwd=folder, processes=2, INJECTED_FAULT=f"nan@1:{step}")
    assert status == 3, output
    assert output.count(f"the weights after step {step} are not finite and were not saved") == 1, output
    succeed(*arguments(name), cwd=folder, processes=2)
    assert_as_if_left_alone(folder, name)


@pytest.mark.slow
def test_one_run_folder_has_one_writer_and_a_dead_one_leaves_no_lock(folder: Path) -> None:
    job = Job(*arguments("shared"), cwd=folder, processes=1)
    wait_until(lambda: reached(folder / "shared", 20), "step 20")
    job.signal(signal.SIGSTOP)  # it lives, and does not finish before the second one asks
    status, output = run(*arguments("shared"), cwd=folder, processes=2)
    assert (status, output.count("another process is writing to this run")) == (2, 1), output
    job.signal(signal.SIGKILL)
    job.wait()
    assert "finished at step" in succeed(*arguments("shared"), cwd=folder, processes=1)


def test_processes_with_other_settings_are_refused_before_the_first_step(folder: Path) -> None:
    """Rank 1 is given another configuration, as a second machine with an old checkout has."""
    jobs = []
    with_rank = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    for rank, lr in enumerate(("0.01", "0.02")):
        variables = with_rank | {"RANK": str(rank), "LOCAL_RANK": "0", "ACCELERATE_USE_CPU": "true"}
        jobs.append(Job(*arguments("mixed", f"optim.lr={lr}"), cwd=folder, **variables))
    ends = [job.wait() for job in jobs]
    assert [statuses for statuses, _ in ends] == [[2], [2]], ends
    assert "process 1 has another configuration than process 0" in ends[0][1]
    assert not (folder / "mixed").exists()


@pytest.mark.slow
def test_processes_whose_launcher_was_killed_save_and_leave(folder: Path) -> None:
    job = launch("cpu.yaml", *arguments("orphans", "train.epochs=2000"), cwd=folder)
    wait_until(lambda: reached(folder / "orphans", 50), "step 50")
    assert len(alive(folder, "orphans")) == 3, "a launcher and two processes"
    os.kill(job.pid, signal.SIGKILL)
    status, output = end(job)
    assert status == -signal.SIGKILL
    assert output.count("stopped, as its launcher died, and saved after step") == 1, output
    wait_until(lambda: not alive(folder, "orphans"), "the last process to go")


def test_orphans_are_recognised_by_their_new_parent_only_if_a_launcher_started_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables, wanted in (({}, False), ({"TORCHELASTIC_RUN_ID": "1"}, True)):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with StopSignal(lambda: False) as stop:
            assert not stop.agreed()
            monkeypatch.setattr(os, "getppid", lambda: 1)
            assert stop.agreed() is wanted
        monkeypatch.undo()


@pytest.mark.slow
def test_a_process_that_hangs_is_ended_and_all_have_left_their_stacks(folder: Path) -> None:
    job = Job(*arguments("stuck", "run.timeout=10"), cwd=folder, processes=2, INJECTED_FAULT="hang@1:90")
    statuses, output = job.wait()
    assert statuses == [1, 1] and "process 0 lost the others" in output, output
    assert "process 1 on " in output and "its stacks are in stuck/stacks/1.txt" in output
    assert "in _strike" in (folder / "stuck/stacks/1.txt").read_text()
    waiting = (folder / "stuck/stacks/0.txt").read_text()
    assert "has taken no step for" in waiting and "in _strike" not in waiting
    succeed(*arguments("stuck"), cwd=folder, processes=2)
    assert_as_if_left_alone(folder, "stuck")


@pytest.mark.slow
def test_a_process_that_is_slow_is_named_with_its_host(folder: Path) -> None:
    options = ("train.epochs=50", "train.log_every=10")
    job = Job(*arguments("slow", *options), cwd=folder, processes=2, INJECTED_FAULT="slow@1:20")
    statuses, output = job.wait()
    assert statuses == [0, 0], output
    assert output.count("process 1 on ") == 1 and "holds up the others" in output, output
