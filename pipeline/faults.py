"""Faults on purpose, so that the promises about faults can be tried on a real run.

``PIPELINE_FAULT=KIND@RANK:STEP[,...]`` makes the process of that rank, after that optimiser step,

    kill    kill itself with SIGKILL, as the kernel does when memory runs out
    term    send itself SIGTERM, as a scheduler does
    stop    freeze itself with SIGSTOP, as a machine that hangs
    flip    change one bit of its weights, as a failing memory does
    nan     make one weight of its model NaN

A fault strikes once: not again in a process that was started after it, when ``PIPELINE_FAULT_DONE`` names a folder
to remember it in.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from pipeline.errors import UserError

_SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}
KINDS = (*_SIGNALS, "flip", "nan")


@dataclass(frozen=True)
class Fault:
    """What strikes the process of ``rank`` after optimiser step ``step``."""

    kind: str
    rank: int
    step: int


def planned() -> list[Fault]:
    """The faults that ``PIPELINE_FAULT`` asks for. Raises UserError if it is not of the form above."""
    faults = []
    for text in filter(None, os.environ.get("PIPELINE_FAULT", "").split(",")):
        kind, _, place = text.partition("@")
        rank, _, step = place.partition(":")
        if kind not in KINDS or not (rank.isdecimal() and step.isdecimal()):
            raise UserError(f"PIPELINE_FAULT: {text}: expected KIND@RANK:STEP, KIND one of {', '.join(KINDS)}")
        faults.append(Fault(kind, int(rank), int(step)))
    return faults


def strike(faults: list[Fault], rank: int, step: int, model: nn.Module) -> None:
    """Do what is planned for this rank after this step."""
    for fault in faults:
        if (fault.rank, fault.step) == (rank, step) and _first_time(fault):
            if fault.kind in _SIGNALS:
                os.kill(os.getpid(), _SIGNALS[fault.kind])
                continue
            weight = next(model.parameters()).data.view(-1)
            if fault.kind == "nan":
                weight[0] = torch.nan
            else:
                weight[:1].view(torch.int32).bitwise_xor_(1)


def _first_time(fault: Fault) -> bool:
    folder = os.environ.get("PIPELINE_FAULT_DONE")
    if not folder:
        return True
    mark = Path(folder) / f"{fault.kind}_{fault.rank}_{fault.step}"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
