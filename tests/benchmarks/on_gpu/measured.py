"""Steps as they are taken and timed, and whole trainings."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from accelerate.state import AcceleratorState, GradientState

from pipeline import config
from pipeline.data.prepared import Prepared
from pipeline.data.store import Store, resident_limit
from pipeline.stages import assembly, job
from pipeline.training import evaluation, loop
from pipeline.training.state import State, recurrent_dtype
from tests.benchmarks.on_gpu.by_hand import Step, by_hand, cudnn_alone
from tests.benchmarks.on_gpu.cases import Case

BLOCKS = 5  # of which the median counts
WARMUP = 40  # steps, with the capture among them


def settled(folder: Path, file: str, overrides: list[str]) -> config.Config:
    """A configuration whose data is MNIST of ``folder``, prepared there."""
    own = [f"data.root={folder}", f"data.prepared={folder}/prepared", "track.backends=[]"]
    return config.load(file, [*own, *overrides])


@contextmanager
def training(settings: config.Config) -> Iterator[tuple[Prepared, State, Iterator[loop.Report]]]:
    """The reports of a training, and what it changes."""
    AcceleratorState._reset_state(reset_partial_state=True)  # type: ignore[no-untyped-call]
    GradientState._reset_state()  # type: ignore[no-untyped-call]
    with job.meet(settings) as accelerator:
        prepared = job.ready(settings.data)
        slices, mine = assembly.slices_of(settings.train, 0, 1)
        state = assembly.make_state(settings, prepared, accelerator)
        limit = resident_limit(settings.data.resident_limit_mb, accelerator.device)
        store = Store(prepared.part("train"), accelerator.device, limit)
        batches = assembly.make_batches(settings, prepared, store, slices, mine)
        reports = loop.train(state, batches, settings.train, settings.optim, settings.run.seed)
        yield prepared, state, reports
        reports.close()  # type: ignore[attr-defined]


def seconds_of(step: Step, seconds: float) -> float:
    """The seconds of one step: the median of blocks that take ``seconds`` together."""
    for _ in range(WARMUP):
        step()
    torch.cuda.synchronize()
    blocks, number = [], 20
    for block in range(BLOCKS + 1):
        start = time.perf_counter()
        for _ in range(number):
            step()
        torch.cuda.synchronize()
        blocks.append((time.perf_counter() - start) / number)
        if not block:
            number = max(5, int(seconds / BLOCKS / blocks[0]))
    return median(blocks[1:])


@contextmanager
def step_of(case: Case, folder: Path) -> Iterator[tuple[Step, str]]:
    """The step of a case, and the format that its recurrent layers compute in, where the pipeline says so."""
    settings = settled(folder, "configs/mnist_seed.yaml", [*case.overrides, "train.epochs=1000000", "train.log_every=1000000"])
    if case.way in ("graph", "kernel by kernel"):
        with training(settings) as (_, state, reports):
            yield lambda: next(reports), str(recurrent_dtype(state)).removeprefix("torch.")
        return
    with job.meet(settings) as accelerator:
        limit = resident_limit(settings.data.resident_limit_mb, accelerator.device)
        store = Store(job.ready(settings.data).part("train"), accelerator.device, limit)
        yield (cudnn_alone if case.way == "cuDNN alone" else by_hand)(case, store), ""


def measured(case: Case, folder: Path, seconds: float) -> dict[str, Any]:
    """A row of the table."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    with step_of(case, folder) as (step, dtype):
        taken = seconds_of(step, seconds)
        peak = torch.cuda.max_memory_allocated() - before
    gc.collect()
    rate = case.batch / taken
    return {"name": case.name, "us": taken * 1e6, "samples_per_second": rate, "peak_mb": peak / 2**20, "dtype": dtype}


def run(settings: config.Config, looks: int) -> dict[str, Any]:
    """A whole training, looked at ``looks`` times: seconds of training so far, and accuracy on the test split.

    The first step, the warm-up and the capture count as training. What does not: making the model, reading the data, and
    the evaluations. Step i of the curve is [step, seconds, accuracy].
    """
    with training(settings) as (prepared, state, reports):
        test = Store(prepared.part("test"), torch.device("cuda"), 4096)
        every, curve, spent = None, [], 0.0
        torch.cuda.synchronize()
        start = time.perf_counter()
        for report in reports:
            if every is None:
                steps = settings.train.epochs * -(-prepared.manifest.parts["train"].count // settings.train.batch)
                every = max(1, steps // looks)
            if report.step % every == 0 or report.step == steps:
                state.check()
                torch.cuda.synchronize()
                spent += time.perf_counter() - start
                rows = evaluation.evaluate(state.best_model, test)
                state.forward.train()
                curve.append([report.step, spent, float((rows.predictions == rows.labels).mean())])
                print(f"    step {report.step}: {curve[-1][2]:.4f} after {spent:.3f} s", flush=True)
                torch.cuda.synchronize()
                start = time.perf_counter()
    return {"curve": curve, "seconds": spent, "accuracy": curve[-1][2]}


def kernels(case: Case, folder: Path, number: int = 20) -> list[tuple[str, float, float]]:
    """What a step of a case launches: name, microseconds a step, launches a step; the longest first."""
    with step_of(case, folder) as (step, _):
        for _ in range(WARMUP):
            step()
        torch.cuda.synchronize()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for _ in range(number):
                step()
            torch.cuda.synchronize()
    found = [(row.key, row.self_device_time_total / number, row.count / number) for row in profile.key_averages()]
    return sorted((row for row in found if row[1]), key=lambda row: -row[1])
