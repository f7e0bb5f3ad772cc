"""What ``prepare`` and ``predict`` cost beside the libraries that they stand on.

``python -m tests.benchmarks.beside`` prepares long and wide tables, and reads the same files with polars: ``read_csv`` and
``read_parquet`` of the whole file into memory, without streaming. It predicts 10,000 series of 50 steps, and computes the same
with onnxruntime alone: one thread, batches of 256, the table read and the answers written by polars.

Every figure is the median CPU seconds (user and system) of processes that take turns. The start of a process is measured
with a small file and stands apart.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from tests.benchmarks.scale import machine, measured
from tests.benchmarks.scale_cases import CASES

PIPELINE = (sys.executable, "-m", "pipeline")
TABLES = {  # dimensions of scale_cases, and a factor for their largest size
    "rows (.csv, long, 10 a series)": 2,
    "rows (.parquet, long, 10 a series)": 2,
    "columns (.csv, wide, 1,000 rows)": 2,
    "columns (.parquet, wide, 1,000 rows)": 1,
}
STEPS, LIMIT = 50, 600.0
MODEL = "data: {source: csv, path: own.csv}\nmodel: {hidden: 64}\ntrain: {epochs: 1, batch: 64}"
ALONE = """
import sys
import numpy as np, onnxruntime, polars as pl
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession("run/export/model.onnx", options, providers=["CPUExecutionProvider"])
values, lengths = (given.name for given in session.get_inputs())
table = pl.read_csv(sys.argv[1])
series = table.select("x", "y").to_numpy().astype(np.float32).reshape(-1, 50, 2)
pieces = [series[start : start + 256] for start in range(0, len(series), 256)]
logits = np.concatenate([session.run(None, {values: piece, lengths: np.full(len(piece), 50)})[0] for piece in pieces])
shares = np.exp(logits - logits.max(1, keepdims=True))
answers = pl.DataFrame(shares / shares.sum(1, keepdims=True))
answers.insert_column(0, table["id"][::50]).write_csv("alone.csv")
"""


def table(path: Path, series: int) -> None:
    """A long table of noise: series of STEPS steps of two channels, of four classes."""
    import numpy as np
    import polars as pl

    ids, steps = np.divmod(np.arange(series * STEPS), STEPS)
    values = np.random.default_rng(0).standard_normal((len(ids), 2)).round(5)
    pl.DataFrame({"id": ids, "time": steps, "label": ids % 4, "x": values[:, 0], "y": values[:, 1]}).write_csv(path)


def turns(folder: Path, commands: Mapping[str, Sequence[str]], count: int) -> dict[str, float]:
    """The median CPU seconds of each command, each run ``count`` times in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(count):
        for name, command in commands.items():
            shutil.rmtree(folder / "prepared", ignore_errors=True)
            seconds[name].append(measured(command, folder, 0, LIMIT).seconds)
    return {name: median(found) for name, found in seconds.items()}


def row(what: str, start: Mapping[str, float], whole: Mapping[str, float]) -> str:
    """Seconds of the start and of all, of this project and of the library, and the ratios of all and of what comes on top."""
    (ours, ours_start), (theirs, theirs_start) = ((whole[name], start[name]) for name in ("ours", "theirs"))
    top = f"{(ours - ours_start) / (theirs - theirs_start):.1f}" if theirs > theirs_start else "-"
    return f"| {what} | {ours_start:.2f}, {ours:.2f} | {theirs_start:.2f}, {theirs:.2f} | {ours / theirs:.1f} | {top} |"


def of_table(folder: Path, dimension: str, count: int, share: float) -> str:
    """The row of a table that is prepared, of a ``share`` of its size."""
    (case,) = (case for case in CASES if case.dimension == dimension)
    kind = "csv" if ".csv" in dimension else "parquet"
    found: list[dict[str, float]] = []
    for size in (case.sizes[0], int(case.sizes[-1] * TABLES[dimension] * share)):
        (folder / "own.yaml").write_text(f"track: {{backends: []}}\n{case.write(folder, size)}\n")
        ours = (*PIPELINE, "prepare", "--config", "own.yaml")
        theirs = (sys.executable, "-c", f"import polars; polars.read_{kind}('own.{kind}')")
        found.append(turns(folder, {"ours": ours, "theirs": theirs}, count))
    size_mb = (folder / f"own.{kind}").stat().st_size / 1e6
    return row(f"prepare, {dimension}, {size:,}, {size_mb:.0f} MB", *found)


def of_predictions(folder: Path, count: int, share: float) -> str:
    """The row of series that are predicted."""
    table(folder / "own.csv", 400)
    (folder / "own.yaml").write_text(f"run: {{dir: run}}\ntrack: {{backends: []}}\n{MODEL}\n")
    for command in (("prepare", "--config", "own.yaml"), ("train", "--config", "own.yaml"), ("export", "--run", "run")):
        measured((*PIPELINE, *command), folder, 0, LIMIT)
    (folder / "alone.py").write_text(ALONE)
    found: list[dict[str, float]] = []
    series = int(10_000 * share)
    for name, size in (("few.csv", 10), ("many.csv", series)):
        table(folder / name, size)
        ours = (*PIPELINE, "predict", "--model", "run/export", name, "--output", "predictions.csv")
        found.append(turns(folder, {"ours": ours, "theirs": (sys.executable, "alone.py", name)}, count))
    return row(f"predict, {series:,} series x {STEPS} x 2, hidden 64", *found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.beside", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", type=int, default=5, help="how often each is run (default: %(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="of the sizes, for a trial (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="WORD", help="what holds this word: prepare or predict, csv, wide ...")
    options = parser.parse_args(arguments)
    print(f"{machine()}; one thread of OpenMP.\n")
    print("| what | this: start, all | library: start, all | ratio of all | of what comes on top |\n|---|---|---|---|---|")
    for dimension in TABLES:
        if options.only in f"prepare, {dimension}":
            with tempfile.TemporaryDirectory() as folder:
                print(of_table(Path(folder), dimension, options.turns, options.share), flush=True)
    if options.only in "predict":
        with tempfile.TemporaryDirectory() as folder:
            print(of_predictions(Path(folder), options.turns, options.share))


if __name__ == "__main__":
    main()
