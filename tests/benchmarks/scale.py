"""``make bench-scale``: how the cost of each stage grows with each size of the data.

Every stage runs as a process of its own, at two to four sizes in one dimension. Its CPU seconds (user and system, children
included) and the peak of its anonymous memory are measured, so that other work on the machine does little harm.

The exponent says how fast the cost grows with the size: 1 is in proportion, 2 with its square. It is that of what comes on
top of the smallest size, between the last two sizes, so that the start of a process does not hide it. A cost that hardly
grows is "flat".
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.larger_than_memory import ROOT, anonymous
from tests.benchmarks.scale_cases import CASES, Case

LEAST = 0.3  # CPU seconds, and the share of the smallest size's, that a cost must grow by to be told from noise
ENDED = (-signal.SIGXCPU, -signal.SIGKILL)  # by the limit
EACH = 25.0  # CPU seconds of a stage after which no larger size is tried; a stage of four times that is ended
COMMANDS = {
    "prepare": ("prepare", "--config", "own.yaml"),
    "check": ("check", "--config", "own.yaml"),
    "train": ("train", "--config", "own.yaml"),
    "evaluate": ("evaluate", "--run", "run"),
    "export": ("export", "--run", "run"),
    "predict": ("predict", "--model", "run/export", "INPUT", "--output", "predictions.csv"),
}


@dataclass(frozen=True)
class Cost:
    """What one process took: CPU seconds, and bytes of anonymous memory at the peak."""

    size: int
    seconds: float
    memory: int


@dataclass
class Row:
    """A stage in one dimension: what it cost at each size, and why there are not more sizes, if so."""

    stage: str
    dimension: str
    unit: str
    costs: list[Cost]
    ended: str = ""

    @property
    def exponent(self) -> float | None:
        """Of the CPU seconds; None if they hardly grow, or if two sizes are all there are."""
        return exponent([cost.size for cost in self.costs], [cost.seconds for cost in self.costs])


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float | None:
    """How the cost grows with the size beyond the cost at the smallest size, by the last two sizes."""
    if len(sizes) < 3 or costs[-1] - costs[0] < LEAST * max(1.0, costs[0]):
        return None
    before, last = (costs[place] - costs[0] for place in (-2, -1))
    ratio = (sizes[-1] - sizes[0]) / (sizes[-2] - sizes[0])
    return math.log(last / max(before, 0.1 * LEAST)) / math.log(ratio)


def measured(command: Sequence[str], folder: Path, size: int, most: float) -> Cost:
    """Run a command to its end. Raises CalledProcessError if it fails: one of ENDED after ``most`` seconds."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (folder / "output.txt").open("w") as output:
        job = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    limit = max(1, round(most))
    resource.prlimit(job.pid, resource.RLIMIT_CPU, (limit, limit))  # not of the clock: other work may take turns with it
    peak, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], anonymous(job.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(job.pid, 0)
    job.returncode = os.waitstatus_to_exitcode(status)
    over.set()
    watcher.join()
    if job.returncode:
        raise subprocess.CalledProcessError(job.returncode, command, (folder / "output.txt").read_text()[-2000:])
    return Cost(size, usage.ru_utime + usage.ru_stime, peak[0])


def rows_of(case: Case, each: float) -> Iterator[Row]:
    """The stages of a case, each at all sizes that end in time."""
    rows = {stage: Row(stage, case.dimension, case.unit, []) for stage in case.stages}
    for size in case.sizes:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            data = case.write(folder, size)
            (folder / "own.yaml").write_text(f"run: {{dir: run}}\ntrack: {{backends: []}}\n{data}\n")
            for stage, row in rows.items():
                if row.ended:
                    break  # what follows needs what this stage would have written
                try:
                    row.costs.append(measured(command_of(stage, folder, size), folder, size, 4 * each))
                except subprocess.CalledProcessError as error:
                    row.ended = f"{size:,}: {f'over {4 * each:.0f} s' if error.returncode in ENDED else 'failed'}"
                    print(f"{stage}, {case.dimension} {size:,}:\n{error.output}", file=sys.stderr)
                    break
                else:
                    print(f"{stage:22} {case.dimension:40} {size:>9,} {row.costs[-1].seconds:7.2f} s", file=sys.stderr)
                    if row.costs[-1].seconds > each and size != case.sizes[-1]:
                        row.ended = f"{size:,}: over {each:.0f} s"
    yield from rows.values()


def command_of(stage: str, folder: Path, size: int) -> list[str]:
    """A command of the program, or a part of one that ``scale_cases`` calls."""
    if stage not in COMMANDS:
        return [sys.executable, "-m", "tests.benchmarks.scale_cases", stage, str(size)]
    raw = next((path.name for path in sorted(folder.glob("own.*")) if path.suffix != ".yaml"), "images")
    return [sys.executable, "-m", "pipeline", *(raw if word == "INPUT" else word for word in COMMANDS[stage])]


def table(rows: Sequence[Row]) -> str:
    """All rows in Markdown."""
    lines = [
        "| stage | size | from, to | CPU seconds | exponent | each, on top of the first | peak MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if not row.costs:
            lines.append(f"| {row.stage} | {row.dimension} | {row.ended} | | | | |")
            continue
        first, last = row.costs[0], row.costs[-1]
        said = "flat" if row.exponent is None else f"{row.exponent:.2f}"
        more = (last.seconds - first.seconds) / max(1, last.size - first.size)
        each = "-" if row.exponent is None else f"{1e6 * more:,.3g} us {row.unit}"
        sizes = ", ".join(f"{cost.size:,}" for cost in row.costs) + (f" ({row.ended})" if row.ended else "")
        seconds = ", ".join(f"{cost.seconds:.1f}" for cost in row.costs)
        memory = ", ".join(f"{cost.memory / 2**20:,.0f}" for cost in row.costs)
        lines.append(f"| {row.stage} | {row.dimension} | {sizes} | {seconds} | {said} | {each} | {memory} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write a JSON file if asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured here")
    parser.add_argument("--each", type=float, default=EACH, help="CPU seconds that end a row (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="dimensions that hold one of these words")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    chosen = [case for case in CASES if any(word in case.dimension for word in options.only)]
    if not chosen:
        parser.error(f"no dimension holds {' or '.join(options.only)}; there are: {'; '.join(c.dimension for c in CASES)}")
    rows = [row for case in chosen for row in rows_of(case, options.each)]
    print(f"{machine()}. {(time.monotonic() - began) / 60:.0f} minutes.\n\n{table(rows)}")
    if options.json:
        said: list[dict[str, Any]] = [asdict(row) | {"exponent": row.exponent} for row in rows]
        options.json.write_text(json.dumps({"machine": machine(), "rows": said}, indent=1) + "\n")


def machine() -> str:
    """What it ran on, in words."""
    import platform
    from importlib.metadata import version

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "polars", "onnxruntime", "matplotlib"))
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores; {packages}"


if __name__ == "__main__":
    main()
