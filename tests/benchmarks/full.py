"""``make bench-full``: this pipeline beside its peers on the same work, each in processes of its own.

Writes all figures as JSON and, if asked to, tables into a page and a picture. About half an hour on two cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

from tests.benchmarks import measure
from tests.benchmarks.contenders import CONTENDERS, Contender
from tests.benchmarks.data import DataFault, unpack
from tests.benchmarks.jobs import ROOT, environment
from tests.benchmarks.results import Entry, Results

RECIPE = "configs/mnist.yaml"
PACKAGES = ("torch", "torchvision", "accelerate", "lightning", "keras", "skorch", "numpy")
PHASES = (measure.speed, measure.command, measure.processes, measure.accuracy)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parse(arguments)
    if options.render:
        results = Results.model_validate_json(options.render.read_text())
    else:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            try:
                results = run(options, Path(folder))
            except DataFault as fault:
                refuse(str(fault))
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(results.model_dump_json(indent=1) + "\n")
    from tests.benchmarks import report  # matplotlib would be in this process while it measures

    print(report.text(results))
    if options.plot:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        report.plot(options.plot, results)
    if options.page:
        picture = os.path.relpath(options.plot, options.page.parent) if options.plot else ""
        report.insert(options.page, report.text(results, picture))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.full", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings of the pipeline's recipe")
    parser.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST's four files (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="all figures go here (default: %(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw accuracy against seconds here")
    parser.add_argument("--page", "--readme", type=Path, metavar="FILE", help="write the tables between this file's markers")
    parser.add_argument("--pipeline-config", default=RECIPE, metavar="FILE", help="the recipe (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="TEXT", help="contenders whose name contains it, and their limits")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement (default: %(default)s)")
    parser.add_argument(
        "--epochs", type=int, default=6, help="the most that others than the pipeline take (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=35, help="a repeat that would end later is not begun (default: %(default)s)"
    )
    parser.add_argument("--examples", type=int, default=0, metavar="N", help="only the first N of each part, for trying")
    parser.add_argument("--quick", action="store_true", help="a try: 1 repeat, 2 short turns, 1 epoch, 6,000 examples")
    parser.add_argument("--render", type=Path, metavar="JSON", help="measure nothing, show these figures")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.epochs, options.examples = 1, 1, options.examples or 6000
    if min(options.repeats, options.epochs) < 1 or options.examples < 0:
        parser.error("--repeats and --epochs must be at least 1, --examples at least 0")
    return options


def run(options: argparse.Namespace, folder: Path) -> Results:
    """All phases. Raises DataFault if MNIST is not where it was said to be."""
    began = time.monotonic()
    unpack(options.data, folder / "data", options.examples)
    plan = measure.Plan(
        folder=folder,
        data=folder / "data",
        repeats=options.repeats,
        turn=10 if options.quick else 50,
        turns=2 if options.quick else 6,
        epochs=options.epochs,
        evaluations=2 if options.quick else 8,
        recipe=options.pipeline_config,
        overrides=tuple(options.overrides),
        began=began,
        minutes=options.minutes,
        say=lambda line: print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True),
    )
    chosen = choose(options.only)
    results = Results(
        machine=machine(),
        settings={name: value.name if isinstance(value, Path) else value for name, value in vars(options).items() if value},
        entries=[Entry(name=one.name, limit=one.limit, problem=one.missing) for one in chosen],
    )
    ours = any(one.peer == "pipeline_stage" and not one.missing for one in chosen)
    for config, overrides in ((measure.SAME_WORK, ()), (plan.recipe, plan.overrides)) if ours else ():
        results.prepare_seconds[config] = prepare(config, plan.settings(f"data.root={plan.data}", *overrides))
    for phase in PHASES:
        start = time.monotonic()
        phase(plan, chosen, results)
        results.phases[phase.__name__] = time.monotonic() - start
    return results


def choose(only: Sequence[str] | None) -> list[Contender]:
    """Those whose name contains one of ``only``, and whom they are held against; all if it is None."""
    found = [one for one in CONTENDERS if only is None or any(text.lower() in one.name.lower() for text in only)]
    if not found:
        refuse(f"--only {' '.join(only or ())}: no such contender; there are: {'; '.join(one.name for one in CONTENDERS)}")
    limits = {one.limit for one in found}
    return [one for one in CONTENDERS if one in found or one.name in limits]


def refuse(problem: str) -> NoReturn:
    """Say what is wrong with what the user gave, and end with status 2."""
    print(f"error: {problem}", file=sys.stderr)
    sys.exit(2)


def prepare(config: str, overrides: Sequence[str]) -> float:
    """The seconds that the pipeline's prepare stage takes as a command."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pipeline", "prepare", "--config", config, *overrides]
    done = subprocess.run(command, cwd=ROOT, env=environment(1), capture_output=True, text=True)
    if done.returncode:
        refuse((done.stderr.strip() or done.stdout).removeprefix("error: "))
    return time.monotonic() - began


def machine() -> dict[str, str | int]:
    """What the figures are of: the processor, its cores that may be used, and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    found: dict[str, str | int] = {
        "processor": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


if __name__ == "__main__":
    main()
