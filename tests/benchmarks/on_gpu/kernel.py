"""Our LSTM kernels for GPUs, held against float64 and against cuDNN: errors, and microseconds as a CUDA graph.

python -m tests.benchmarks.on_gpu.kernel [--only correct|short|long] [--json FILE]
"""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.model.gpu_lstm import choices, layer
from pipeline.model.gpu_lstm.choices import Choice, Scan, Sums
from tests.benchmarks.on_gpu.by_hand import DTYPES, graph_of
from tests.support.lstm_layer import exactly, example, shares

SECONDS = 60.0  # of timing, after which nothing more is begun
Run = Callable[[], object]


def cudnn(x: Tensor, weights: list[Tensor], dtype: torch.dtype) -> Tensor:
    """The same of cuDNN, without lengths."""
    directions, hidden = len(weights) // 4, weights[1].shape[1]
    zero = x.new_zeros(directions, x.shape[0], hidden, dtype=dtype)
    parts = [weight.to(dtype) for weight in weights]
    outputs: Tensor = torch.lstm(x.to(dtype), (zero, zero), parts, True, 1, 0.0, True, directions == 2, True)[0]
    return outputs


def errors(way: str, sizes: tuple[int, ...], dtype: torch.dtype, unequal: bool) -> dict[str, Any]:
    """The largest error of outputs and of each gradient, as a share of the largest value."""
    x, weights, lengths, grad = example(sizes, unequal)
    results = []
    for _ in range(2):
        mine = [leaf.cuda().requires_grad_() for leaf in (x, *weights)]
        if way.startswith("cudnn"):
            outputs = cudnn(mine[0], mine[1:], dtype)
        else:
            outputs = layer.lstm(mine[0], mine[1:], dtype, None if lengths is None else lengths.cuda())
        grads = torch.autograd.grad(outputs, mine, grad.cuda().to(dtype))
        results.append([value.detach().clone() for value in (outputs, *grads)])
    found = shares(results[0], exactly(sizes, unequal))
    same = all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    return {"outputs": found[0], "dx": found[1], "weights": max(found[2:]), "each": found, "same bits": same}


Task = tuple[str, tuple[int, ...], str, bool, Choice | None]  # way, sizes, dtype, unequal lengths, and what is chosen


def examples() -> Iterator[Task]:
    """What is held against float64."""
    cases = [
        ((64, 28, 28, 64, 1), False), ((37, 30, 28, 64, 2), True), ((21, 40, 1, 100, 1), False), ((130, 28, 28, 128, 2), True),
        ((64, 28, 128, 64, 2), False), ((5, 200, 12, 20, 1), True),
    ]  # fmt: skip
    for (sizes, unequal), (name, dtype) in itertools.product(cases, DTYPES.items()):
        if sizes[3] <= choices.LARGEST[dtype]:
            yield from ((way, sizes, name, unequal, None) for way in (["kernel"] if unequal else ["kernel", "cudnn"]))
    for name in ("fp32", "fp16"):
        for called, choice in variants(64, 64, DTYPES[name]):
            yield f"kernel {called}", (64, 28, 28, 64, 1), name, False, choice


def judged(task: Task) -> dict[str, Any]:
    """A row of an example."""
    way, sizes, name, unequal, choice = task
    layer.chosen = (lambda *_: choice) if choice else choices.choice
    row = {"part": "correct", "way": way, "sizes": sizes, "unequal": unequal, "dtype": name}
    return guarded(row, lambda: errors(way, sizes, DTYPES[name], unequal))


def compiled(task: Task) -> None:
    """Have the kernels of a case compiled, for the processes that come after."""
    way, sizes, name, _, _ = task
    if way != "cudnn":
        guarded({"compile": way, "sizes": sizes, "dtype": name}, lambda: run_once(task), quiet=True)


def run_once(task: Task) -> dict[str, Any]:
    """Forward and backward, of few series."""
    _, sizes, name, _, choice = task
    layer.chosen = lambda *_: choice
    x, weights, _, _ = example((64, min(32, sizes[1]), *sizes[2:]), False)
    mine = [weight.cuda().requires_grad_() for weight in weights]
    outputs = layer.lstm(x.cuda().expand(64, -1, -1), mine, DTYPES[name])
    torch.autograd.grad(outputs, mine, torch.ones_like(outputs))
    return {}


def guarded(row: dict[str, Any], work: Callable[[], dict[str, Any]], quiet: bool = False) -> dict[str, Any]:
    """A row with what the work found, or with its problem."""
    try:
        row |= work()
    except Exception as error:
        row["problem"] = f"{type(error).__name__}: {error}"[:600]
    if not quiet or "problem" in row:
        print(" ".join(f"{key}={short(value)}" for key, value in row.items() if key not in ("each", "part")), flush=True)
    return row


def short(value: object) -> str:
    """As it stands in a line."""
    if isinstance(value, float):
        return f"{value:.1f}" if value >= 1 else f"{value:.1e}"
    return str(value).replace(" ", "")


def microseconds(step: Run, seconds: float) -> float:
    """Of one replay of a graph."""
    replay = graph_of(step)
    one, other = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def of(number: int) -> float:
        one.record()
        for _ in range(number):
            replay()
        other.record()
        torch.cuda.synchronize()
        return float(one.elapsed_time(other)) * 1000 / number

    return min(of(max(2, int(seconds * 1e6 / 3 / of(3)))) for _ in range(3))


