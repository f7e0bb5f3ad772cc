"""A signal ends a run in order from the first moment on, and a launcher does not start it again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.support.launching import ROOT, begin, end, free_port, launch, reached, succeed, wait_until

TRAIN = ("train", "--config", str(ROOT / "configs/smoke.yaml"), "track.backends=[]")
NOTHING = "before the first step; nothing is lost"


def handles(process: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    mask = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def loaded(process: int, library: str) -> bool:
    """Whether a process has a library in its memory."""
    return library in Path(f"/proc/{process}/maps").read_text()


def started(folder: Path, *more: str, **variables: str) -> subprocess.Popen[str]:
    """The command line, once it has handlers."""
    job = begin([sys.executable, "-m", "pipeline", *TRAIN, "run.dir=run", *more], folder, **variables)
    wait_until(lambda: handles(job.pid, signal.SIGUSR1), "a handler")
    return job


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_anything_heavy_is_imported_ends_in_order(tmp_path: Path, number: signal.Signals) -> None:
    job = started(tmp_path)
    assert not loaded(job.pid, "libtorch"), "the handlers stand before it"
    job.send_signal(number)
    assert end(job) == (143, f"stopped by {number.name} {NOTHING}\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("moment", [lambda pid: loaded(pid, "libtorch_cpu"), lambda pid: loaded(pid, "safetensors")])
def test_a_signal_while_the_run_begins_ends_in_order(tmp_path: Path, moment: Callable[[int], bool]) -> None:
    job = started(tmp_path, "train.epochs=100000")
    wait_until(lambda: moment(job.pid), "it to begin")
    job.send_signal(signal.SIGUSR1)
    status, output = end(job)
    assert status == 143 and "Traceback" not in output and "stopped by SIGUSR1" in output.splitlines()[-1], output


COMMANDS = (
    *(
        "prepare {c} data.prepared=here",
        "check {c}",
        "tune {c}",
        "plan {c}",
        "doctor",
        "init {c} --output new.yaml",
        "keys",
        "--help",
    ),
    *("evaluate runs/x", "export runs/x", "report runs/x", "summary runs/x", "explain runs/x", "compare runs/x runs/y", "runs"),
    *("predict --model runs/x/export {c}", "completion bash", "-q check {c}", "train {c}", "--quiet train {c}", "seeds {c}"),
)
# what the interpreter does before the first line of this program is not ours: meanwhile the keyboard ends it as any process
PROGRAM = "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); print('up', flush=True); " + (
    "sys.argv[0] = 'pipeline'; runpy.run_module('pipeline', run_name='__main__', alter_sys=True)"
)


@pytest.mark.parametrize("words", COMMANDS)
def test_ctrl_c_at_any_early_moment_of_any_command_is_at_most_one_line(tmp_path: Path, words: str) -> None:
    command = words.format(c=ROOT / "configs/smoke.yaml").split()
    random = Random(words)
    for _ in range(3):
        job = begin([sys.executable, "-c", PROGRAM, *command], tmp_path)
        assert job.stdout and job.stdout.readline() == "up\n"
        time.sleep(random.uniform(0, 0.5))
        job.send_signal(signal.SIGINT)
        status, said = end(job)
        last = {130: "interrupted", 143: f"stopped by SIGINT {NOTHING}"}  # the others: before the first line, or after the last
        assert status in (0, 2, -signal.SIGINT) or said.splitlines()[-1] == last[status], (status, said)
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("command", "library"),
    [("check", "numpy"), ("prepare", "_polars_runtime"), ("predict", "_polars_runtime"), ("export", "libtorch_cpu")],
)
def test_ctrl_c_while_libraries_are_loaded_is_one_line_and_status_130(tmp_path: Path, command: str, library: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,time,label,x\n" + "".join(f"s{i},{t},{'ab'[i % 2]},{i * t % 7}\n" for i in range(40) for t in range(9)))
    words = ["prepare", str(ROOT / "configs/smoke.yaml"), "data.source=csv", "data.path=a.csv", "data.prepared=here"]
    words = {
        "check": ["check", str(ROOT / "configs/smoke.yaml")],
        "predict": ["predict", "--model", "export", "a.csv"],
        "export": ["export", "--run", "runs/x"],
    }.get(command, words)
    (tmp_path / "export").mkdir()
    job = begin([sys.executable, "-m", "pipeline", *words], tmp_path)
    wait_until(lambda: loaded(job.pid, library), library)
    job.send_signal(signal.SIGINT)
    assert end(job) == (130, "interrupted\n")
    assert not [*tmp_path.glob("here/*/manifest.json")]


def in_a_finalizer(catch: str, number: signal.Signals, caught: str) -> str:
    """A program that gets a signal while Python clears something away."""
    return f"""
