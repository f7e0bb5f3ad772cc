"""Checkpoints written in a thread while training goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pipeline.checkpoint import Snapshot, mark, save


class Writer:
    """Writes checkpoints in the order they are asked for, in a thread, while training goes on; one at a time.

    After a write that failed nothing more is written, ``failed`` is true, and ``wait`` raises its error.
    """

    def __init__(self, folder: Path, keep_last: int) -> None:
        self.folder, self.keep_last = folder, keep_last
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._error: Exception | None = None

    def save(self, taken: Snapshot) -> None:
        """Write ``taken``, once what was asked for before is written."""
        self.wait()
        self._thread.submit(self._do, lambda: save(self.folder, taken, self.keep_last))

    def mark(self, what: Literal["best", "finished"], step: int) -> None:
        """``mark``, once its checkpoint is written."""
        self._thread.submit(self._do, lambda: mark(self.folder, what, step))

    def finish(self, step: int) -> None:
        """Mark the run as finished at ``step``, when all is written."""
        self.mark("finished", step)
        self.wait()

    @property
    def failed(self) -> bool:
        """Whether a write has failed; ``wait`` raises its error."""
        return self._error is not None

    def wait(self) -> None:
        """Return when all that was asked for is on the disk; raise the error of a write that failed."""
        self._thread.submit(lambda: None).result()
        if self._error is not None:
            raise self._error

    def _do(self, action: Callable[[], object]) -> None:
        if self._error is None:
            try:
                action()
            except Exception as error:
                self._error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown()
