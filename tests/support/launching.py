"""Real processes for tests: the command line as a user runs it, or under ``accelerate launch``, or over gloo.

Most tests use ``run`` and ``start``: their processes are forked from a server that has imported torch already, get
the variables that a launcher sets, and enter the program through its command line.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TENSORS = ("model.safetensors", "optimizer.safetensors", "ema.safetensors")
TIMEOUT = 120  # seconds; far above what a test takes, so that a hang is an error and not a stuck suite

_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(["tests.support.preloaded"])


def environment(**more: str) -> dict[str, str]:
    """The environment without what a launcher or a user of wandb may have left in it."""
    ours = ("ACCELERATE_", "WANDB_", "CUDA_VISIBLE", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_", "OMP_")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return clean | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | more


def free_port() -> str:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


class Job:
    """``python -m pipeline ARGUMENTS`` as ``processes`` processes over gloo, or as a single one if that is 0."""

    def __init__(
        self, *arguments: str, cwd: Path, processes: int = 0, paths: dict[int, str] | None = None, **more: str
    ) -> None:
        self._output = Path(tempfile.mkstemp(dir=cwd, prefix=".output")[1])
        port = free_port()
        self.processes = []
        for rank in range(max(1, processes)):
            variables = environment(**more)
            if paths and rank in paths:  # of the process of this rank alone
                variables["PATH"] = paths[rank]
            if processes:
                world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
                variables |= {key: str(value) for key, value in world.items()}
                variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
            process = _fork.Process(target=_main, args=(arguments, str(cwd), variables, str(self._output)))
            process.start()
            self.processes.append(process)

    def signal(self, number: int, rank: int | None = None) -> None:
        """Send a signal to all processes, as a terminal does, or to one."""
        for process in self.processes if rank is None else [self.processes[rank]]:
            assert process.pid and process.is_alive(), f"it has ended already:\n{self._output.read_text()}"
            os.kill(process.pid, number)

    def wait(self) -> tuple[list[int], str]:
        """The exit status of each process, negative for a signal that ended it, and what they printed."""
        deadline = time.monotonic() + TIMEOUT
        try:
            for process in self.processes:
                process.join(max(0.0, deadline - time.monotonic()))
                assert process.exitcode is not None, f"still running after {TIMEOUT} s:\n{self._output.read_text()}"
        finally:
            for process in self.processes:
                process.kill()
        return [process.exitcode or 0 for process in self.processes], self._output.read_text()


def _main(arguments: tuple[str, ...], cwd: str, variables: dict[str, str], output: str) -> None:
    """The forked process becomes the program."""
    from tests.support import faults

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server ignores it
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    sys.argv = ["pipeline/__main__.py", *arguments]  # as after "python -m pipeline"
    from pipeline.__main__ import main
    from pipeline.distributed import signals

    if signals.is_training(arguments):  # as the program does at its start, which the server imported long ago
        signals.catch()
    if "INJECTED_FAULT" in variables:
        faults.install()
    main()


def run(*arguments: str, cwd: Path, processes: int = 0, **more: str) -> tuple[int, str]:
    """Run to the end: the greatest exit status, and what was printed."""
    statuses, output = Job(*arguments, cwd=cwd, processes=processes, **more).wait()
    return max(statuses, key=abs), output


def succeed(*arguments: str, cwd: Path, processes: int = 0, **more: str) -> str:
    """``run``, which must succeed; what it printed."""
    status, output = run(*arguments, cwd=cwd, processes=processes, **more)
    assert status == 0, output
    return output


def launch(file: str, *arguments: str, cwd: Path, options: tuple[str, ...] = (), **more: str) -> subprocess.Popen[str]:
    """Start ``accelerate launch --config_file launch/FILE OPTIONS -m pipeline ARGUMENTS`` in a session of its own."""
    head = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(ROOT / "launch" / file)]
    program = "tests.support.faults" if "INJECTED_FAULT" in more else "pipeline"
    return begin([*head, "--num_cpu_threads_per_process", "1", *options, "-m", program, *arguments], cwd, **more)


def begin(command: list[str], cwd: Path, **more: str) -> subprocess.Popen[str]:
    """Start any command in a session of its own."""
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end(job: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for ``launch``: its exit status, and what was printed."""
    try:
        output, _ = job.communicate(timeout=TIMEOUT)
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
    return job.returncode, output


def wait_until(true: Callable[[], Any], what: str) -> None:
    """Wait until ``true`` says so; an error after TIMEOUT seconds."""
    deadline = time.monotonic() + TIMEOUT
    while not true():
        assert time.monotonic() < deadline, f"waited {TIMEOUT} s for {what}"
        time.sleep(0.005)


def records(run_folder: Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl so far."""
    path = run_folder / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def reached(run_folder: Path, step: int) -> bool:
    """Whether a step is recorded."""
    return any(record["step"] >= step for record in records(run_folder))


def losses(run_folder: Path) -> list[float]:
    """The training losses, in the order of steps, each step once."""
    found = [record for record in records(run_folder) if "train/loss" in record]
    steps = [record["step"] for record in found]
    assert steps == sorted(set(steps)), "a step is recorded twice"
    return [record["train/loss"] for record in found]


def numbers(run_folder: Path) -> list[dict[str, Any]]:
    """All that is recorded, losses, rates, norms and evaluations, in the order of steps, but for what the clock says."""
    clock = {"time", "train/samples_per_second", *(f"train/step_seconds_{name}" for name in ("min", "median", "max"))}
    found = [{name: value for name, value in record.items() if name not in clock} for record in records(run_folder)]
    what = [(record["step"], *sorted(record)) for record in found]
    assert len(what) == len(set(what)), "something is recorded twice"
    assert [step for step, *_ in what] == sorted(step for step, *_ in what)
    return found


def weights(run_folder: Path) -> tuple[str, str, str | None]:
    """The newest checkpoint's name, the sha256 of its weights, averaged ones and optimiser state, and which is the best."""
    newest = sorted((run_folder / "checkpoints").glob("step_*"))[-1]
    content = b"".join((newest / name).read_bytes() for name in sorted(TENSORS) if (newest / name).exists())
    best = run_folder / "checkpoints/best.json"
    return newest.name, sha256(content).hexdigest(), best.read_text() if best.exists() else None