import os, time
from pipeline.distributed import signals
signals.{catch}()
{caught}
class Held:
    def __del__(self):
        os.kill(os.getpid(), {int(number)})
        time.sleep(1)
held = Held()
del held
print("went on")
"""


@pytest.mark.parametrize(
    ("catch", "number", "ending"),
    [
        ("catch_keyboard", signal.SIGINT, (130, "interrupted\n")),
        ("catch", signal.SIGTERM, (143, f"stopped by SIGTERM {NOTHING}\n")),
    ],
)
def test_a_signal_in_a_finalizer_from_which_no_exception_comes_out_is_not_lost(
    tmp_path: Path, catch: str, number: signal.Signals, ending: tuple[int, str]
) -> None:
    program = in_a_finalizer(catch, number, "signals.caught()")
    assert end(begin([sys.executable, "-c", program], tmp_path)) == ending


@pytest.mark.parametrize("caught", ["signals.caught()", ""])
@pytest.mark.parametrize(
    ("catch", "number", "status"), [("catch_keyboard", signal.SIGINT, 130), ("catch", signal.SIGTERM, 143)]
)
def test_a_signal_ends_a_process_whose_words_nobody_hears_any_more(
    catch: str, number: signal.Signals, status: int, caught: str
) -> None:
    program = in_a_finalizer(catch, number, caught)
    reader, writer = os.pipe()
    os.close(reader)
    assert subprocess.run([sys.executable, "-c", program], stderr=writer, timeout=60).returncode == status
    os.close(writer)


def test_a_process_that_waits_for_others_who_never_come_hears_a_signal(tmp_path: Path) -> None:
    place = {"RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    job = started(tmp_path, ACCELERATE_USE_CPU="true", **place)
    wait_until(lambda: Path(f"/proc/{job.pid}/wchan").exists() and loaded(job.pid, "libtorch_cpu"), "the start")
    time.sleep(6)  # importing is over then, and it waits in a call of torch that no signal interrupts
    job.send_signal(signal.SIGUSR1)
    status, output = end(job)
    assert status == 143 and output.splitlines()[-1] == f"stopped by SIGUSR1 {NOTHING}", output


def test_stacks_that_are_asked_for_at_the_start_are_written_and_the_run_goes_on(tmp_path: Path) -> None:
    job = started(tmp_path)
    wait_until(lambda: handles(job.pid, signal.SIGUSR2), "the handler")
    job.send_signal(signal.SIGUSR2)
    status, output = end(job)
    assert status == 0 and "most recent call first" in output and "finished at step 28" in output, output


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--max_restarts", "3", "--monitor_interval", "0.2"), ()], ids=["restarts", "none"])
def test_a_launcher_does_not_start_a_stopped_run_again(tmp_path: Path, options: tuple[str, ...]) -> None:
    succeed("prepare", *TRAIN[1:3], cwd=tmp_path)
    job = launch("cpu.yaml", *TRAIN, "run.dir=run", "train.epochs=100000", cwd=tmp_path, options=options)
    wait_until(lambda: reached(tmp_path / "run", 50), "step 50")
    worker = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()[0]
    os.kill(int(worker), signal.SIGUSR1)
    status, output = end(job)
    assert status != 0 and output.count("stopped by SIGUSR1 and saved after step") == 1, output
    assert "resuming after step" not in output, output
