"""What polars writes of a fault of its own, a page of names of functions, is kept from the screen: it is an exception too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from tempfile import TemporaryFile
from threading import Lock
from typing import IO

import polars as pl


class _Screen:
    """The standard error of the process, which threads may hold back together while they read."""

    def __init__(self) -> None:
        self._lock, self._readers, self._panicked = Lock(), 0, False
        self._former: int | None = None
        self._file: IO[bytes] | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                self._begin()
        try:
            yield
        except pl.exceptions.PanicException:
            self._panicked = True
            raise
        finally:
            with self._lock:
                self._readers -= 1
                if not self._readers:
                    self._end()

    def _begin(self) -> None:
        self._panicked = False
        with suppress(OSError):  # without a screen, or without room for a file, nothing is held back
            self._file = TemporaryFile()  # noqa: SIM115  # open for as long as somebody reads
            self._former = os.dup(2)
            os.dup2(self._file.fileno(), 2)

    def _end(self) -> None:
        if self._former is not None and self._file is not None:
            os.dup2(self._former, 2)
            os.close(self._former)
            if not self._panicked:
                self._file.seek(0)
                with os.fdopen(os.dup(2), "wb") as screen:
                    shutil.copyfileobj(self._file, screen)
        if self._file is not None:
            self._file.close()
        self._former = self._file = None


_screen = _Screen()


def held() -> AbstractContextManager[None]:
    """What is written to the standard error in this block comes at its end; nothing of it if polars panics.

    Polars writes a page of its own functions then, and raises an exception besides.
    """
    return _screen.held()
