"""A process that makes checks: it may hang or die of one without harm to the others.

python -m pipeline.stages.advice.examination.worker DESCRIPTOR REQUEST, started by ``watched``
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from pipeline import config
from pipeline.distributed import process
from pipeline.errors import UserError
from pipeline.stages.advice.examination import checks, task
from pipeline.stages.advice.examination.results import Check, Found, NotHere, Place, Result, Status, broken, result

SETS = {"alone": checks.ALONE, "several": checks.SEVERAL, "launched": checks.LAUNCHED, "planned": checks.PLANNED}


def made(check: Check, place: Place) -> Result:
    """``check`` with what it answers; an error of it is an answer too."""
    began = time.perf_counter()
    try:
        found: Found = check.run(place)
    except NotHere as why:
        return result(check, "not here", str(why), why.do)
    except UserError as error:  # which says itself what to do
        return broken(check, str(error), "")
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return broken(check, said, "send the JSON of this command to the authors (README)")
    status: Status = "told" if check.kind != "promise" else "pass" if found.holds else "fail"
    took = time.perf_counter() - began
    return Result(check.name, check.kind, check.title, status, found.said, found.do, took, found.values, found.warnings)


def answers(which: str, names: Sequence[str], place: Place, say: Callable[[str], object]) -> Iterator[Result]:
    """The checks ``names`` of a set, one after the other; ``say`` is told the name of each before it is made."""
    several = process.launched()
    run = place.settings.run if place.settings else config.Run(timeout=60, join_timeout=60)
    with task.together(run) if several else nullcontext():
        for check in SETS[which]:
            if check.name in names:
                say(check.name)
                yield made(check, place)


def main() -> None:
    """Make the checks that were asked for; each answer is a line of JSON. Ends with the process that asked."""
    descriptor, request = int(sys.argv[1]), json.loads(sys.argv[2])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    file, overrides = request["config"], request["overrides"]
    settings = config.load(Path(file), overrides) if file else None
    place = Place(Path(request["folder"]), settings)
    with os.fdopen(descriptor, "w", buffering=1) as out:
        for answer in answers(request["which"], request["names"], place, lambda name: out.write(json.dumps(name) + "\n")):
            out.write(json.dumps(vars(answer)) + "\n")


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
