"""What ends the program -> the last line on the screen and the exit status. docs/training.md has the statuses."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from pipeline.errors import LostContactError, Stopped, TrainingError, UserError, printable


def ended(program: Callable[[], object]) -> None:
    """Run ``program``. What it raises is one message, the last thing on the screen, and an exit status."""
    try:
        program()
    except UserError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # the others of this machine have met the same
            print(printable(f"error: {error}", "\n"), file=sys.stderr)
        else:
            time.sleep(1)  # the first to end has the launcher stop the others, who may not have said it yet
        sys.exit(2)
    except (TrainingError, Stopped) as end:
        if os.environ.get("LOCAL_RANK", "0") == "0" or isinstance(end, LostContactError):
            print(printable(str(end), "\n"), file=sys.stderr)
        sys.exit(143 if isinstance(end, Stopped) else end.status)
    except RuntimeError as error:  # torch has a class for it on GPUs only
        if "can't allocate memory" not in str(error) and type(error).__name__ != "OutOfMemoryError":
            raise
        sys.exit("error: memory does not hold it; lower train.batch or model.hidden, or set train.accumulate=2 or more")
    except KeyboardInterrupt:
        sys.exit("interrupted")
