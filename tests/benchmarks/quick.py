"""``make bench``: what a step of the pipeline costs beside a bare loop that takes the same step. Under a minute.

All contenders run in this process and take turns every few steps, so that a noisy neighbour hits them alike.
Read the ratios, each between two loops that ran side by side. The samples/s are those of this machine, now.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import Tensor, nn
from torch.nn import functional

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.data.manifest import Manifest
from pipeline.data.prepared import Prepared
from pipeline.data.store import ON_CPU, Part, Store
from pipeline.distributed import world
from pipeline.model.classifier import RecurrentClassifier
from pipeline.stages.assembly import slices_of
from pipeline.training import optim
from pipeline.training.loop import Report, train
from pipeline.training.state import State, make_state

# the work of the MNIST LSTM tutorial, which configs/mnist_seed.yaml states
BATCH, HIDDEN, CLASSES, RATE, SEED = 64, 64, 10, 0.01, 0
BUDGET = 50  # seconds; a repeat that would end later is not begun
TURN, WARMUP = 25, 3  # steps that are timed before it is the next one's turn, after some that are not
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Contender:
    """``steps(accelerator)`` goes on training where it left off, a step an item; ``limit`` names whom it is held against."""

    name: str
    limit: str
    precision: Precision
    steps: Callable[[Accelerator], Iterator[Any]]


@dataclass(frozen=True)
class Result:
    """One contender: samples/s of each repeat, and how many times its limit's step its own took in the same repeat."""

    name: str
    limit: str
    samples_per_second: list[float]
    cost: list[float]


class Bare(nn.Module):
    """The MNIST LSTM tutorial's model without anything around it."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B, C)."""
        logits: Tensor = self.head(self.lstm(x)[0][:, -1])
        return logits


def synthetic() -> Part:
    """Noise of MNIST's size, shape and share of black pixels, from a seed."""
    random = torch.Generator().manual_seed(SEED)
    values = torch.randint(0, 256, (60_000, 28, 28), dtype=torch.uint8, generator=random)
    ink = torch.randint(0, 5, values.shape, dtype=torch.uint8, generator=random) == 0
    return Part(values * ink, torch.randint(0, CLASSES, (60_000,), generator=random), torch.arange(60_000))


def read(folder: Path) -> Part:
    """The training split of a prepared folder."""
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    return Prepared(folder, manifest, "").part("train")


def bare(part: Part, precision: Precision = "fp32") -> Contender:
    """The limit: a loop over tensors in memory that does nothing but what a step is."""
    values, labels, count = part.values.clone(), part.labels.clone(), len(part.labels)
    torch.manual_seed(SEED)
    model = Bare(values.shape[2])
    descent = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)

    def loop() -> Iterator[Tensor]:
        while True:
            order = torch.randperm(count)
            for start in range(0, count - BATCH + 1, BATCH):
                rows = order[start : start + BATCH]
                x, y = values.index_select(0, rows), labels.index_select(0, rows)  # four times as fast as values[rows]
                with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
                    logits = model(x.float() / 255)
                loss = functional.cross_entropy(logits.float(), y)
                loss.backward()
                descent.step()
                descent.zero_grad()
                yield loss

    forever = loop()
    return Contender(f"bare loop, {precision}", "bare loop, fp32", precision, lambda _: forever)


def pipeline(
    part: Part, precision: Precision = "fp32", shards: int = 0, cpu_lstm: Literal["auto", "torch"] = "auto"
) -> Contender:
    """``engine.train`` as stages/train.py sets it up, on one process."""
    settings = config.Train(batch=BATCH, epochs=10**6, precision=precision, gradient_shards=shards, cpu_lstm=cpu_lstm)
    descent = config.Optim(name="adam", lr=RATE)
    torch.manual_seed(SEED)
    model = RecurrentClassifier(part.values.shape[2], CLASSES, hidden=HIDDEN)
    model.set_normalization(torch.zeros(part.values.shape[2]), torch.full((part.values.shape[2],), 1 / 255))
    slices, mine = slices_of(settings, 0, 1)
    batches = Batches(Store(part, torch.device("cpu"), ON_CPU), BATCH, slices, mine, SEED)
    state: list[State] = []

    def steps(accelerator: Accelerator) -> Iterator[Report]:
        if not state:
            state.append(make_state(model, optim.make_optimizer(model, descent), settings, accelerator))
        return train(state[0], batches, settings, descent, SEED)

    mode = f"exact mode, V = {shards}, " if shards else "torch's LSTM, " if cpu_lstm == "torch" else ""
    return Contender(f"pipeline, {mode}{precision}", f"bare loop, {precision}", precision, steps)


