"""``python -m tests.cluster.hosts``: the tests of several hosts, bounded in time, with nothing left of them however they end.

They run as the first process of a namespace of processes, which the kernel ends with it, whatever they started. Their folder
is removed by a process of its own that outlives them. Words that are given go to pytest.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

LIMIT = 15 * 60  # seconds
WHERE = ("tests/cluster", "tests/distributed")  # of its tests, those that are slow
GRACE = 30  # seconds that tests have after Ctrl-C to say how they ended
TIED = ("setpriv", "--pdeathsig", "KILL")  # ends with the process that starts it
APART = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
REMOVE = 'trap "" INT TERM HUP QUIT; read -r _; rm -rf "$1"'  # when nobody is left who could write


@contextmanager
def vanishing() -> Iterator[str]:
    """A folder that is gone after the block, and after a SIGKILL within it."""
    folder = tempfile.mkdtemp(prefix="cluster-")
    command = ("bash", "-c", REMOVE, "_", folder)
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        yield folder


def main() -> int:
    """Run them; pytest's exit status, or 124 where the time was over."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    with vanishing() as folder:
        where = () if any(word.startswith("tests/") for word in sys.argv) else WHERE
        tests = (sys.executable, "-m", "pytest", "-m", "slow", f"--basetemp={folder}/tests", *where, *sys.argv[1:])
        may = subprocess.run([*APART, "true"], capture_output=True, check=False).returncode == 0
        apart = APART if may else ()  # else they skip, each with a word
        job = subprocess.Popen([*TIED, *apart, *tests], env=os.environ | {"TMPDIR": folder})
        try:
            return job.wait(LIMIT)
        except KeyboardInterrupt:  # a terminal has told them too
            with suppress(subprocess.TimeoutExpired):
                return job.wait(GRACE)
            return 128 + signal.SIGINT
        except subprocess.TimeoutExpired:
            print(f"the tests of several hosts took more than {LIMIT // 60} minutes", file=sys.stderr)
            return 124
        finally:
            job.kill()
            job.wait()


if __name__ == "__main__":
    sys.exit(main())
