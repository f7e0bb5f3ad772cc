"""The loop of the MNIST LSTM tutorial: a DataLoader, and accuracy on the first 2,000 test images now and then."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from tests.benchmarks.peers.task import Task
from tests.benchmarks.peers.work import RATE, Model, Watch, predictor

EVERY, WATCHED = 50, 2000


def run(task: Task, watch: Watch) -> None:
    """Train, and print a line every 50 steps."""
    loader = DataLoader(MNIST(task.data, train=True, transform=ToTensor()), batch_size=task.batch, shuffle=task.shuffle)
    test = MNIST(task.data, train=False)
    test_x, test_y = test.data[:WATCHED].float() / 255, test.targets[:WATCHED]
    torch.manual_seed(task.seed)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    loss_function = nn.CrossEntropyLoss()
    watch.begin(predictor(model), len(loader))
    for epoch in range(task.epochs):
        for step, (x, y) in enumerate(loader):
            loss = loss_function(model(x.view(-1, 28, 28)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.step(loss)
            if step % EVERY == 0:
                with watch.paused():
                    accuracy = (model(test_x).argmax(1) == test_y).float().mean()
                    print(f"epoch {epoch}  loss {loss.item():.4f}  accuracy {accuracy:.4f}")
    watch.end()
