"""What tracking costs: the steps of a run with wandb, online against the tests' server, beside those of the same run without.

    python -m tests.benchmarks.tracking [--pairs 9] [--trouble]

Each run is one process that trains configs/digits.yaml with a record every 20 steps, as the file says. The two take turns,
and each pair gives the ratios of ``WHAT``. ``--trouble``: the server answers 500 now and then, and is
dead for 5 of every 8 seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from tests.support.wandb_server import WandbServer

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys, time
from pipeline import config
from pipeline.stages import train
settings = config.load(sys.argv[1], sys.argv[2:])
times = [(time.perf_counter(), time.thread_time(), time.process_time()) for _ in train.reports(settings)]
times = times[len(times) // 4 :]  # wandb has begun by then
def middle(which):
    steps = sorted(after[which] - before[which] for before, after in zip(times, times[1:]))
    return steps[len(steps) // 2]
print("TIMES", json.dumps([times[-1][0] - times[0][0], times[-1][2] - times[0][2], middle(0), middle(1)]))
"""
WHAT = ("the loop", "CPU seconds of the process in the loop", "the median step", "the CPU time of the median step")


def measured(server: WandbServer, place: Path, number: int, backends: str, *settings: str) -> list[float]:
    """Seconds of ``WHAT``, without the first quarter of the steps."""
    arguments = [f"run.dir={place}/run_{number}", f"track.backends={backends}", f"data.prepared={place}/prepared", *settings]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "NETRC"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "configs/digits.yaml", *arguments],
        cwd=ROOT,
        env=clean | server.environment() | {"ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("TIMES")]
    return [float(value) for value in json.loads(line.removeprefix("TIMES "))]


def disturb(server: WandbServer, stop: threading.Event) -> None:
    """Errors, and a death of 5 seconds, again and again."""
    while not stop.wait(3):
        server.fail = 2
        server.stop()
        stop.wait(5)
        server.start()


def main() -> None:
    """Measure pairs in turns and print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tracking")
    parser.add_argument("--pairs", type=int, default=9, help="measured pairs (default: %(default)s)")
    parser.add_argument("--trouble", action="store_true", help="a server that errs and dies")
    parser.add_argument(
        "--config", action="append", default=[], metavar="KEY=VALUE", help="a setting on top of the configuration"
    )
    options = parser.parse_args()
    ratios: list[list[float]] = []
    with tempfile.TemporaryDirectory() as folder, WandbServer() as server:
        measured(server, Path(folder), 0, "[]", *options.config, "train.epochs=2")  # prepares
        for pair in range(options.pairs):
            took = {}
            for place, backends in list(enumerate(("[]", "[wandb]"), 1))[:: -1 if pair % 2 else 1]:
                stop = threading.Event()
                if options.trouble and place == 2:
                    threading.Thread(target=disturb, args=(server, stop)).start()
                took[place] = measured(server, Path(folder), 2 * pair + place, backends, *options.config)
                stop.set()
                time.sleep(0.1)
            ratios.append([tracked / bare for tracked, bare in zip(took[2], took[1], strict=True)])
            print(f"loop {took[1][0]:.2f} s; with wandb, times:", *(f"{ratio:.3f}" for ratio in ratios[-1]), flush=True)
    print(f"load of the machine: {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores")
    for name, values in zip(WHAT, zip(*ratios, strict=True), strict=True):
        print(f"{name}: {median(values):.3f} times that without wandb ({min(values):.3f}..{max(values):.3f})")


if __name__ == "__main__":
    main()
