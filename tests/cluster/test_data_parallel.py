"""However processes sum their gradients, by DDP or all at once, the weights and what is said of each step are the same."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from pipeline.config import Optim, Train
from pipeline.data.batches import Batches
from pipeline.data.store import Part, Store
from pipeline.model.classifier import RecurrentClassifier
from pipeline.training import loop
from pipeline.training.optim import make_optimizer
from pipeline.training.state import make_state, sums_at_once
from tests.support.processes import everywhere

COUNT, BATCH = 22, 8  # the last batch of an epoch has 6: 4 for the first of two processes, 2 for the second
CPU = torch.device("cpu")
RATES = Optim(name="sgd", lr=0.5, momentum=0.9, clip=0.5)
WAYS = ("auto", "ddp", "flat")
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "accumulated": ({"accumulate": 2}, {"bidirectional": True}),
    "batch norm": ({}, {"conv": 4, "conv_norm": "batch"}),
}
Trained = tuple[bool, list[dict[str, float]], list[float]]


def trained(processes: int, number: int, way: str, case: str) -> Trained:
    """Whether by DDP; loss, accuracy and norm of each of six steps; the weights after them."""
    from accelerate import Accelerator

    options, arguments = CASES[case]
    torch.manual_seed(0)
    part = Part(torch.rand(COUNT, 5, 3), torch.arange(COUNT) % 4, torch.arange(COUNT))
    train = Train(**({"batch": BATCH, "epochs": 2, "log_every": 1, "data_parallel": way} | options))
    model = RecurrentClassifier(3, 4, hidden=6, **arguments)
    state = make_state(model, make_optimizer(model, RATES), train, Accelerator(cpu=True))
    mine = range(number * train.accumulate, (number + 1) * train.accumulate)
    fed = Batches(Store(part, CPU, 1), BATCH, processes * train.accumulate, mine, 0)
    said = [report.numbers() for report in loop.train(state, fed, train, RATES, 0)]
    weights = torch.cat([tensor.detach().reshape(-1) for tensor in model.state_dict().values()])
    return isinstance(state.forward, DistributedDataParallel), said, weights.tolist()


def all_of_them(processes: int, number: int) -> dict[str, list[Trained]]:
    """``trained`` in each case, each way."""
    if processes > 1:
        launched = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}
        os.environ |= {name: str(value) for name, value in launched.items()}  # the group is there already
    return {case: [trained(processes, number, way, case) for way in WAYS] for case in CASES}


def test_gradients_summed_at_once_are_those_of_ddp_and_of_one_process() -> None:
    first, second = everywhere(partial(all_of_them, 2), 2)
    (one,) = everywhere(partial(all_of_them, 1), 1)
    for case in CASES:
        assert first[case] == second[case], "the processes agree bit for bit"
        auto, ddp, flat = first[case]
        assert auto == ddp and auto[0] and not flat[0], "DDP stays the path on CPUs"
        torch.testing.assert_close(torch.tensor(flat[2]), torch.tensor(ddp[2]), rtol=0, atol=1e-6)
        torch.testing.assert_close(torch.tensor(flat[2]), torch.tensor(one[case][2][2]), rtol=0, atol=1e-5)
        for ours, theirs in zip(flat[1], ddp[1], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5) and ours["grad_norm"] > 0.1


def test_on_gpus_small_gradients_are_summed_at_once_and_large_ones_by_ddp() -> None:
    gpu, small = torch.device("cuda"), RecurrentClassifier(3, 4, hidden=64)
    with torch.device("meta"):
        large = RecurrentClassifier(3, 4, hidden=2048)
    assert [sums_at_once(model, Train(), device) for model in (small, large) for device in (gpu, CPU)] == [
        True,
        False,
        False,
        False,
    ]
    assert sums_at_once(large, Train(data_parallel="flat"), CPU) and not sums_at_once(small, Train(data_parallel="ddp"), gpu)
