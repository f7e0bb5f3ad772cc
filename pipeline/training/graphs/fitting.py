"""Which trainings take their steps without the host, and why others do not."""

from __future__ import annotations

from torch.nn.parallel import DistributedDataParallel

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.training.state import State


def obstacle(state: State, batches: Batches, train: config.Train) -> str:
    """What keeps a step from being taken by the device alone, in words; empty if nothing does."""
    obstacles = {
        "gradients are summed by DDP": isinstance(state.forward, DistributedDataParallel),
        "dropout in exact mode": state.model.stochastic and train.gradient_shards > 0 and len(batches.mine) > 1,
    }
    return next((words for words, there in obstacles.items() if there), "")


def launching(state: State, batches: Batches, train: config.Train) -> str:
    """How steps are launched on a GPU, and why not as a graph, as a sentence."""
    reason = obstacle(state, batches, train) or ("train.cuda_graph is off" if train.cuda_graph == "off" else "")
    return f"steps are launched kernel by kernel: {reason}" if reason else "each step is launched as one CUDA graph"
