"""What the two commands of a stranger give on sets of the time-series archives: ``init``, then ``make all``.

    python -m tests.benchmarks.archive FOLDER --seeds 3

FOLDER holds a folder per set, NAME/NAME_TRAIN.ts and NAME/NAME_TEST.ts. Each run is made in a folder of its own, which is
removed; ``run.seed`` is all that is typed beside the two commands. A table is printed: test accuracy as the mean and the
standard deviation over seeds, and beside it the majority class and the nearest neighbour, the accuracy of each seed, and what
the slowest run took: CPU seconds (user and system, of all processes) and seconds of the clock. A command that takes more than
``--seconds`` of the clock is ended.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What one run gave on the test split, and what it took."""

    accuracy: float
    majority: float
    neighbour: float | None
    cpu_seconds: float
    seconds: float


def run(command: Sequence[str], log: Path, seconds: float) -> None:
    """Run a command of the checkout to its end. Raises CalledProcessError if it fails, TimeoutExpired if it does not end."""
    with log.open("ab") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if status:
        raise subprocess.CalledProcessError(status, command, log.read_text(errors="replace")[-2000:])


def outcome(data: Path, seed: int, seconds: float, settings: Sequence[str], processes: int) -> Outcome:
    """``init`` and ``make all`` on the set ``data`` in a new folder."""
    with tempfile.TemporaryDirectory(prefix="archive-") as name:
        folder = Path(name)
        written, made, log = folder / f"{data.name}.yaml", folder / "run", folder / "log.txt"
        train, test = (str(data / f"{data.name}_{part}.ts") for part in ("TRAIN", "TEST"))
        before, began = _cpu_seconds(), time.monotonic()
        run([sys.executable, "-m", "pipeline", "init", train, "--test", test, "--output", str(written)], log, seconds)
        typed = " ".join([f"run.seed={seed}", f"data.prepared={folder / 'prepared'}", *settings])
        more = [f"PROCESSES={processes}"] if processes else []
        run(["make", "all", f"CONFIG={written}", f"RUN={made}", f"ARGS={typed}", *more], log, seconds)
        found = json.loads((made / "eval/metrics.json").read_text())
        neighbour = found.get("nearest_neighbour_accuracy")
        took = (_cpu_seconds() - before, time.monotonic() - began)
        return Outcome(found["accuracy"], found["largest_class_accuracy"], neighbour, *took)


def _cpu_seconds() -> float:
    """Of all commands that ended, user and system."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(found: dict[str, list[Outcome]]) -> str:
    """A row per set, in Markdown."""
    lines = [
        "| set | majority | nearest neighbour | this pipeline | seeds | CPU seconds | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in found.items():
        accuracies = [one.accuracy for one in runs]
        spread = f" ± {stdev(accuracies):.3f}" if len(runs) > 1 else ""
        neighbour = "-" if runs[0].neighbour is None else f"{runs[0].neighbour:.3f}"
        each = " ".join(f"{accuracy:.3f}" for accuracy in accuracies)
        seconds = f"{max(one.cpu_seconds for one in runs):.0f} | {max(one.seconds for one in runs):.0f}"
        lines.append(f"| {name} | {runs[0].majority:.3f} | {neighbour} | {mean(accuracies):.3f}{spread} | {each} | {seconds} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, a line a run before it; the first seed of every set comes first."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.archive")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[], metavar="SET", help="these sets (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="0 to N - 1 (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1200, help="for each of the two commands (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=0, help="that train (default: those that make takes)")
    parser.add_argument("--set", nargs="*", default=[], metavar="section.key=value", help="on top of what init writes")
    options = parser.parse_args()
    sets = sorted(
        path for path in options.folder.iterdir() if path.is_dir() and (not options.only or path.name in options.only)
    )
    found: dict[str, list[Outcome]] = {}
    for seed in range(options.seeds):
        for data in sets:
            try:
                one = outcome(data.resolve(), seed, options.seconds, options.set, options.processes)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                print(f"{data.name}, seed {seed}: {error}\n{error.output or ''}", flush=True)
                continue
            found.setdefault(data.name, []).append(one)
            print(
                f"{data.name}, seed {seed}: {one.accuracy:.4f}, {one.cpu_seconds:.0f} CPU seconds, {one.seconds:.0f} s",
                flush=True,
            )
    print(table(dict(sorted(found.items()))))


if __name__ == "__main__":
    main()
