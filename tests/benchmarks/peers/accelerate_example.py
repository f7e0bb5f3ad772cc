"""Accelerate as its own examples use it: ``prepare`` wraps model, optimiser and loader; ``backward`` takes the loss."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch.nn import functional
from torch.utils.data import DataLoader

from tests.benchmarks.peers.task import Task
from tests.benchmarks.peers.work import RATE, Model, Watch, dataset, predictor


def run(task: Task, watch: Watch) -> None:
    """Train."""
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(task.seed)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    loader = DataLoader(dataset(task), batch_size=task.batch, shuffle=task.shuffle)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    watch.begin(predictor(model), len(loader))
    for _ in range(task.epochs):
        model.train()
        for x, y in loader:
            loss = functional.cross_entropy(model(x.view(-1, 28, 28)), y)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            watch.step(loss)
    watch.end()
