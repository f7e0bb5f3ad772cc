"""All processes stop at one step, whichever of them is told to, and however fast each is."""

from __future__ import annotations

import time

from pipeline.distributed.stop_signal import StopSignal
from tests.support.processes import everywhere


def steps_until_stopped(number: int) -> int:
    """Process 0 is slow, process 1 is fast and wants to stop after step 20: the step at which each learns of it."""
    step = 0
    with StopSignal(lambda: number == 1 and step > 20) as stop:
        while step < 400 and not stop.agreed():
            step += 1
            time.sleep(0.02 if number == 0 else 0)
    return step


def test_a_slow_and_a_fast_process_stop_at_one_step() -> None:
    first, second = everywhere(steps_until_stopped, 2)
    assert first == second and 20 < first < 400
