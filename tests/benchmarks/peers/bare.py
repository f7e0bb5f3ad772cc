"""The limit: a loop over tensors in memory that does nothing but what a step is. With several processes, plain DDP."""

from __future__ import annotations

import gc
import os
from contextlib import nullcontext, suppress

import torch
from torch import distributed as dist
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from tests.benchmarks.peers.task import Task
from tests.benchmarks.peers.work import RATE, Finished, Model, Watch, predictor, read


def run(task: Task, watch: Watch) -> None:
    """Train; each process takes an equal part of each batch."""
    rank, processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        dist.init_process_group("gloo")
    with suppress(Finished):
        _train(task, watch, rank, processes)
    if processes > 1:
        gc.collect()  # DDP lies in a cycle; if it outlives its group, the process may abort at its end (seen)
        dist.destroy_process_group()


def _train(task: Task, watch: Watch, rank: int, processes: int) -> None:
    images, labels = read(task.data, "train")
    torch.manual_seed(task.seed)
    model = Model(task.large)
    forward: nn.Module = model
    if processes > 1:
        forward = DistributedDataParallel(model, gradient_as_bucket_view=True, static_graph=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    autocast = torch.autocast("cpu", torch.bfloat16) if task.precision == "bf16" else nullcontext()
    count = len(labels)
    watch.begin(predictor(model), -(-count // task.batch))
    for _ in range(task.epochs):
        order = torch.randperm(count) if task.shuffle else torch.arange(count)
        for batch in order.split(task.batch):
            rows = batch.tensor_split(processes)[rank]
            x, y = images.index_select(0, rows), labels.index_select(0, rows)
            with autocast:
                logits = forward(x.float() / 255)
            loss = functional.cross_entropy(logits.float(), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            watch.step(loss)
    watch.end()
