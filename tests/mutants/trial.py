"""A copy of the project with one mutant in it, and what the tests say of it."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.mutants.table import Mutant

MARK = "MUTANT_COPY"  # in the environment of all that the tests of a copy start, whatever session it is in
PRELOADED = (
    *("torch", "torch._dynamo", "accelerate", "accelerate.state", "polars", "pydantic", "hypothesis", "safetensors.torch"),
    *("sklearn.model_selection", "sklearn.metrics", "matplotlib.figure", "numpy.testing", "PIL.Image", "typer", "filelock"),
)  # nothing of the project
COLLECTED, FAILED = 0, 1  # pytest's statuses: all passed, some failed


@dataclass(frozen=True)
class Result:
    """What became of a mutant: ``killed``, ``survived``, ``hung`` or ``broken`` (its tests could not be run), and by what."""

    name: str
    outcome: str
    seconds: float
    by: str = ""


class Copy:
    """A copy of the project below ``root``, in a new folder ``place``, in which one mutant at a time is tried.

    What compiled kernels need is kept beside it, in ``cache``, which copies may share. The modules ``preloaded`` are imported
    once for all.
    """

    def __init__(self, root: Path, place: Path, cache: Path, preloaded: Sequence[str] = PRELOADED) -> None:
        self.place, self.preloaded = place, preloaded
        self._nursery: subprocess.Popen[str] | None = None
        listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
        names = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
        for name in filter(None, names):
            if (root / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, place / name)
        if (root / ".venv").exists():
            (place / ".venv").symlink_to((root / ".venv").resolve())
        paths = {"PYTHONPATH": str(place), "XDG_CACHE_HOME": str(cache), MARK: str(place)}
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")} | paths

    def tried(self, mutant: Mutant, seconds: float) -> Result:
        """What the tests of ``mutant`` say of it in at most so many seconds. Raises ValueError if it does not apply."""
        path = self.place / mutant.file
        text = path.read_text()
        changed = mutant.applied(text)
        try:
            self._write(path, changed)
            status, said, took = self.run(mutant.node_ids, seconds)
        finally:
            self._write(path, text)
        failed = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", said, re.MULTILINE)
        by = failed[1] if failed else ""
        if status is None:
            return Result(mutant.name, "killed" if mutant.hangs else "hung", took, f"no end in {seconds:.0f} s")
        if status == FAILED and by:
            return Result(mutant.name, "killed", took, by)
        if status == COLLECTED:
            return Result(mutant.name, "survived", took)
        return Result(mutant.name, "broken", took, (said.strip().splitlines() or [f"status {status}"])[-1])

    def run(self, tests: list[str], seconds: float) -> tuple[int | None, str, float]:
        """pytest's status, None if it did not end in time; what it said; and the seconds that it took."""
        began, output = monotonic(), self.place / ".said"
        if self._nursery is None:
            command = [sys.executable, "-P", str(Path(__file__).with_name("nursery.py")), *self.preloaded]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self._nursery = subprocess.Popen(command, cwd=self.place, env=self.environment, **pipes)  # type: ignore[call-overload]
        assert self._nursery and self._nursery.stdin and self._nursery.stdout
        arguments = ["-x", "-q", "-p", "no:cacheprovider", "-rfE", *tests]
        self._nursery.stdin.write(json.dumps([arguments, str(output)]) + "\n")
        self._nursery.stdin.flush()
        ready, _, _ = select.select([self._nursery.stdout], [], [], seconds)
        status = int(self._nursery.stdout.readline()) if ready else None
        self._end_all(also_the_nursery=status is None)
        return status, output.read_text(errors="replace") if status is not None else "", monotonic() - began

    def close(self) -> None:
        """End all that was started."""
        self._end_all(also_the_nursery=True)

    def _end_all(self, also_the_nursery: bool) -> None:
        """End what the tests of this copy left running: they have it in their environment."""
        mark = f"{MARK}={self.place}".encode()
        kept = self._nursery.pid if self._nursery and not also_the_nursery else None
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if int(folder.name) != kept and mark in (folder / "environ").read_bytes().split(b"\0"):
                    os.kill(int(folder.name), signal.SIGKILL)
        if also_the_nursery and self._nursery:
            self._nursery.communicate()
            self._nursery = None

    @staticmethod
    def _write(path: Path, text: str) -> None:
        """Python tells a new text from a compiled one by its size and the second it is of: both may be the same."""
        path.write_text(text)
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()