def timed(way: str, sizes: tuple[int, ...], dtype: torch.dtype, seconds: float) -> dict[str, Any]:
    """Microseconds of a forward pass, and of one with its backward pass; none of ``x``'s gradient."""
    x, weights, _, _ = example(sizes, False)
    x, mine = x.cuda(), [weight.cuda().requires_grad_() for weight in weights]
    if way == "cudnn":
        module = nn.LSTM(sizes[2], sizes[3], batch_first=True, bidirectional=sizes[4] == 2).cuda().to(dtype)
        narrow, leaves = x.to(dtype), list(module.parameters())
        forward: Callable[[], Tensor] = lambda: module(narrow)[0]  # noqa: E731
    else:
        leaves, forward = mine, lambda: layer.lstm(x, mine, dtype)
    grad = torch.ones_like(forward())
    ahead = microseconds(forward, seconds / 2)
    both = microseconds(lambda: torch.autograd.grad(forward(), leaves, grad), seconds)
    return {"forward": ahead, "backward": both - ahead, "total": both}


def variants(hidden: int, batch: int, dtype: torch.dtype) -> Iterator[tuple[str, Choice]]:
    """The choices worth a try, by name."""
    fused = (True, False)
    for rows, turned, warps in SCANS:
        heavy = rows == 64 and (hidden > 64 or dtype == torch.float32)
        if heavy or (rows > 16 and batch < 512) or (rows == 8 and batch > 2048):
            continue
        for one in fused if (rows, turned, warps) == SCANS[1] else (True,):
            scan = Scan(rows, turned, warps)
            name = f"{rows}{'t' if turned else ''}w{warps}{'' if one else ' unfused'}"
            yield name, Choice(scan, scan, Sums(), one)


SCANS = [
    (16, False, 4), (8, True, 4), (8, True, 8), (16, True, 4), (16, True, 8), (32, True, 8), (64, False, 8),
]  # fmt: skip


def parts(sizes: tuple[int, ...], dtype: torch.dtype) -> Iterator[tuple[str, Sums]]:
    """Choices of the weights' gradients."""
    for rows, columns, places, warps, stages, programs in (
        (64, 64, 64, 4, 3, 264), (64, 64, 32, 4, 3, 528), (128, 64, 32, 4, 3, 264), (128, 64, 32, 8, 3, 264),
        (64, 64, 32, 4, 2, 264),
    ):  # fmt: skip
        name = f"sums {rows}x{columns}x{places} w{warps} s{stages} p{programs}"
        yield name, Sums(rows, columns, places, warps, stages, programs)


def cases(steps: int) -> Iterator[tuple[int, ...]]:
    """B, T, F, H, D of what is measured."""
    for hidden in (64, 128):
        for batch in (64, 256, 1024, 4096) if steps == 28 else (64, 128, 512, 2048):
            yield batch, steps, 28 if steps == 28 else 1, hidden, 1
    if steps == 28:
        yield 64, 28, 28, 64, 2


def tasks(steps: int) -> Iterator[Task]:
    """What is measured; bf16, whose kernels do as much as fp16's, as it is chosen only."""
    for sizes, (name, dtype) in itertools.product(cases(steps), DTYPES.items()):
        yield "cudnn", sizes, name, False, None
        if sizes[3] > choices.LARGEST[dtype]:
            continue
        batch, _, features, hidden, directions = sizes
        best = choices.choice((batch, features, hidden, directions), dtype, 227 * 1024)
        yield "chosen", sizes, name, False, best
        if name != "bf16":
            yield from ((called, sizes, name, False, choice) for called, choice in variants(hidden, batch, dtype))
            if steps == 28 and hidden == 64 and batch in (64, 1024):
                for called, sums in parts(sizes, dtype):
                    yield called, sizes, name, False, Choice(best.forward, best.backward, sums, best.fused)


def kinds(some: list[Task]) -> list[Task]:
    """One of those that run the same kernels."""
    return list({(way, sizes[2:], sizes[1] > 32, name, choice): (way, sizes, name, unequal, choice)
                 for way, sizes, name, unequal, choice in some}.values())  # fmt: skip


def measured(some: list[Task], began: float, seconds: float) -> Iterator[dict[str, Any]]:
    """A row for each case and way."""
    for way, sizes, name, _, choice in some:
        if time.perf_counter() - began > SECONDS:
            return
        layer.chosen = (lambda *_, choice=choice: choice) if choice else choices.choice
        one = "cudnn" if choice is None else "kernel"
        yield guarded({"part": "time", "way": way, "sizes": sizes, "dtype": name},
                      lambda one=one, sizes=sizes, name=name: timed(one, sizes, DTYPES[name], seconds))  # fmt: skip


def main() -> None:
    """Measure, print, and write the JSON, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["correct", "short", "long"], nargs="*", default=["correct", "short", "long"])
    parser.add_argument("--seconds", type=float, default=0.02)
    parser.add_argument("--json", type=Path, default=Path(os.environ.get("OUT", "."), "kernel.json"))
    asked = parser.parse_args()
    began, rows = time.perf_counter(), []
    found = {"torch": torch.__version__, "device": torch.cuda.get_device_name()}
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    short, long = (list(tasks(steps)) if name in asked.only else [] for steps, name in ((28, "short"), (784, "long")))
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(max(2, min(15, os.cpu_count() or 2)), spawn) as pool:
        checks = [pool.submit(judged, task) for task in examples()] if "correct" in asked.only else []
        compilations = [pool.submit(compiled, task) for task in kinds([*short, *long])]
        rows = [check.result() for check in checks]
        concurrent.futures.wait(compilations)
    print(f"compiled and compared after {time.perf_counter() - began:.0f} s", flush=True)
    began = time.perf_counter()
    for row in measured([*short, *long], began, asked.seconds):
        rows.append(row)
        asked.json.write_text(json.dumps({**found, "rows": rows}))
    asked.json.write_text(json.dumps({**found, "rows": rows}))
    print(f"{len(rows)} rows; timed in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
