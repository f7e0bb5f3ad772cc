"""A worker that makes, damages, reads and prepares one file after the other, and who watches it.

File ``index`` of a campaign follows from the seed and ``index`` alone. Every fourth is valid.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.preparation.folder import prepare
from pipeline.data.prepared import open_prepared
from pipeline.errors import UserError
from tests.fuzz.damage import damaged
from tests.fuzz.formats import FORMATS, Format, inside

MEMORY = 2 * 10**9  # bytes that the process may have in memory at a time
ROOM = 4 * 2**30  # bytes of addresses beyond those of the start: what is asked for and not used is allowed, within reason
SECONDS, SILENCE = 10.0, 120.0  # of the processor for a file; of the clock until a worker is said to hang
_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(["tests.support.preloaded"])


@dataclass(frozen=True)
class Outcome:
    """What became of a file: ``same`` (as its libraries read it), ``value`` (damaged, but something can be read), ``refused``,
    or a ``finding``, with its text."""

    index: int
    kind: str
    said: str = ""
    seconds: float = 0.0
    memory: int = 0


def files_of(form: Format, seed: int, index: int, folder: Path) -> tuple[Any, Path]:
    """Write file ``index`` into ``folder``, and what stands beside it; what is in it, None if it is damaged, and its path."""
    random = np.random.default_rng([seed, index])
    made, target = form.make(random, folder)
    if index % 4 == 0:
        return made, target
    content = target.read_bytes()
    _, other = form.make(np.random.default_rng([seed, index, 1]), folder / "other")
    second = other.read_bytes()

    def change(part: bytes) -> bytes:
        return damaged(random, part, second, form.text)

    content = inside(random, content, change) if random.integers(2) else change(content)
    target.write_bytes(content)
    return made, target


def tried(name: str, made: Any, valid: bool, folder: Path) -> str:
    """``Outcome.kind`` of the files in ``folder``. Raises what a reader must not raise."""
    form, kind = FORMATS[name], "value"
    try:
        found = form.read(folder, made)
        if valid:
            form.compare(made, found)
            kind = "same"
    except UserError as error:
        assert not valid, f"a valid file is refused: {error}"
        assert str(error).strip(), "a message without words"
        kind = "refused"
    if form.data is not None:
        data = form.data(folder, made)
        try:
            prepare(data)
        except UserError as error:
            left = [path.name for path in (folder / "prepared").glob("*") if path.name != ".lock"]
            assert not left, f"a folder that was refused left {left}"
            assert not valid, f"a valid file is not prepared: {error}"
        else:
            assert kind != "refused", "what cannot be read is prepared"
            prepared = open_prepared(data)
            if valid and form.whole is not None:
                form.whole(made, prepared)
    return kind


def one(name: str, seed: int, index: int, folder: Path) -> Outcome:
    """Make a file, and see what becomes of it."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "other").mkdir(parents=True)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory counts from here
    began, kind, said = time.process_time(), "finding", ""
    try:
        made, _ = files_of(FORMATS[name], seed, index, folder)
        kind = tried(name, made, index % 4 == 0, folder)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"[:600] + "\n" + "".join(traceback.format_tb(error.__traceback__)[-3:])
    seconds, memory = time.process_time() - began, peak()
    if seconds > SECONDS or memory > MEMORY:
        kind, said = "finding", said or f"{seconds:.1f} s, {memory:,} bytes"
    return Outcome(index, kind, said, seconds, memory)


def peak() -> int:
    """The most bytes that this process had in memory since the last time that it was asked to count anew."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def work(name: str, seed: int, indices: range, folder: str, said: Connection, keep: Path | None) -> None:
    """The worker: each file is told when it begins and when it is over. ``keep``: where to copy the files of findings to."""
    addresses = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (addresses + ROOM, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    screen = os.memfd_create("screen")
    sys.stdout.flush()
    os.dup2(screen, 1)
    os.dup2(screen, 2)
    for index in indices:
        said.send(index)
        outcome = one(name, seed, index, Path(folder) / "file")
        if os.fstat(screen).st_size:
            text = os.pread(screen, 1000, 0).decode("utf-8", "replace")
            outcome = replace(outcome, kind="finding", said=f"{outcome.said}\non the screen stands: {text}")
            os.ftruncate(screen, 0)
            os.lseek(screen, 0, os.SEEK_SET)
        if keep is not None and outcome.kind == "finding":
            shutil.copytree(Path(folder) / "file", keep / f"{name}-{seed}-{index}", dirs_exist_ok=True)
        said.send(outcome)
    said.send(None)


def outcomes(
    name: str, seed: int, count: int, keep: Path | None = None, target: Callable[..., None] = work
) -> Iterator[Outcome]:
    """What becomes of files 0 to ``count`` of a campaign. A file that kills or hangs the worker is a finding.

    ``keep``: where to copy the files of findings to, but for those that kill. ``target``: what a worker does.
    """
    first = 0
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=shared if os.access(shared, os.W_OK) else None) as folder:
        while first < count:
            heard, said = _fork.Pipe(duplex=False)
            worker = _fork.Process(target=target, args=(name, seed, range(first, count), folder, said, keep))
            worker.start()
            said.close()
            for outcome in _heard(heard, worker):
                first = outcome.index + 1
                yield outcome


def _heard(heard: Connection, worker: Any) -> Iterator[Outcome]:
    """The outcomes of one worker, to its end."""
    index = None
    try:
        while True:
            if not heard.poll(SILENCE):
                raise EOFError
            message = heard.recv()
            if message is None:
                break
            if isinstance(message, Outcome):
                yield message
                index = None
            else:
                index = message
    except EOFError:
        worker.join(1)
        status = worker.exitcode
        what = f"no end in {SILENCE:.0f} s" if status is None else f"the process ended with status {status}"
        assert index is not None, what
        yield Outcome(index, "finding", what)
    finally:
        if worker.is_alive():
            worker.kill()
        worker.join()


def tally(found: list[Outcome]) -> str:
    """How many files came to what, in words."""
    counts = Counter(outcome.kind for outcome in found)
    said = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
    slow, large = max((outcome.seconds for outcome in found), default=0), max((outcome.memory for outcome in found), default=0)
    return f"{len(found):,} files: {said}; at most {slow:.2f} s and {large / 1e6:,.0f} MB"
