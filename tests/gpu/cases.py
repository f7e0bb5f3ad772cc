"""The configurations whose steps are pinned, what they did last time, and what they do now.

python -m tests.gpu.cases            # what is other than pinned
python -m tests.gpu.cases --write    # ... and pin what is now, here and in the table of docs/gpus.md
"""

from __future__ import annotations

import argparse
import difflib
import importlib.metadata
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tests.gpu.rehearse import rehearsed
from tests.support.launching import ROOT

VERSION = ".".join(importlib.metadata.version("torch").split(".")[:2])
PINS = Path(__file__).parent / f"torch-{VERSION}.json"  # each torch has kernels of its own
PAGE, BEGIN, END = ROOT / "docs/gpus.md", "<!-- by python -m tests.gpu.cases --write -->\n", "<!-- end -->\n"
UNEQUAL = "data.source=csv data.path={series} data.prepared={series}-prepared optim.clip=1"
LONE = {  # of one process
    "fp32": "",
    "graph": "train.cuda_graph=auto",
    "graph, EMA": "train.cuda_graph=auto train.ema=0.99",
    "graph, bf16": "train.cuda_graph=auto train.precision=bf16",
    "graph, fp16": "train.cuda_graph=auto train.precision=fp16",
    "graph, two layers, dropout, EMA": "train.cuda_graph=auto model.layers=2 model.dropout=0.2 train.ema=0.99",
    "graph, shift and warp": "train.cuda_graph=auto data.shift=1 data.rotate=10 data.elastic=1",
    "graph, accumulate 4": "train.cuda_graph=auto train.accumulate=4",
    "graph, exact, 8 shards": "train.cuda_graph=auto train.gradient_shards=8",
    "graph, memory-mapped": "train.cuda_graph=auto data.resident_limit_mb=0",
    "graph, unequal lengths": f"{UNEQUAL} train.cuda_graph=auto model.bidirectional=true model.pooling=mean",
    "graph, fp16, two layers, dropout": "train.cuda_graph=auto train.precision=fp16 model.layers=2 model.dropout=0.2",
    "graph, fp16, memory-mapped": "train.cuda_graph=auto train.precision=fp16 data.resident_limit_mb=0",
    "graph, fp16, unequal lengths": f"{UNEQUAL} train.cuda_graph=auto train.precision=fp16",
    "graph, convolutions, batch normalisation": "train.cuda_graph=auto model.conv=16 model.conv_norm=batch",
    "convolutions": "model.conv=16",
    "convolutions, batch normalisation": "model.conv=16 model.conv_norm=batch",
    "one direction, last, no clip": "model.bidirectional=false model.pooling=last optim.clip=0",
    "gru, max": "model.cell=gru model.pooling=max",
    "bf16": "train.precision=bf16",
    "fp16": "train.precision=fp16",
    "two layers, dropout, EMA": "model.layers=2 model.dropout=0.2 train.ema=0.99",
    "attention, layer_norm, projection": "model.pooling=attention model.layer_norm=true model.projection=16",
    "shift": "data.shift=1",
    "warp": "data.rotate=10 data.elastic=1",
    "shift and warp": "data.shift=1 data.rotate=10 data.elastic=1",
    "balanced class weights, sgd": "train.class_weights=balanced optim.name=sgd",
    "memory-mapped": "data.resident_limit_mb=0",
    "accumulate 4": "train.accumulate=4",
    "exact, 8 shards": "train.gradient_shards=8",
    "unequal lengths, mean": f"{UNEQUAL} model.bidirectional=true model.pooling=mean",
    "unequal lengths, last": f"{UNEQUAL} model.bidirectional=true model.pooling=last",
    "unequal lengths, buckets, memory-mapped": f"{UNEQUAL} train.bucket=true data.resident_limit_mb=0",
    "unequal lengths, augmented": f"{UNEQUAL} data.jitter=0.1 data.scaling=0.1 data.time_warp=0.1 data.crop=0.1",
    "skip on_nonfinite": "train.on_nonfinite=skip",
    "hidden 160": "model.hidden=160",
    "hidden 256, fp16": "model.hidden=256 train.precision=fp16",
    "bf16, two layers of gru, layer_norm": "train.precision=bf16 model.cell=gru model.layers=2 model.layer_norm=true",
    "bf16, rnn, attention, projection": "train.precision=bf16 model.cell=rnn model.pooling=attention model.projection=16",
    "fp16, exact, 4 shards": "train.precision=fp16 train.gradient_shards=4 model.pooling=max",
    "fp16, unequal lengths, dropout": f"{UNEQUAL} train.precision=fp16 model.head_dropout=0.2",
    "deterministic": "run.deterministic=true",
}
TWO = {  # of two
    "fp32": "",
    "bf16": "train.precision=bf16",
    "fp16": "train.precision=fp16",
    "graph": "train.cuda_graph=auto",
    "graph, fp16": "train.cuda_graph=auto train.precision=fp16",
    "graph, exact, 8 shards": "train.cuda_graph=auto train.gradient_shards=8",
    "graph, convolutions, batch normalisation": "train.cuda_graph=auto model.conv=16 model.conv_norm=batch",
    "exact, 8 shards": "train.gradient_shards=8",
    "unequal lengths, buckets": f"{UNEQUAL} train.bucket=true",
}


