"""What the contenders share: the examples, the model of those that take a PyTorch module, and the watch.

Shapes: B batch, T = 28 steps, F = 28 features, C = 10 classes, N examples.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.utils.data import Dataset, TensorDataset

from tests.benchmarks.peers.task import Task

RATE, CLASSES, SIDE = 0.01, 10, 28
BLOCK = 1000  # test images a forward pass
Predict = Callable[[Tensor], Tensor]  # images (B, 28, 28) of uint8 -> logits (B, C)


class Finished(Exception):
    """The contender has done what its task asks for."""


def read(folder: str, part: str) -> tuple[Tensor, Tensor]:
    """Images (N, 28, 28) of uint8 and labels (N) of ``train`` or ``t10k`` from MNIST's unpacked files."""
    raw = Path(folder, "MNIST/raw")
    images = np.fromfile(raw / f"{part}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, SIDE, SIDE)
    labels = np.fromfile(raw / f"{part}-labels-idx1-ubyte", np.uint8)[8:]
    return torch.from_numpy(images), torch.from_numpy(labels).long()


def dataset(task: Task) -> Dataset[Any]:
    """The training split, examples as (image of float in [0, 1], label)."""
    if task.source == "tensors":
        images, labels = read(task.data, "train")
        return TensorDataset(images.float() / 255, labels)
    from torchvision.datasets import MNIST
    from torchvision.transforms import ToTensor

    return MNIST(task.data, train=True, transform=ToTensor())


class Model(nn.Module):
    """The MNIST LSTM tutorial's model, or the large one."""

    def __init__(self, large: bool = False) -> None:
        super().__init__()
        self.large = large
        self.lstm = (
            nn.LSTM(SIDE, 256, 2, batch_first=True, bidirectional=True) if large else nn.LSTM(SIDE, 64, batch_first=True)
        )
        self.head = nn.Linear(512 if large else 64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B, C)."""
        outputs = self.lstm(x)[0]
        logits: Tensor = self.head(outputs.mean(1) if self.large else outputs[:, -1])
        return logits


def predictor(model: nn.Module) -> Predict:
    """How a model that wants values in [0, 1] sees raw images."""

    def predict(images: Tensor) -> Tensor:
        model.eval()
        logits: Tensor = model(images.float() / 255)
        model.train()
        return logits

    return predict


class Watch:
    """The clock of one process. ``begin`` is called right before the first step and ``step`` after each one.

    Where there are several processes, the first one measures and the others wait for it.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.steps, self.first = task, 0, 0.0
        self.curve: list[tuple[int, float, float]] = []  # steps, seconds in training, accuracy on the test images
        self.losses: list[float] = []
        self._stopped: float | None = None
        self._main = os.environ.get("RANK", "0") == "0"

    def begin(self, predict: Predict, steps_per_epoch: int) -> None:
        """The first step begins. ``predict`` is asked at each evaluation."""
        self._predict = predict
        self._every = max(1, steps_per_epoch // self.task.evaluations) if self.task.evaluations else 0
        self.first = self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """In training, since the first step or the last turn."""
        return time.monotonic() - self._since if self._stopped is None else self._stopped

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave what is done in this block out of the seconds."""
        began = time.monotonic()
        yield
        self._since += time.monotonic() - began

    def step(self, loss: Tensor | None = None) -> None:
        """A step was taken. Raises Finished if it was the last one."""
        self._count(loss)
        if self.task.turns:
            self._turn()
        elif self._every and self.steps % self._every == 0:
            self._evaluate()

    def last(self, loss: Tensor | None = None) -> None:
        """The last step was taken, and what is to be done after it. The clock stands still; ``end`` evaluates."""
        self._count(loss)
        self._stopped = self.seconds

    def end(self) -> None:
        """The contender's training came to its own end: its last weights are evaluated too."""
        if self._every and (not self.curve or self.curve[-1][0] != self.steps):
            self._evaluate()

    def _count(self, loss: Tensor | None) -> None:
        self.steps += 1
        if self.task.trace and loss is not None:
            self.losses.append(loss.item())

    def _turn(self) -> None:
        turn, rest = divmod(self.steps - self.task.warmup, self.task.turn)
        if turn < 0 or rest:
            return
        if self._main:
            go, answer = self.task.channel
            os.write(answer, f"{self.seconds}\n".encode())
            if turn < self.task.turns and not os.read(go, 1):
                raise SystemExit("the benchmark ended")
        _meet(0)
        if turn == self.task.turns:
            raise Finished
        self._since = time.monotonic()

    def _evaluate(self) -> None:
        accuracy = 0.0
        with self.paused():
            if self._main:
                accuracy = accuracy_of(self._predict, *read(self.task.data, "t10k"))
        self.curve.append((self.steps, self.seconds, accuracy))
        with self.paused():
            reached = _meet(accuracy) >= self.task.target
        if reached:
            raise Finished


def accuracy_of(predict: Predict, images: Tensor, labels: Tensor) -> float:
    """The share of images whose greatest logit is that of their label."""
    with torch.no_grad():
        guesses = torch.cat([predict(block).argmax(1) for block in images.split(BLOCK)])
    return float((guesses == labels).double().mean())


def _meet(value: float) -> float:
    """All processes wait here for the first one, and get its value."""
    shared = torch.tensor(value, dtype=torch.float64)
    if dist.is_initialized():
        dist.broadcast(shared, 0)
    return float(shared)
