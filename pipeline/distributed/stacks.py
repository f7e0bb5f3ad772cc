"""Where a process hangs: the stacks of all its threads, on disk before a hang ends it.

Of several processes, the one that hangs is the one whose stack is not that of the others, who wait for it.
"""

from __future__ import annotations

import faulthandler
import math
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

WRITTEN = 0.9  # of run.timeout without a step: the stacks are written, while the others still wait
ENDED = 1.5  # of run.timeout without a step: this process is ended, as the others were long before
STDERR = 2


def on_request(file: int = STDERR) -> None:
    """Have SIGUSR2 write the stacks of all threads to an open file, whatever the process is doing."""
    faulthandler.register(signal.SIGUSR2, file, all_threads=True)


class Watch:
    """Writes the stacks of this process to ``folder/stacks/RANK.txt`` if ``beat`` is not called for 0.9 ``timeout``
    seconds, and ends the process after 1.5: by then the others have ended, and no launcher ends one on another host.

    So does SIGUSR2, at any time, without an end. One process alone, ``processes`` = 1, waits for nobody and is not
    watched. A beat costs as much as a look at the clock: another thread counts the seconds, and a third one, of
    faulthandler's, ends a process whose interpreter is stuck.
    """

    def __init__(self, folder: Path, number: int, processes: int, timeout: float) -> None:
        self.path, self.number, self.timeout = folder / "stacks" / f"{number}.txt", number, timeout
        self._last, self._over, self._written = time.monotonic(), threading.Event(), False
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True) if processes > 1 else None

    def beat(self) -> None:
        """A step was taken, or something else that shows that this process goes on."""
        self._last = time.monotonic()

    def rest(self) -> None:
        """What comes next may take as long as it likes, until the next ``beat``."""
        self._last = math.inf

    def __enter__(self) -> Self:
        if self._thread:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            on_request(self._file)
            self.beat()
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread:
            self._over.set()
            self._thread.join()
            faulthandler.cancel_dump_traceback_later()
            on_request()
            if not os.fstat(self._file).st_size:
                self.path.unlink(missing_ok=True)
            os.close(self._file)

    def _look(self) -> None:
        while True:
            quiet = time.monotonic() - self._last
            if quiet < WRITTEN * self.timeout:
                faulthandler.dump_traceback_later(ENDED * self.timeout, file=self._file, exit=True)
                self._written = False
            elif not self._written:
                self._write(quiet)
            if self._over.wait(self.timeout / 20):
                return

    def _write(self, quiet: float) -> None:
        said = f"process {self.number} on {socket.gethostname()} has taken no step for {quiet:.0f} s"
        os.write(self._file, f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {said}\n".encode())
        faulthandler.dump_traceback(self._file, all_threads=True)
        self._written = True
        print(f"{said}; its stacks are in {self.path}", file=sys.stderr, flush=True)
