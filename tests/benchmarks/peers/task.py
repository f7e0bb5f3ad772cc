"""What a contender has to do. It travels to the contender's processes as JSON and loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "bf16"]
Source = Literal["tensors", "torchvision"]


@dataclass(frozen=True)
class Task:
    """``peer``: the module in this package. ``data``: a folder with MNIST/raw/, the four files unpacked. ``output``: an
    empty folder for what is measured. ``spawned``: ``time.monotonic()`` when the command was started.

    ``source``: how the examples come, as tensors in memory or through torchvision's data set, an image at a time.
    ``large``: two bidirectional layers of 256 units with mean pooling instead of one layer of 64 units and its last state.

    With ``turns``, the contender takes ``warmup`` steps and then ``turns`` times ``turn`` steps, each time after a byte
    came through the first descriptor of ``channel``; it answers with the seconds through the second one, and ends.
    Without, it trains for ``epochs``, is evaluated on all test images ``evaluations`` times an epoch, which its clock
    leaves out, and ends early once its accuracy is ``target``.

    ``config`` and ``overrides`` are the pipeline's own settings. ``trace`` keeps the loss of every step, for tests.
    """

    peer: str
    data: str
    output: str
    spawned: float = 0.0
    source: Source = "tensors"
    large: bool = False
    batch: int = 64
    precision: Precision = "fp32"
    seed: int = 0
    shuffle: bool = True
    epochs: int = 1
    evaluations: int = 0
    target: float = 1.0
    warmup: int = 20
    turn: int = 50
    turns: int = 0
    channel: tuple[int, int] = (0, 1)
    config: str = ""
    overrides: tuple[str, ...] = ()
    trace: bool = False
