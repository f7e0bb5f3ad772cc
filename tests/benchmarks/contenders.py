"""Who takes part in ``make bench-full``, and against whom each is held."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from tests.benchmarks.peers.task import Precision, Source


@dataclass(frozen=True)
class Contender:
    """``name`` in the table; ``peer``: its module in peers/; ``limit``: the name of the loop that it is held against;
    ``needs``: the package it is about; ``sources``: the ways of reading examples that its users write; ``once``: it takes
    the same steps as another loop at another speed, so its time to an accuracy is taken in one repeat only;
    ``settings``: the pipeline's own."""

    name: str
    peer: str
    limit: str
    needs: str = "torch"
    sources: tuple[Source, ...] = ("tensors",)
    processes: int = 1
    precision: Precision = "fp32"
    once: bool = False
    settings: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """Why it cannot take part here; empty if it can."""
        if find_spec(self.needs) is None:
            return "not installed"
        return "no bf16 in this processor" if self.precision == "bf16" and not has_bf16() else ""


@dataclass(frozen=True)
class Variant:
    """A contender with a number of threads a process, and a way of reading examples. Its best one counts."""

    contender: Contender
    threads: int
    source: Source

    def __str__(self) -> str:
        """As the table shows it."""
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{threads}, {self.source}" if len(self.contender.sources) > 1 else threads


BARE, BARE_BF16 = "bare loop, fp32", "bare loop, bf16"
DDP, DDP_BF16 = "bare DDP loop, 2 processes, fp32", "bare DDP loop, 2 processes, bf16"
CONTENDERS = (
    Contender(BARE, "bare", BARE),
    Contender(BARE_BF16, "bare", BARE_BF16, precision="bf16", once=True),
    Contender(DDP, "bare", DDP, processes=2, once=True),
    Contender(DDP_BF16, "bare", DDP_BF16, processes=2, precision="bf16", once=True),
    Contender("MNIST LSTM tutorial", "tutorial", BARE, "torchvision", ("torchvision",)),
    Contender("Accelerate's example", "accelerate_example", BARE, "accelerate", ("torchvision", "tensors"), once=True),
    Contender("Lightning", "lightning_example", BARE, "lightning", ("torchvision", "tensors"), once=True),
    Contender("Keras 3 on torch", "keras_example", BARE, "keras", once=True),
    Contender("skorch", "skorch_example", BARE, "skorch", once=True),
    Contender("this pipeline, fp32", "pipeline_stage", BARE),
    Contender("this pipeline with torch's LSTM, fp32", "pipeline_stage", BARE, once=True, settings=("train.cpu_lstm=torch",)),
    Contender("this pipeline, bf16", "pipeline_stage", BARE_BF16, precision="bf16"),
    Contender("this pipeline, 2 processes, fp32", "pipeline_stage", DDP, processes=2),
    Contender("this pipeline, 2 processes, bf16", "pipeline_stage", DDP_BF16, processes=2, precision="bf16"),
)


def variants(contender: Contender) -> list[Variant]:
    """One thread, and what PyTorch takes by itself: as many as there are cores. A launcher gives each process one."""
    threads = (1,) if contender.processes > 1 else tuple(dict.fromkeys((1, len(os.sched_getaffinity(0)))))
    return [Variant(contender, number, source) for number, source in product(threads, contender.sources)]


def has_bf16() -> bool:
    """Whether the processor has instructions for bf16; without, it is slower than fp32."""
    flags = Path("/proc/cpuinfo").read_text()
    return "avx512_bf16" in flags or "amx_bf16" in flags
