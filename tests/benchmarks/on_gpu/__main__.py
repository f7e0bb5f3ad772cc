"""The command line."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

from tests.benchmarks.on_gpu.cases import Case, cases
from tests.benchmarks.on_gpu.measured import kernels, measured, run, settled

LEVELS = (0.97, 0.98, 0.99)


def steps(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each case."""
    rows = []
    for case in cases():
        if not all(word in case.name for word in asked.only):
            continue
        try:
            rows.append(measured(case, asked.data, asked.seconds))
        except Exception as error:  # the others are measured
            rows.append({"name": case.name, "problem": f"{type(error).__name__}: {error}"[:300]})
            print(f"{case.name}: {rows[-1]['problem']}", flush=True)
            continue
        row = rows[-1]
        print(f"{row['name']:70} {row['us']:10.1f} us {row['samples_per_second']:12,.0f} /s {row['dtype']}", flush=True)
    return rows


def runs(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """A training for each seed, and how long each took to an accuracy on the test split."""
    found = []
    for seed in range(asked.seeds):
        settings = settled(asked.data, asked.config, [*asked.overrides, f"run.seed={seed}"])
        found.append(run(settings, asked.looks))
        print(f"seed {seed}: {found[-1]['accuracy']:.4f} after {found[-1]['seconds']:.3f} s", flush=True)
    for level in LEVELS:
        first = [next((s for _, s, a in one["curve"] if a >= level), None) for one in found]
        there = [seconds for seconds in first if seconds is not None]
        if there:
            print(f"{level:.0%}: {len(there)} of {len(found)} runs, median {median(there):.3f} s, most {max(there):.3f} s")
    print(f"last: mean {mean(one['accuracy'] for one in found):.4f}, least {min(one['accuracy'] for one in found):.4f}")
    return found


def profiles(asked: argparse.Namespace) -> dict[str, Any]:
    """What the steps of some cases launch."""
    found = {}
    for case in (
        Case(64, 64, "fp32", "graph"),
        Case(64, 64, "fp32", "by hand, graph"),
        Case(64, 1024, "fp32", "graph"),
        Case(64, 1024, "bf16", "graph"),
        Case(64, 128, "fp32", "graph", bidirectional=True),
        Case(512, 1024, "fp16", "graph", layers=2, bidirectional=True),
    ):
        found[case.name] = rows = kernels(case, asked.data)
        print(f"{case.name}: {sum(row[1] for row in rows):.1f} us in {sum(row[2] for row in rows):.0f} launches")
        for name, taken, count in rows[: asked.top]:
            print(f"    {taken:8.1f} us {count:6.1f} x {name[:100]}")
    return found


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["steps", "runs", "kernels"])
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=0.25)
    parser.add_argument("--config", default="configs/mnist.yaml")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--looks", type=int, default=20)
    parser.add_argument("--top", type=int, default=12)
    asked = parser.parse_intermixed_args()
    gpu = torch.cuda.get_device_name()
    print(f"{gpu}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, {platform.machine()}", flush=True)
    found = {"steps": steps, "runs": runs, "kernels": profiles}[asked.what](asked)
    if asked.json:
        asked.json.write_text(json.dumps({"gpu": gpu, "torch": torch.__version__, "found": found}, indent=1))


if __name__ == "__main__":
    main()
