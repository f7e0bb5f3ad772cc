"""``python -m tests.fuzz``: many files by chance, and what was found. Exit status 1 if something was."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.campaign import outcomes, tally
from tests.fuzz.formats import FORMATS


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="files by chance, valid and damaged ones")
    parser.add_argument("--files", type=int, default=20_000, help="of each format")
    parser.add_argument("--format", action="append", choices=FORMATS, help="more than once for several; else all")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, help="a folder for the files of findings")
    options = parser.parse_args()
    found = False
    for name in options.format or FORMATS:
        seen = []
        for outcome in outcomes(name, options.seed, options.files, options.keep):
            seen.append(outcome)
            if outcome.kind == "finding":
                found = True
                print(f"{name}, seed {options.seed}, file {outcome.index}: {outcome.said}", flush=True)
            if len(seen) % 2000 == 0:
                print(f"{name}: {tally(seen)}", flush=True)
        print(f"{name}, seed {options.seed}: {tally(seen)}", flush=True)
    sys.exit(found)


if __name__ == "__main__":
    main()
