"""What libraries write to the standard error of a fault that is an exception too is kept from the screen."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from tempfile import TemporaryFile
from threading import Lock
from typing import IO

LATE = 0.02  # seconds for other threads of the library, which may be about to write of the same fault


class _Screen:
    """The standard error of the process, which threads may hold back together while they read."""

    def __init__(self) -> None:
        self._lock, self._readers, self._dropped = Lock(), 0, False
        self._former: int | None = None
        self._file: IO[bytes] | None = None

    @contextmanager
    def held(self, dropped: tuple[type[BaseException], ...]) -> Iterator[None]:
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                self._begin()
        try:
            yield
        except dropped:
            self._dropped = True
            time.sleep(LATE)
            raise
        finally:
            with self._lock:
                self._readers -= 1
                if not self._readers:
                    self._end()

    def _begin(self) -> None:
        self._dropped = False
        with suppress(OSError):  # without a screen, or without room for a file, nothing is held back
            self._file = TemporaryFile()  # noqa: SIM115  # open for as long as somebody reads
            self._former = os.dup(2)
            os.dup2(self._file.fileno(), 2)

    def _end(self) -> None:
        if self._former is not None and self._file is not None:
            os.dup2(self._former, 2)
            os.close(self._former)
            if not self._dropped:
                self._file.seek(0)
                with os.fdopen(os.dup(2), "wb") as screen:
                    shutil.copyfileobj(self._file, screen)
        if self._file is not None:
            self._file.close()
        self._former = self._file = None


_screen = _Screen()


def held(*dropped: type[BaseException]) -> AbstractContextManager[None]:
    """What is written to the standard error in this block comes at its end; nothing if it raises one of ``dropped``.

    So polars writes a page of its own functions where it panics, though another of its threads may have raised the error, and
    libtiff writes a line of its own; Python sees neither.
    """
    return _screen.held(dropped)
