"""What is said when the processes of a launch do not meet."""

from __future__ import annotations

import socket

import pytest
import torch

from pipeline.config import Run
from pipeline.distributed import world
from pipeline.errors import LostContactError, UserError


@pytest.mark.parametrize("timeout", [60, 86_400, 90_000])
def test_the_time_that_was_waited_is_said_beyond_a_day_too(monkeypatch: pytest.MonkeyPatch, timeout: int) -> None:
    """The port of the meeting is taken, so that nobody waits."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(taken.getsockname()[1])}
        for name, value in ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"} | place).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(LostContactError, match=rf"run\.join_timeout = {timeout} s"), world.world(Run(join_timeout=timeout)):
            pass


def test_bf16_on_a_gpu_that_has_none_is_an_error_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    for name in ("ACCELERATE_USE_CPU", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"this GPU has no bf16.*use fp16 or fp32"), world.world(Run(), "bf16"):
        pass
