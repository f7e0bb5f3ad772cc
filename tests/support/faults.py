"""Faults on purpose, so that the promises about faults are tried on real runs: the training loop is wrapped.

``INJECTED_FAULT=KIND@RANK:STEP[,...]`` makes the process of that rank, after that optimiser step,

    kill    kill itself with SIGKILL, as the kernel does when memory runs out
    term    send itself SIGTERM, as a scheduler does
    stop    freeze itself with SIGSTOP, as a machine that hangs
    hang    sleep for an hour, as where a disk does not answer
    slow    take 30 ms longer for each forward pass from then on, as on a host that others use too
    flip    change one bit of its weights, as a failing memory does
    nan     make one weight of its model NaN

A fault strikes once: not again in a process that was started after it, when ``INJECTED_FAULT_DONE`` names a folder
to remember it in. Run as a module, ``tests.support.faults`` is ``python -m pipeline`` with these faults.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.distributed import collectives
from pipeline.training import loop

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}


def install() -> None:
    """Have what the environment asks for happen in this process."""
    planned = [text.replace(":", "@").split("@") for text in os.environ.get("INJECTED_FAULT", "").split(",") if text]
    plain = loop.train

    @wraps(plain)
    def train(state: Any, *arguments: Any, **options: Any) -> Iterator[loop.Report]:
        for report in plain(state, *arguments, **options):
            for kind, rank, step in planned:
                if (int(rank), int(step)) == (collectives.rank(), report.step) and _first_time(f"{kind}_{rank}_{step}"):
                    _strike(kind, state.model)
            yield report

    loop.train = train


def _strike(kind: str, model: nn.Module) -> None:
    if kind in SIGNALS:
        os.kill(os.getpid(), SIGNALS[kind])
        return
    if kind == "hang":
        time.sleep(3600)
    if kind == "slow":
        model.register_forward_pre_hook(lambda *_: time.sleep(0.03))
        return
    weight = next(model.parameters()).data.view(-1)
    if kind == "nan":
        weight[0] = torch.nan
    else:
        assert kind == "flip", kind
        weight[:1].view(torch.int32).bitwise_xor_(1)


def _first_time(name: str) -> bool:
    folder = os.environ.get("INJECTED_FAULT_DONE")
    if not folder:
        return True
    try:
        Path(folder, name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


if __name__ == "__main__":
    from pipeline.__main__ import main

    install()
    main()
