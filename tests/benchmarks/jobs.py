"""The processes of a contender: started, taken through turns, and read when they ended. This module loads nothing heavy."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.benchmarks.peers.task import Task

ROOT = Path(__file__).parents[2]
LAUNCHERS = {
    "bare": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"],
    "pipeline_stage": [
        *("-m", "accelerate.commands.launch", "--quiet", "--config_file", "launch/cpu.yaml", "--main_process_port", "0"),
        *("--num_cpu_threads_per_process", "1", "--num_processes"),
    ],
}
OURS = ("ACCELERATE_", "WANDB_", "CUDA_VISIBLE", "RANK", "LOCAL_", "WORLD_SIZE", "MASTER_", "OMP_", "MKL_", "KERAS_")


class JobError(Exception):
    """A process of a contender failed: which, how, and the end of what it printed."""


class Job:
    """A task under way. ``launched``: by the launcher that its users type, else its processes are started directly.
    Leaving the ``with`` block ends what still runs."""

    def __init__(self, task: Task, processes: int, threads: int, launched: bool = False) -> None:
        self.output = Path(task.output)
        self.output.mkdir(parents=True)
        self._log = (self.output / "log.txt").open("wb")
        go, self._go = os.pipe()
        self._answer, answer = os.pipe()
        self.began = time.monotonic()
        task = replace(task, spawned=self.began, channel=(go, answer))
        worker = ["-m", "tests.benchmarks.peers.run", json.dumps(asdict(task))]
        self._processes = []
        if launched and processes > 1:
            worlds = [environment(threads)]
            worker = [*LAUNCHERS[task.peer], str(processes), *worker]
        else:
            worlds = [environment(threads) | world for world in worlds_of(processes)]
        for variables in worlds:
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, *worker],
                    cwd=ROOT,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(go, answer),
                    start_new_session=True,
                )
            )
        os.close(go)
        os.close(answer)

    def turn(self) -> float:
        """Let it take a turn: the seconds. The first answer, which ``ready`` awaits, must have come."""
        os.write(self._go, b".")
        return self.ready()

    def ready(self) -> float:
        """Wait for its answer. Raises JobError if it ended instead."""
        line = b""
        while not line.endswith(b"\n"):
            if not (character := os.read(self._answer, 1)):
                self.wait()
                raise JobError(f"{self.output.name}: ended too early\n{self._tail()}")
            line += character
        return float(line)

    def wait(self) -> list[dict[str, Any]]:
        """Wait for its end: what each process measured. Raises JobError if one failed."""
        statuses = [process.wait() for process in self._processes]
        self.seconds = time.monotonic() - self.began
        if any(statuses):
            raise JobError(f"{self.output.name}: exit status {max(statuses, key=abs)}\n{self._tail()}")
        return [json.loads(file.read_text()) for file in sorted(self.output.glob("process-*.json"))]

    def _tail(self) -> str:
        return "\n".join((self.output / "log.txt").read_text(errors="replace").splitlines()[-12:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._go)
        os.close(self._answer)
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._log.close()


def environment(threads: int) -> dict[str, str]:
    """The environment without what a launcher may have left in it. As many threads as cores is what PyTorch takes by itself."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    return clean | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(threads)}


def worlds_of(processes: int) -> list[dict[str, str]]:
    """The variables that a launcher sets, for each process; none for a single one."""
    if processes == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
