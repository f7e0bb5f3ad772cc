"""A copy of the project with one mutant in it, and what the tests say of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.mutants.table import Mutant

MARK = "MUTANT_COPY"  # in the environment of all that the tests of a copy start, whatever session it is in
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

    What compiled kernels need is kept beside it, in ``cache``, which copies may share.
    """

    def __init__(self, root: Path, place: Path, cache: Path) -> None:
        self.place = place
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
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-rfE", *tests]
        began = monotonic()
        job = subprocess.Popen(
            command, cwd=self.place, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            said, _ = job.communicate(timeout=seconds)
            return job.returncode, said, monotonic() - began
        except subprocess.TimeoutExpired:
            return None, "", monotonic() - began
        finally:
            self._end_all()
            job.communicate()

    def _end_all(self) -> None:
        """End what the tests of this copy left running: they have it in their environment."""
        mark = f"{MARK}={self.place}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    os.kill(int(folder.name), signal.SIGKILL)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        """Python tells a new text from a compiled one by its size and the second it is of: both may be the same."""
        path.write_text(text)
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()
