"""How far training is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm


class Progress:
    """Shows steps, loss, accuracy, examples a second and the time left; silent on all processes but the main one."""

    def __init__(self, steps: int, done: int, main: bool) -> None:
        self.steps, self.main = steps, main
        self.start, self.first = time.monotonic(), done
        shown = main and sys.stderr.isatty()
        self.bar = tqdm(total=steps, initial=done, unit="step", dynamic_ncols=True, disable=not shown, leave=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.close()

    def update(self, step: int, loss: float, accuracy: float, rate: float) -> None:
        """Say what one step gave: its loss, its accuracy in [0, 1] and the examples a second since the last time."""
        if not self.bar.disable:
            self.bar.set_postfix_str(f"loss {loss:.4f}, accuracy {accuracy:.2%}, {rate:,.0f} samples/s", refresh=False)
            self.bar.update(step - self.bar.n)
            return
        left = (self.steps - step) * (time.monotonic() - self.start) / max(1, step - self.first)
        numbers = f"loss {loss:.4f}  accuracy {accuracy:.2%}  {rate:,.0f} samples/s"
        self.say(f"step {step}/{self.steps}  {numbers}  {tqdm.format_interval(left)} left")

    def say(self, line: str) -> None:
        """A line of its own, above the bar if there is one."""
        if self.main:
            tqdm.write(line, file=sys.stdout)
            sys.stdout.flush()
