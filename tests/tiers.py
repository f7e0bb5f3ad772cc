"""Which tests ``make test`` leaves to ``make test-long``: the ones that take long, by the times that pytest printed.

make test-long ARGS='-m "not slow" --durations=0 --durations-min=0.05 -vv' > times; python -m tests.tiers times

``long.txt`` has a line for each: a function of a file, or a file whose fixtures take long.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

LIST = Path(__file__).parent / "long.txt"
CALL, FIXTURES = 1.2, 4.0  # seconds that a test may take, and those of all fixtures of a file
LINE = re.compile(r"^ *(\d+\.\d+)s (setup|call|teardown) +tests/((\S+?\.py)::\w+)")


def listed() -> set[str]:
    """Files and functions, as ``report/test_page.py`` and ``report/test_page.py::test_name``."""
    return set(LIST.read_text().split())


def is_long(node: str, names: set[str]) -> bool:
    """Whether a test, by the name that pytest gives it, is one of ``names`` or of a file of them."""
    function = node.removeprefix("tests/").partition("[")[0]
    return function in names or function.partition("::")[0] in names


def chosen(lines: list[str]) -> list[str]:
    """What takes long, by the lines of pytest's table of durations."""
    fixtures: Counter[str] = Counter()
    names = set()
    for seconds, phase, function, file in (found.groups() for line in lines if (found := LINE.match(line))):
        if phase != "call":
            fixtures[file] += float(seconds)
        elif float(seconds) > CALL:
            names.add(function)
    files = {file for file, seconds in fixtures.items() if seconds > FIXTURES}
    return sorted({name for name in names if name.partition("::")[0] not in files} | files)


if __name__ == "__main__":
    LIST.write_text("".join(f"{name}\n" for name in chosen(Path(sys.argv[1]).read_text().splitlines())))
