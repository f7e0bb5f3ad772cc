"""skorch: arrays in memory and ``fit``, without a validation split and without callbacks."""

from __future__ import annotations

from typing import Any

import torch
from skorch import NeuralNetClassifier
from torch import nn

from tests.benchmarks.peers.task import Task
from tests.benchmarks.peers.work import RATE, Model, Watch, predictor, read


def run(task: Task, watch: Watch) -> None:
    """Train."""

    class Net(NeuralNetClassifier):  # type: ignore[misc]
        def train_step(self, batch: Any, **parameters: Any) -> Any:
            step = super().train_step(batch, **parameters)
            watch.step(step["loss"])
            return step

    images, labels = read(task.data, "train")
    values = (images.float() / 255).numpy()
    torch.manual_seed(task.seed)
    net = Net(
        Model,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=RATE,
        batch_size=task.batch,
        max_epochs=task.epochs,
        iterator_train__shuffle=task.shuffle,
        train_split=None,
        callbacks="disable",
        verbose=0,
    ).initialize()
    watch.begin(predictor(net.module_), -(-len(labels) // task.batch))
    net.partial_fit(values, labels.numpy())
    watch.end()
