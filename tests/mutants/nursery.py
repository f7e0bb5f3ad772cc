"""A process that has imported what most tests need, but nothing of the project, and forks for each run of pytest.

It reads a line for each: the arguments and the file to write to, as JSON; and answers with pytest's status.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def main() -> None:
    """The program; its arguments are the modules to import first."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    import pytest

    for line in sys.stdin:
        arguments, output = json.loads(line)
        pid = os.fork()
        if not pid:
            for descriptor, path, flags in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
                os.dup2(os.open(path, flags), descriptor)
            os.dup2(1, 2)
            status = int(pytest.main(arguments))
            sys.stdout.flush()
            os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
