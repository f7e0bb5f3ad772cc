"""``python -m tests.faults.endings``: bring about every ending of ``make train`` and ``make all``, and write the last lines
that were seen into docs/robustness.md, between its markers.

Each is brought about in real processes, started by make in a folder of its own, as a user starts them.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tests.docs.pages import ROOT, Page
from tests.support.launching import begin, end, reached, wait_until

BEGIN, END = "<!-- endings -->", "<!-- /endings -->"
PAGE = Page("docs/robustness.md")
TARGETS, PROCESSES = ("train", "all"), (1, 2)
LONG = "train.epochs=100000 train.log_every=5"
OF_MAKE = re.compile(r"^make: \*\*\* \[Makefile:\d+: (\w+)\] (?:Error (\d+)|\w+)$")
WIDEST = 170  # characters of a line in the table


@dataclass(frozen=True)
class Ending:
    """What goes wrong, how it is brought about, and how it must end."""

    what: str
    words: tuple[str, ...]  # of make
    status: int  # of the program
    last: str  # the pattern of its last line
    disk: str = ""  # the size of the disk that is mounted as disk/
    signal: int = 0  # sent once step 5 is recorded
    launches: bool = True  # whether more than a process is started before it ends


ENDINGS = (
    Ending("a typo in a key", ("ARGS=optim.rl=0.1",), 2, r"error: .* unknown key; did you mean optim\.lr\?", launches=False),
    Ending("a typo in a value", ("ARGS=optim.lr=fast",), 2, r"error: .* expected a number, got 'fast'.*", launches=False),
    Ending(
        "no such configuration",
        ("CONFIG=configs/smok.yaml",),
        2,
        r"error: .*did you mean configs/smoke\.yaml\?",
        launches=False,
    ),
    Ending("no such data", ("ARGS=data.source=csv data.path=none.csv",), 2, r"error: .*none\.csv: there is no such file; .*"),
    Ending(
        "a disk that is full: checkpoints",
        ("RUN=disk/run", "ARGS=train.checkpoint_every=2 train.keep_last=100"),
        2,
        r"error: disk/run/.*: the disk is full; .*",
        disk="200k",
    ),
    Ending(
        "a disk that is full: prepared data",
        ("ARGS=data.prepared=disk/prepared",),
        2,
        r"error: disk/prepared.*: the disk is full; .*",
        disk="40k",
    ),
    Ending(
        "a loss that is not finite",
        ("ARGS=optim.name=sgd optim.lr=1e38",),
        3,
        r"step \d+: the loss or its gradient is not finite; .*",
    ),
    Ending("Ctrl-C", (f"ARGS={LONG}",), 143, r"stopped by SIG\w+ and saved after step \d+ of \d+; .*", signal=signal.SIGINT),
    Ending("SIGTERM", (f"ARGS={LONG}",), 143, r"stopped by SIG\w+ and saved after step \d+ of \d+; .*", signal=signal.SIGTERM),
)
CASES = tuple(product(ENDINGS, TARGETS, PROCESSES))


@dataclass(frozen=True)
class Seen:
    """How it ended: the lines of the program, and the target, the exit status that make said of it and make's own."""

    lines: tuple[str, ...]
    target: str
    status: int
    of_make: int


def checkout(folder: Path) -> Path:
    """``folder`` as a checkout in which everything is installed."""
    for name in ("Makefile", "pipeline", "launch", "configs"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "requirements.lock").touch()
    program = folder / ".venv/bin/python"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    (folder / ".venv/installed").touch()
    os.utime(folder / "requirements.lock", (0, 0))
    return folder


def see(ending: Ending, target: str, processes: int, folder: Path) -> Seen:
    """Bring an ending about in ``folder``, which is a checkout."""
    words = ["make", target, "GPUS=0", "CONFIG=configs/smoke.yaml", "RUN=run", *ending.words, f"PROCESSES={processes}"]
    with mounted(folder / "disk", ending.disk):
        job = begin(words, folder, TORCHINDUCTOR_CACHE_DIR=tempfile.gettempdir())
        if ending.signal:
            wait_until(lambda: reached(folder / "run", 5) or job.poll() is not None, "step 5")
            os.killpg(job.pid, ending.signal)  # as a terminal does, and a scheduler
        status, output = end(job)
    *lines, said = output.splitlines()
    found = OF_MAKE.match(said)
    assert found, output
    return Seen(tuple(lines), found[1], int(found[2] or -1), status)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A disk of that ``size``, which lasts as long as this; none if it is empty. Raises OSError where that cannot be."""
    if not size:
        yield
        return
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False).returncode:
        raise OSError("to mount a small disk one needs to be root, and to have the right to it")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def row(ending: Ending, line: str) -> str:
    """A row of the table."""
    shown = line if len(line) <= WIDEST else f"{line[: WIDEST - 3]}..."
    return f"| {ending.what} | `{shown}` | {ending.status} |"


def main() -> None:
    """See all, and write the table."""
    rows = []
    for ending in ENDINGS:
        lines = {}
        for target, processes in product(TARGETS, PROCESSES):
            with tempfile.TemporaryDirectory() as name:
                folder = checkout(Path(name))
                began = time.monotonic()
                seen = see(ending, target, processes, folder)
                line = seen.lines[-1].replace(f"{folder}/", "")
            print(f"{ending.what}, make {target}, {processes}: {seen.status}, {time.monotonic() - began:.0f} s: {line}")
            assert seen.status == ending.status and re.fullmatch(ending.last, line), seen
            lines.setdefault(re.sub(r"\d+", "0", line)[:40], line)
        rows += [row(ending, line) for line in lines.values()]
    before, rest = PAGE.text.split(BEGIN)
    table = "\n".join(["| what goes wrong | the last line of the program | exit status |", "|---|---|---|", *rows])
    (ROOT / PAGE.name).write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
