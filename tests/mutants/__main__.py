"""``python -m tests.mutants``: put each mutant into a copy of the project, run the tests that must fail, and say the score.

What was found is kept in ``.mutants/results.jsonl`` and not tried again until the mutant, its file or its tests change.
Exit status: 0; 1 if the score is below the bar, or if an entry does not apply or its tests cannot be run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from time import monotonic

from tests.mutants.table import ROOT, Mutant, load
from tests.mutants.trial import COLLECTED, Copy, Result

BAR = 0.95  # of the mutants that are not equivalent
KEPT = Path(".mutants/results.jsonl")
WITHOUT = 1800  # seconds for the tests without a mutant


def key_of(mutant: Mutant) -> str:
    """What a result depends on, or most of it: the entry, the file that it changes, the files of its tests, what these use."""
    shared = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests/support").rglob("*.py"))
    files = [mutant.file, *sorted({test.split("::")[0] for test in mutant.node_ids}), "tests/conftest.py", *shared]
    total = sha256(json.dumps(asdict(mutant), sort_keys=True).encode())
    for name in files:
        total.update((ROOT / name).read_bytes())
    return total.hexdigest()


def known() -> dict[str, Result]:
    """The results of earlier calls by ``key_of``."""
    lines = KEPT.read_text().splitlines() if KEPT.exists() else []
    return {line.pop("key"): Result(**line) for line in map(json.loads, lines)}


def keep(key: str, result: Result) -> None:
    """Add a result to those of earlier calls."""
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a") as file:
        file.write(json.dumps({"key": key, **asdict(result)}) + "\n")


def results(mutants: list[Mutant], jobs: int, seconds: float, trusted: bool) -> Iterator[tuple[Mutant, Result]]:
    """What becomes of each, as it is found. Raises SystemExit if their tests, where not ``trusted``, fail without them."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(jobs):
            copies.put(Copy(ROOT, Path(folder) / str(number), Path(folder) / "cache"))
        if not trusted:
            copy = copies.get()
            passed = pass_without(copy, mutants)
            copies.put(copy)
            if not passed:
                mutants = []

        def tried(mutant: Mutant) -> Result:
            own = copies.get()
            try:
                return own.tried(mutant, seconds)
            finally:
                copies.put(own)

        futures = {pool.submit(tried, mutant): mutant for mutant in mutants}
        for future in as_completed(futures):
            yield futures[future], future.result()
        for _ in range(jobs):
            copies.get().close()
        if not mutants:
            raise SystemExit("the tests fail without a mutant")


def pass_without(copy: Copy, mutants: list[Mutant]) -> bool:
    """Whether the tests of ``mutants`` pass in a copy without any, with a word."""
    tests = sorted({test for mutant in mutants for test in mutant.node_ids})
    print(f"without a mutant: {len(tests)} tests", flush=True)
    status, said, took = copy.run(tests, WITHOUT)
    print(f"without a mutant: they pass, {took:.0f} s" if status == COLLECTED else said[-3000:], flush=True)
    return status == COLLECTED


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", help="names of mutants, or beginnings of names, separated by commas")
    parser.add_argument("--limit", type=int, help="try at most so many")
    parser.add_argument("--jobs", type=int, default=1, help="at a time")
    parser.add_argument("--seconds", type=float, default=300, help="for the tests of each")
    parser.add_argument("--again", action="store_true", help="try also what was tried before; else only what survived is")
    parser.add_argument("--trusted", action="store_true", help="do not run the tests without a mutant first")
    parser.add_argument("--bar", type=float, default=BAR)
    return parser.parse_args()


def main() -> None:
    """The command."""
    options, began = arguments(), monotonic()
    chosen = load()
    if options.only:
        chosen = [mutant for mutant in chosen if mutant.name.startswith(tuple(options.only.split(",")))]
    for mutant in chosen:
        mutant.applied((ROOT / mutant.file).read_text())
    equivalent = [mutant for mutant in chosen if mutant.equivalent]
    before = {} if options.again else known()
    keys = {mutant.name: key_of(mutant) for mutant in chosen}  # now: the files may change while the mutants are tried
    found = {name: before[key] for name, key in keys.items() if key in before}
    found = {name: result for name, result in found.items() if result.outcome == "killed"}
    left = [mutant for mutant in chosen if not mutant.equivalent and mutant.name not in found][: options.limit]
    left.sort(key=lambda mutant: mutant.tests[0].startswith(("cluster", "deploy", "faults", "stages")))  # the slow ones last
    print(f"{len(chosen)} mutants: {len(equivalent)} equivalent, {len(found)} killed before, {len(left)} to try", flush=True)
    for mutant, result in results(left, options.jobs, options.seconds, options.trusted) if left else ():
        found[mutant.name] = result
        keep(keys[mutant.name], result)
        print(f"{mutant.name:5} {result.outcome:8} {result.seconds:4.0f} s  {result.by or mutant.breaks}", flush=True)
    tried = [result for result in found.values() if result.outcome != "broken"]
    score = sum(result.outcome == "killed" for result in tried) / max(1, len(tried))
    alive = [mutant for mutant in chosen if mutant.name in found and found[mutant.name].outcome != "killed"]
    for mutant in alive:
        print(f"{found[mutant.name].outcome}: {mutant.name} {mutant.file}: {mutant.breaks}")
    broken = any(result.outcome == "broken" for result in found.values())
    print(f"mutation score {score:.3f}: {len(tried)} tried, {len(equivalent)} equivalent, {monotonic() - began:.0f} s")
    sys.exit(broken or score < options.bar)


if __name__ == "__main__":
    main()
