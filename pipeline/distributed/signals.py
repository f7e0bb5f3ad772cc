"""Signals from the first moment on. What takes time to import is not imported here.

Before the first step nothing is there to be saved: a signal ends the process with a word and status 143. ``stop_signal`` takes
over for the training, and gives back after it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from pipeline.distributed import stacks
from pipeline.errors import Stopped

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
GRACE = 5.0  # seconds until a process leaves that is too busy to see a signal, as in a call that waits for others
STATUS, INTERRUPTED = 143, 130
FAILED = "SEQUENCE_PIPELINE_FAILED"  # a file that a process of a launch makes when an error ends it: the others are then closed

_inside = threading.Event()  # of what turns an exception into an exit status
_trained = threading.Event()


class Closed(Stopped):
    """By a SIGTERM outside of the training. A launcher sends that too, to those that are left of a process that died, and
    may be about to start all of them again."""


class Interrupted(BaseException):
    """By the keyboard. After a KeyboardInterrupt in some places Python would end by the signal, whatever the status is."""


def is_training(words: Sequence[str]) -> bool:
    """Whether the command that ``words`` are of trains, so that there is something to save."""
    return next((word for word in words if word[:1] != "-"), "") in ("train", "seeds", "sweep")


def catch() -> None:
    """Have STOPPING end this process, and SIGUSR2 write the stacks of its threads. Call it before heavy imports."""
    for number in STOPPING:
        signal.signal(number, _stop)
    stacks.on_request()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)  # a handler waits until the interpreter is free; this does not
    threading.Thread(target=_watch, args=(reader,), name="signals", daemon=True).start()
    os.register_at_fork(after_in_child=_forget)


def catch_keyboard() -> None:
    """Have Ctrl-C end this process with a word and status 130: it does not train. Call it before heavy imports."""
    signal.signal(signal.SIGINT, _interrupt)


def caught() -> None:
    """From now on a signal is an exception, Stopped or Interrupted, so that what was begun is cleared away."""
    _inside.set()
    sys.unraisablehook = _dropped


def failed() -> None:
    """Let the other processes of this launch know that an error ends this one, whose words are to be the last."""
    if path := os.environ.get(FAILED):
        with suppress(OSError):
            Path(path).touch()


def closed_for_another() -> bool:
    """Whether a launcher closes this process since an error ended another one."""
    made = os.environ.get(FAILED)
    return made is not None and Path(made).exists()


def trained() -> None:
    """There was a step."""
    _trained.set()


def ours(handler: Any) -> bool:
    """Whether a handler ends this program, as one of ``catch`` and ``catch_keyboard`` does."""
    return handler in (_stop, _interrupt)


def over() -> None:
    """Let signals do again what they do to any process: they end it."""
    for number in STOPPING:
        if ours(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)


def ignore() -> None:
    """The process ends because of a signal: more of them change nothing."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def tell_launcher() -> None:
    """Ask the launcher to end, if it would start the processes again: for a launcher, a status of 143 is a failure.

    Not where machines come and go (launch/torchrun_elastic.sh): there it ends them itself whenever one does.
    """
    if "PIPELINE_ELASTIC" not in os.environ and int(os.environ.get("TORCHELASTIC_MAX_RESTARTS") or 0) > 0:
        with suppress(OSError):
            parent = os.getppid()
            if b"TORCHELASTIC_RUN_ID=" not in Path(f"/proc/{parent}/environ").read_bytes() and parent != 1:
                os.kill(parent, signal.SIGTERM)


def _stop(number: int, frame: FrameType | None) -> None:
    if _inside.is_set() and not _imports(frame):
        raise (Closed if number == signal.SIGTERM else Stopped)(_said(number))
    _leave(number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _inside.is_set() and not _imports(frame):
        raise Interrupted
    _interrupted()


def _interrupted() -> NoReturn:
    with suppress(OSError):  # nobody may hear it any more
        os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def _dropped(what: Any) -> None:
    """An exception that cannot go on, as in a finalizer: of a signal it ends the process, or the signal would be lost."""
    if isinstance(what.exc_value, Interrupted):
        _interrupted()
    if isinstance(what.exc_value, Stopped):
        _stopped(str(what.exc_value))
    sys.__unraisablehook__(what)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported: libraries take an exception then for a fault of their own."""
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


def _said(number: int) -> str:
    when = "outside of the training" if _trained.is_set() else "before the first step"
    return f"stopped by {signal.Signals(number).name} {when}; nothing is lost"


def _leave(number: int) -> NoReturn:
    _stopped(_said(number))


def _stopped(said: str) -> NoReturn:
    if os.environ.get("LOCAL_RANK", "0") == "0" and not closed_for_another():
        with suppress(OSError):  # nobody may hear it any more
            print(said, file=sys.stderr, flush=True)
    os._exit(STATUS)


def _watch(reader: int) -> None:
    while number := os.read(reader, 1):
        if number[0] in STOPPING and signal.getsignal(number[0]) is _stop:
            time.sleep(GRACE)
            if signal.getsignal(number[0]) is _stop:
                _leave(number[0])


def _forget() -> None:
    """A forked process is another one."""
    signal.set_wakeup_fd(-1)
    over()
