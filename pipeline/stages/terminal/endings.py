"""What ends the program -> the last line on the screen and the exit status. docs/training.md has the statuses."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from typer import TyperException

from pipeline.distributed import signals
from pipeline.errors import LostContactError, Stopped, TrainingError, UserError, printable
from pipeline.stages.terminal import streams


def ended(program: Callable[[], int | None]) -> NoReturn:
    """Run ``program``. What it raises is one message, the last thing on the screen, and an exit status.

    With ``--json`` the message is the document too. A number that ``program`` returns is the status.
    """
    try:
        try:
            signals.caught()
            status = program()
            sys.stdout.flush()
        except Stopped:
            signals.ignore()  # there is no moment at which another one would end it otherwise
            raise
        finally:
            signals.over()
            if "torch" not in sys.modules:  # whose groups and graphs are to be taken down
                gc.freeze()  # at its end the interpreter would go through every object for nothing
    except UserError as error:
        signals.failed()
        if os.environ.get("LOCAL_RANK", "0") == "0":  # the others of this machine have met the same
            _say(f"error: {error}")
        else:
            time.sleep(1)  # the first to end has the launcher stop the others, who may not have said it yet
        sys.exit(2)
    except TyperException as error:  # words that the command does not take
        usage: Any = error
        usage.show()
        streams.refuse(error.format_message())
        sys.exit(error.exit_code)
    except (TrainingError, Stopped) as end:
        if isinstance(end, Stopped) and not isinstance(end, signals.Closed):
            signals.tell_launcher()
        if not isinstance(end, Stopped):
            signals.failed()
        silent = os.environ.get("LOCAL_RANK", "0") != "0" or (isinstance(end, signals.Closed) and signals.closed_for_another())
        if not silent or isinstance(end, LostContactError):
            _say(str(end))
        if isinstance(end, LostContactError):
            _end_if_held(end.status)
        sys.exit(143 if isinstance(end, Stopped) else end.status)
    except (signals.Interrupted, KeyboardInterrupt):
        _interrupted()
    except Exception as error:
        # torch has a class for the first on GPUs only
        signals.failed()
        if "can't allocate memory" not in str(error) and type(error).__name__ != "OutOfMemoryError":
            streams.refuse(f"{type(error).__name__}: {error}")
            raise
        _say("error: memory does not hold it; lower train.batch or model.hidden, or set train.accumulate=2 or more")
        sys.exit(1)
    if status == signals.INTERRUPTED:  # which typer makes of a signal of the keyboard
        _interrupted()
    sys.exit(status or 0)


def _interrupted() -> NoReturn:
    signals.ignore()
    _say("interrupted")
    sys.exit(signals.INTERRUPTED)


def _end_if_held(status: int) -> None:
    """End at once if NCCL's group is still there: to take it down, as the interpreter does, waits for who is gone."""
    from torch import distributed as dist  # which is imported by then

    if dist.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _say(message: str) -> None:
    print(printable(message, "\n"), file=sys.stderr)
    streams.refuse(message.removeprefix("error: "))
