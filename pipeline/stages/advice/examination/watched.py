"""Workers, watched: each check has its time, and what kills a worker ends one check alone."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pipeline.distributed.process import HOW_TO_MEET, WHICH
from pipeline.stages.advice.examination.results import Check, Result, broken

STARTS = 90.0  # seconds that a worker may take to import torch and to meet the others
SAY = "send the JSON of this command to the authors (README)"


@dataclass(frozen=True)
class Request:
    """Which checks are made, and where."""

    which: str  # a set of checks
    folder: Path
    file: Path | None = None
    overrides: tuple[str, ...] = ()
    only: tuple[str, ...] = ()  # the names of the checks to make; none: all


@dataclass
class _Workers:
    """Processes of one worker group; the first of them answers."""

    processes: list[subprocess.Popen[bytes]]
    answers: int  # a descriptor
    said: IO[bytes]  # what they print
    rest: bytes = b""
    lines: list[Any] = field(default_factory=list)

    def next(self, until: float) -> Any:
        """The next thing that is answered; None: nothing came before the time ``until``. Raises EOFError if they ended."""
        while not self.lines:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.answers], [], [], left)[0]:
                return None
            read = os.read(self.answers, 2**16)
            if not read:
                raise EOFError
            *whole, self.rest = (self.rest + read).split(b"\n")
            self.lines += [json.loads(line) for line in whole]
        return self.lines.pop(0)

    def end(self) -> str:
        """Kill what is left; how the first of them ended, with the last line that it printed."""
        deadline = time.monotonic() + 2  # those that are about to end
        for process in self.processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()
        os.close(self.answers)
        self.said.seek(0)
        lines = [line.strip() for line in self.said.read().decode(errors="replace").splitlines() if line.strip()]
        codes = [process.returncode for process in self.processes if process.returncode]
        code = next((code for code in codes if code != -signal.SIGKILL), next(iter(codes), 0))  # others were killed for it
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        self.said.close()
        return f"{how}: {lines[-1][:300]}" if lines else how


def answered(request: Request, checks: Sequence[Check], environments: Sequence[Mapping[str, str]]) -> Iterator[Result]:
    """The answers to ``checks``, made by one worker for each of ``environments``, of which the first answers.

    A check that kills them, or takes longer than it may, is said to be broken, and other workers go on with those after it;
    not so where this process is one of several itself, whose workers have met for one time only.
    """
    left = [check for check in checks if not request.only or check.name in request.only]
    while left:
        workers = _started(request, [check.name for check in left], environments)
        current, problem = None, ""
        try:
            until = time.monotonic() + STARTS
            while left:
                line = workers.next(until)
                if isinstance(line, str):
                    current = next(check for check in left if check.name == line)
                    until = time.monotonic() + current.limit
                elif line is None:
                    limit = current.limit if current else STARTS
                    problem = f"no answer within {limit:.0f} s"
                    for process in workers.processes:
                        process.kill()
                    break
                else:
                    answer = Result(**line)
                    left = left[[check.name for check in left].index(answer.name) + 1 :]
                    current, until = None, time.monotonic() + STARTS
                    yield answer
        except EOFError:
            pass
        finally:
            how = workers.end()
        if left:
            met = "RANK" in environments[0]
            lost = left if current is None or (met and len(environments) == 1) else [left[left.index(current)]]
            for check in lost:
                yield broken(check, problem or f"the process that made it ended ({how})", SAY)
            left = left[left.index(lost[-1]) + 1 :]


def _started(request: Request, names: Sequence[str], environments: Sequence[Mapping[str, str]]) -> _Workers:
    reads, writes = os.pipe()
    said = tempfile.TemporaryFile()  # noqa: SIM115  # closed with them
    asked: dict[str, Any] = {"which": request.which, "names": list(names), "folder": str(request.folder)}
    asked |= {"config": str(request.file or ""), "overrides": list(request.overrides)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    processes = []
    for number, variables in enumerate(environments):
        out = writes if number == 0 else nowhere
        command = [sys.executable, "-m", "pipeline.stages.advice.examination.worker", str(out), json.dumps(asked)]
        processes.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said, env=dict(variables), pass_fds=[out])
        )
    os.close(writes)
    os.close(nowhere)
    return _Workers(processes, reads, said)


def alone() -> list[dict[str, str]]:
    """The environment of a worker that is on its own."""
    return [{name: value for name, value in os.environ.items() if name not in (*WHICH, *HOW_TO_MEET)}]


def launched() -> list[dict[str, str]]:
    """The environment of the worker of a process that a launcher started."""
    return [dict(os.environ)]


def several(number: int, on_cpu: bool) -> list[dict[str, str]]:
    """The environments of so many workers on this machine that meet each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    same = {"WORLD_SIZE": str(number), "LOCAL_WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    same |= {"OMP_NUM_THREADS": "1"} | ({"ACCELERATE_USE_CPU": "true"} if on_cpu else {})
    return [dict(os.environ) | same | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(number)]
