"""What is measured: models, batches, number formats, and ways of taking a step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]
Way = Literal["graph", "kernel by kernel", "by hand, graph", "by hand", "cuDNN alone"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Case:
    """A step on ``batch`` examples of MNIST, of 28 rows or of 784 pixels."""

    hidden: int
    batch: int
    precision: Precision
    way: Way
    steps: int = 28
    layers: int = 1
    bidirectional: bool = False  # then its outputs are averaged over the steps, else the last one counts

    @property
    def name(self) -> str:
        """As ``--only`` and the table have it."""
        directions = "2 directions, " if self.bidirectional else ""
        return f"T {self.steps}, {self.layers} x {self.hidden}, {directions}batch {self.batch}, {self.precision}, {self.way}"

    @property
    def overrides(self) -> list[str]:
        """The configuration of the pipeline's own step."""
        graph = "auto" if self.way == "graph" else "off"
        pooling = "mean" if self.bidirectional else "last"
        return [
            f"data.view={'rows' if self.steps == 28 else 'pixels'}",
            f"model.hidden={self.hidden}",
            f"model.layers={self.layers}",
            f"model.bidirectional={str(self.bidirectional).lower()}",
            f"model.pooling={pooling}",
            f"train.batch={self.batch}",
            f"train.precision={self.precision}",
            f"train.cuda_graph={graph}",
        ]


def cases() -> Iterator[Case]:
    """All of them, the pipeline's step beside those that it is held against."""
    for batch in (64, 256, 1024, 4096, 8192):
        for hidden in (64, 128, 160, 256, 512):
            yield from (Case(hidden, batch, precision, "graph") for precision in PRECISIONS)
            if hidden != 160 and batch in (64, 1024, 8192):
                yield from (Case(hidden, batch, precision, "by hand, graph") for precision in PRECISIONS[:2])
                yield from (Case(hidden, batch, precision, "cuDNN alone") for precision in PRECISIONS)
    for batch in (64, 1024):
        yield from (Case(64, batch, precision, "kernel by kernel") for precision in PRECISIONS)
        yield from (Case(64, batch, precision, "by hand") for precision in PRECISIONS[:2])
    for batch in (256, 1024):
        for precision in PRECISIONS:
            large = {"layers": 2, "bidirectional": True}
            yield Case(512, batch, precision, "graph", **large)  # type: ignore[arg-type]
            yield Case(512, batch, precision, "by hand, graph", **large)  # type: ignore[arg-type]
            yield Case(512, batch, precision, "cuDNN alone", **large)  # type: ignore[arg-type]
    for batch in (64, 128, 512, 2048):
        for hidden in (64, 128, 256):
            yield from (Case(hidden, batch, precision, "graph", steps=784) for precision in PRECISIONS)
            if hidden == 128:
                yield from (Case(hidden, batch, precision, "cuDNN alone", steps=784) for precision in PRECISIONS)