def series(path: Path) -> Path:
    """A table of 240 series of 5 to 40 steps and 3 channels, of 4 classes."""
    random = np.random.default_rng(0)
    lines = ["id,time,a,b,c,label"]
    for number, steps in enumerate(random.integers(5, 41, 240)):
        values = random.normal(size=(steps, 3)).round(3).tolist()
        lines += [f"s{number},{step},{a},{b},{c},{'wxyz'[number % 4]}" for step, (a, b, c) in enumerate(values)]
    if not path.exists():
        path.write_text("\n".join(lines))
    return path


def pinned(step: dict[str, Any]) -> dict[str, Any]:
    """What is pinned of a step: no line of the program, which moves, and no name of a kernel, which is torch's own."""
    waits: Counter[str] = Counter()
    for place, count in step["waits"].items():
        call, file, *_, function = place.replace(" @ ", " ").replace(":", " ").split()
        waits[f"{call} in {file} {function}"] += count
    named = ("launches", "fills", "copies", "weight_calls", "descriptors", "collectives", "graphs", "captured", "illegal")
    return {name: step[name] for name in named} | {"waits": dict(waits)}


def measure(processes: int) -> dict[str, Any]:
    """What a step of each case does, as it is pinned."""
    steps = rehearsed("cases", processes=processes)
    return {name: pinned(step) for name, step in steps.items()}


def table(pins: dict[str, Any]) -> str:
    """The pins as Markdown: a line for each case."""
    names = ("configuration", "launches", "fills", "copies", "waits", "library calls", "graph nodes")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for number, cases in pins.items():
        for name in LONE if number == "1" else TWO:
            step = cases[name]
            waits, copies = sum(step["waits"].values()), sum(step["copies"].values())
            nodes = ", ".join(map(str, step["captured"])) or "-"
            numbers = step["launches"], step["fills"], copies, waits, f"{step['weight_calls']:,}", nodes
            where = "" if number == "1" else f"{number} processes: "
            lines.append(f"| {where}{name} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines) + "\n"


def text(pins: dict[str, Any]) -> str:
    """The content of the file of pins: a line for each number of a case, so that a difference is easily read."""
    return json.dumps(pins, indent=1, sort_keys=True) + "\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="compare what steps do with what is pinned")
    parser.add_argument("--write", action="store_true", help="pin what they do now")
    asked = parser.parse_args()
    before, now = PINS.read_text() if PINS.exists() else "", text({str(number): measure(number) for number in (1, 2)})
    sys.stdout.writelines(difflib.unified_diff(before.splitlines(True), now.splitlines(True), "pinned", "now", n=100))
    if asked.write:
        PINS.write_text(now)
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}{table(json.loads(now))}{END}{rest.partition(END)[2]}")
    elif before != now:
        sys.exit("these steps do other things than pinned; if they should: python -m tests.gpu.cases --write")


if __name__ == "__main__":
    main()