@contextmanager
def alone(precision: Precision) -> Iterator[Accelerator]:
    """The world that a stage makes for one process on a CPU; what Accelerate leaves behind is put back."""
    environment = dict(os.environ)
    os.environ["ACCELERATE_USE_CPU"] = "true"
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    try:
        with world.world(config.Run(), precision) as accelerator:
            yield accelerator
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        os.environ.clear()
        os.environ.update(environment)


def seconds(contender: Contender, steps: int) -> float:
    """The time that the contender's next ``steps`` steps take, after some to warm up."""
    with alone(contender.precision) as accelerator:
        running = contender.steps(accelerator)
        deque(islice(running, WARMUP), maxlen=0)
        start = perf_counter()
        deque(islice(running, steps), maxlen=0)
        return perf_counter() - start


def repeat(contenders: list[Contender], steps: int) -> dict[str, float]:
    """The time that ``steps`` steps take each of them, in turns, every second one in the opposite order."""
    total = dict.fromkeys((contender.name for contender in contenders), 0.0)
    for turn, first in enumerate(range(0, steps, TURN)):
        for contender in contenders[:: -1 if turn % 2 else 1]:
            total[contender.name] += seconds(contender, min(TURN, steps - first))
    return total


def race(contenders: list[Contender], steps: int, repeats: int) -> list[Result]:
    """Measure all of them ``repeats`` times, or fewer where time runs out, after a turn that builds kernels."""
    start = last = perf_counter()
    repeat(contenders, min(TURN, steps))
    times: list[dict[str, float]] = []
    while len(times) < repeats and (not times or 2 * perf_counter() - last - start < BUDGET):
        last = perf_counter()
        times.append(repeat(contenders, steps))
    return [
        Result(
            contender.name,
            contender.limit,
            [steps * BATCH / taken[contender.name] for taken in times],
            [taken[contender.name] / taken[contender.limit] for taken in times],
        )
        for contender in contenders
    ]


def contenders(part: Part) -> list[Contender]:
    """All that this machine can run; bf16 only where the processor has it."""
    found = [bare(part), pipeline(part), pipeline(part, cpu_lstm="torch"), pipeline(part, shards=4)]
    if torch.cpu._is_avx512_bf16_supported():
        found += [bare(part, "bf16"), pipeline(part, "bf16")]
    return found


def help_seconds(repeats: int = 5) -> list[float]:
    """How long ``python -m pipeline --help`` takes, each time."""
    times = []
    for _ in range(repeats):
        start = perf_counter()
        subprocess.run([sys.executable, "-m", "pipeline", "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(perf_counter() - start)
    return times


def machine() -> dict[str, str | int | None]:
    """What the figures are of."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return {"processor": name, "cores": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__}


def table(results: list[Result]) -> str:
    """The results as text, a line a contender."""
    lines = [f"{'':<32}  {'samples/s':>26}  {'step, times the bare one':>26}", f"{'':<32}" + f"  {'median (min..max)':>26}" * 2]
    for result in results:
        speed, cost = result.samples_per_second, result.cost
        first = f"{median(speed):,.0f} ({min(speed):,.0f}..{max(speed):,.0f})"
        lines.append(f"{result.name:<32}  {first:>26}  {f'{median(cost):.3f} ({min(cost):.3f}..{max(cost):.3f})':>26}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run, print, and write a JSON file if asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.quick", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=150, help="steps a measurement (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each contender (default: %(default)s)")
    parser.add_argument("--prepared", type=Path, metavar="FOLDER", help="a prepared folder; default: noise of MNIST's shape")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured here")
    options = parser.parse_args(arguments)
    if options.steps < 1 or options.repeats < 1:
        parser.error("--steps and --repeats must be at least 1")

    about, data = machine(), str(options.prepared or "noise of MNIST's size and shape")
    print(f"{about['processor']}, {about['cores']} cores, torch {about['torch']}; data: {data}")
    results = race(contenders(read(options.prepared) if options.prepared else synthetic()), options.steps, options.repeats)
    helped, made = help_seconds(), len(results[0].cost)
    print(f"LSTM 28->{HIDDEN}, batch {BATCH}, Adam, one thread; {made} x {options.steps} steps each, in turns\n")
    print(table(results))
    print("\na bf16 step of the pipeline is held against a bf16 bare loop, and that one against the fp32 one")
    print(f"python -m pipeline --help: {median(helped):.2f} s ({min(helped):.2f}..{max(helped):.2f})")
    if options.json:
        record = {"machine": about, "data": data, "steps": options.steps, "batch": BATCH, "help_seconds": helped}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record | {"contenders": [asdict(result) for result in results]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
