"""The test accuracy of a configuration over several seeds: each is trained and evaluated as a user would do it.

    python -m tests.benchmarks.seeds --config configs/mnist_best.yaml --seeds 3 data.root=FOLDER

The data is prepared once; ``run.seed`` is all that differs. The runs stay below ``--runs``; those that are there already are
not trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

ROOT = Path(__file__).parents[2]


def pipeline(*words: str) -> None:
    """Run a stage on one process."""
    command = [sys.executable, "-m", "pipeline", *words]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"ACCELERATE_USE_CPU": "true"})


def accuracy(config: str, seed: int, runs: Path, settings: list[str]) -> float:
    """Train and evaluate one run; its accuracy on the whole test split."""
    folder = runs / f"{Path(config).stem}_{seed}"
    pipeline("train", "--config", config, *settings, f"run.seed={seed}", f"run.dir={folder}", "track.backends=[]")
    pipeline("evaluate", "--run", str(folder))
    found: float = json.loads((folder / "eval/metrics.json").read_text())["accuracy"]
    return found


def main() -> None:
    """Train all seeds and print each accuracy, the mean and the standard deviation."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.seeds")
    parser.add_argument("--config", required=True)
    parser.add_argument("--seeds", type=int, default=3, help="0 to N - 1 (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/seeds", help="(default: runs/seeds)")
    parser.add_argument("settings", nargs="*", metavar="section.key=value")
    options = parser.parse_intermixed_args()
    pipeline("prepare", "--config", options.config, *options.settings)
    found = []
    for seed in range(options.seeds):
        found.append(accuracy(options.config, seed, options.runs.resolve(), options.settings))
        print(f"seed {seed}: {found[-1]:.4f}", flush=True)
    spread = f" +- {stdev(found):.4f}" if len(found) > 1 else ""
    print(f"{options.config}: {mean(found):.4f}{spread} over {len(found)} seeds, {min(found):.4f} to {max(found):.4f}")


if __name__ == "__main__":
    main()
