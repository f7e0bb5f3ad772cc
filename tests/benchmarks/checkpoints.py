"""What checkpoints cost: an epoch of the MNIST LSTM tutorial with one every 50 steps, against an epoch with one at its end.

    python -m tests.benchmarks.checkpoints --data FOLDER      (the four files of MNIST; two minutes)

Both are runs of the whole program. The time of an epoch is that between its first record and its last, so that start-up
does not count; the two take turns, and each pair gives a ratio.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from statistics import median

from pipeline.run import record

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs/mnist_seed.yaml")
EVERY = 50  # steps between checkpoints, and between records


def pipeline(command: str, *settings: str) -> None:
    """Run a stage with the configuration of the MNIST LSTM tutorial, on one process and without a tracker."""
    words = [
        sys.executable,
        "-m",
        "pipeline",
        command,
        "--config",
        CONFIG,
        "track.backends=[]",
        "train.watch_test=0",
        *settings,
    ]
    subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"ACCELERATE_USE_CPU": "true"})


def seconds(folder: Path, every: int | str, *settings: str) -> float:
    """How long the steps of one epoch take from the first record to the last."""
    pipeline("train", *settings, f"run.dir={folder}", f"train.checkpoint_every={every}", f"train.log_every={EVERY}")
    times = [found["time"] for found in record.read(folder / "metrics.jsonl") if "train/loss" in found]
    return times[-1] - times[0]


def main() -> None:
    """Measure pairs in turns and print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.checkpoints")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="the folder of MNIST's four files")
    parser.add_argument("--pairs", type=int, default=9, help="measured pairs (default: %(default)s)")
    parser.add_argument(
        "--config", action="append", default=[], metavar="KEY=VALUE", help="a setting on top of the configuration"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=ROOT) as place:
        number = count()
        settings = [f"data.root={Path(options.data).resolve()}", f"data.prepared={place}/prepared", *options.config]
        pipeline("prepare", *settings)
        ratios = []
        for pair in range(options.pairs):
            took = {}
            for every in (EVERY, "1 epoch")[:: -1 if pair % 2 else 1]:
                took[every] = seconds(Path(place) / f"run_{next(number)}", every, *settings)
            ratios.append(took[EVERY] / took["1 epoch"])
            print(f"with {took[EVERY]:.2f} s, without {took['1 epoch']:.2f} s, ratio {ratios[-1]:.3f}", flush=True)
        spread = f"{min(ratios):.3f}..{max(ratios):.3f}"
        print(f"a checkpoint every {EVERY} steps: {median(ratios):.3f} times the epoch without ({spread})")


if __name__ == "__main__":
    main()
