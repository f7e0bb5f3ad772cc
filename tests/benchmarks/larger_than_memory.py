"""What preparing and training cost in memory and speed where the data is not held in memory.

``python -m tests.benchmarks.larger_than_memory GB`` writes that much of noise as an .npz file, prepares it and trains one
epoch by the command line, with the page cache emptied of the data before. It prints the greatest sum of anonymous memory
(RssAnon of /proc) over all processes of each command, and the samples/s of training beside those of the same steps on the
same data held in memory. It needs twice GB of memory, for the comparison alone, and four times GB of disk.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.data.prepared import open_prepared
from pipeline.data.store import Part, Store
from pipeline.stages.assembly import make_model, slices_of
from pipeline.training import loop, optim
from pipeline.training.state import make_state
from tests.benchmarks.quick import alone

CHANNELS, LEAST, MOST, BLOCK = 8, 64, 192, 2**14  # steps of a series; series that are made at a time
ROOT = Path(__file__).parents[2]
SETTINGS = """\
data: {source: npz, path: series.npz, validation: 0.01, test: 0.01}
model: {hidden: 32, pooling: mean}
optim: {lr: 0.003}
train: {epochs: 1, batch: 256, bucket: true, log_every: 20}
track: {backends: []}
"""


def write(path: Path, gigabytes: float) -> int:
    """Series of unequal lengths, of four classes that differ in the mean of a channel, written as a stream; how many."""
    count = max(400, int(gigabytes * 2**30 / (CHANNELS * 4 * (LEAST + MOST) / 2)))
    random = np.random.Generator(np.random.PCG64(0))
    lengths, labels = random.integers(LEAST, MOST + 1, count), random.integers(0, 4, count)
    header = {"descr": "<f4", "fortran_order": False, "shape": (int(lengths.sum()), CHANNELS)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in (("lengths", lengths), ("labels", labels)):
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{name}.npy", content.getvalue())
        with archive.open("values.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_2_0(file, header)
            for start in range(0, count, BLOCK):
                steps = lengths[start : start + BLOCK]
                values = random.standard_normal((int(steps.sum()), CHANNELS), np.float32)
                values[:, 0] += 0.3 * np.repeat(labels[start : start + BLOCK], steps)
                file.write(values.tobytes())
    return count


def anonymous(root: int) -> int:
    """The anonymous memory, in bytes, of a process and all below it, now."""
    children: dict[int, list[int]] = {}
    held: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        except OSError:
            continue  # it has ended
        children.setdefault(int(lines["PPid"]), []).append(int(folder.name))
        held[int(folder.name)] = int(lines.get("RssAnon", "0 kB").split()[0]) * 1024
    total, waiting = 0, [root]
    while waiting:
        process = waiting.pop()
        total += held.get(process, 0)
        waiting += children.get(process, [])
    return total


def watched(command: list[str], folder: Path) -> tuple[float, int]:
    """Run a command to its end: the seconds it took, and the greatest sum of anonymous memory of all its processes."""
    start, most = time.perf_counter(), 0
    with (folder / "output.txt").open("w") as output:
        job = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        while job.poll() is None:
            most = max(most, anonymous(job.pid))
            time.sleep(0.02)
    if job.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{(folder / 'output.txt').read_text()}")
    return time.perf_counter() - start, most


def forget(folder: Path) -> None:
    """Drop the files below ``folder`` from the page cache."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def in_memory(part: Part) -> Part:
    """The same part, in anonymous memory, as one tensor."""
    return replace(part, values=torch.cat([part.values, *part.rest]), rest=())


def rate(settings: config.Config, steps: int) -> float:
    """Samples/s of the first ``steps`` training steps, in this process, on data that is held in memory."""
    prepared = open_prepared(settings.data, verify=())
    store = Store(in_memory(prepared.part("train")), torch.device("cpu"), 2**20)
    slices, mine = slices_of(settings.train, 0, 1)
    batches = Batches(store, settings.train.batch, slices, mine, settings.run.seed, bucket=settings.train.bucket)
    model = make_model(settings, prepared)

    def some() -> Iterator[loop.Report]:
        with alone("fp32") as accelerator:
            state = make_state(model, optim.make_optimizer(model, settings.optim), settings.train, accelerator)
            for report in loop.train(state, batches, settings.train, settings.optim, 0):
                yield report
                if report.step == steps:
                    return

    running = some()
    next(running)
    start = time.perf_counter()
    deque(running, maxlen=0)
    return (min(steps, batches.steps_per_epoch) - 1) * settings.train.batch / (time.perf_counter() - start)


def measure(folder: Path, gigabytes: float) -> dict[str, Any]:
    """All figures, in bytes, seconds and samples/s."""
    count = write(folder / "series.npz", gigabytes)
    (folder / "large.yaml").write_text(SETTINGS)
    command = [sys.executable, "-m", "pipeline"]
    prepare_seconds, prepare_bytes = watched([*command, "prepare", "--config", "large.yaml"], folder)
    forget(folder)
    train_seconds, train_bytes = watched([*command, "train", "--config", "large.yaml"], folder)
    records = [json.loads(line) for line in (folder / "runs/large/metrics.jsonl").read_text().splitlines()]
    rates = [record["train/samples_per_second"] for record in records if "train/samples_per_second" in record]
    os.chdir(folder)
    settings = config.load("large.yaml")
    steps = max(record["step"] for record in records)
    return {
        "bytes": (folder / "series.npz").stat().st_size,
        "series": count,
        "prepare": {"seconds": prepare_seconds, "anonymous_bytes": prepare_bytes},
        "train": {"seconds": train_seconds, "anonymous_bytes": train_bytes, "samples_per_second": median(rates)},
        "first_samples_per_second": rates[0],
        "in_memory_samples_per_second": rate(settings, steps),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write a JSON file if asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.larger_than_memory", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("gigabytes", type=float, metavar="GB", help="size of the data")
    parser.add_argument("--folder", type=Path, help="where to put it; default: the folder for temporary files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured here")
    options = parser.parse_args(arguments)
    if not options.gigabytes > 0:
        parser.error("GB must be more than 0")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = measure(Path(folder), options.gigabytes)
    speed, limit = found["train"]["samples_per_second"], found["in_memory_samples_per_second"]
    print(f"{found['series']:,} series, {found['bytes'] / 2**30:.2f} GB")
    for name in ("prepare", "train"):
        used = found[name]
        print(f"{name:8} {used['seconds']:7.1f} s, at most {used['anonymous_bytes'] / 2**20:,.0f} MB of anonymous memory")
    print(f"training {speed:,.0f} samples/s; in memory {limit:,.0f}; {speed / limit:.2f} of it")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
