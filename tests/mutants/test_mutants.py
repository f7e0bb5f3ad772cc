"""The table of mutants is that of the program as it is, and a mutant is killed by nothing but a test that fails."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.table import ROOT, Mutant, load
from tests.mutants.trial import Copy

TABLE = load()


def test_the_table_covers_the_package() -> None:
    assert len(TABLE) > 150
    assert {mutant.file.split("/")[1] for mutant in TABLE} >= {"training", "data", "model", "run", "deploy", "stages"}


@pytest.mark.parametrize("mutant", TABLE, ids=lambda mutant: mutant.name)
def test_a_mutant_stands_at_one_place_and_its_tests_are_there(mutant: Mutant) -> None:
    changed = mutant.applied((ROOT / mutant.file).read_text())
    if mutant.file.endswith(".py"):
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse((ROOT / mutant.file).read_text())), "it changes the program"
    assert bool(mutant.tests) != bool(mutant.equivalent)
    for test in mutant.tests:
        file, _, name = test.partition("[")[0].partition("::")
        path = ROOT / "tests" / file
        assert path.is_file() and (not name or f"def {name}(" in path.read_text()), f"there is no {test}"


def test_a_text_that_is_not_there_once_is_an_error(tmp_path: Path) -> None:
    mutant = Mutant("M", "", "file.py", "one", "two")
    for text, count in (("", 0), ("one one", 2)):
        with pytest.raises(ValueError, match=rf"M: file\.py: the old text stands there {count} times"):
            mutant.applied(text)
    for name in "ab":
        (tmp_path / f"{name}.toml").write_text('[M]\nbreaks = ""\nfile = ""\nold = ""\nnew = ""\n')
    with pytest.raises(ValueError, match=r"b\.toml: M is there twice"):
        load(tmp_path)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """Of a project of one function and its tests."""
    root, place = (tmp_path_factory.mktemp(name) for name in ("root", "place"))
    (root / "tests").mkdir()
    (root / "double.py").write_text("def double(x):\n    return x * 2\n")
    tests = (
        "import time\n\nfrom double import double\n\n\ndef test_it():\n    assert double(2) == 4\n\n\ndef test_three():\n"
        "    assert double(3) == 6\n\n\ndef test_wait():\n    time.sleep(max(0, double(1) - 2))\n"
    )
    (root / "tests/test_double.py").write_text(tests)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    made = Copy(root, place, place / "cache", preloaded=())
    yield made
    made.close()


MADE = Mutant("M", "", "double.py", "x * 2", "x ** 2", ("test_double.py::test_three",))


@pytest.mark.parametrize(
    ("mutant", "outcome", "by"),
    [
        (MADE, "killed", "test_double.py::test_three"),
        (replace(MADE, new="x + 2"), "killed", "test_double.py::test_three"),
        (replace(MADE, tests=("test_double.py::test_it",)), "survived", ""),
        (replace(MADE, tests=("test_double.py::test_none",)), "broken", ""),
        (replace(MADE, new="x *"), "broken", ""),
        (replace(MADE, new="x * 99", tests=("test_double.py::test_wait",)), "hung", "no end in 5 s"),
        (replace(MADE, new="x * 99", tests=("test_double.py::test_wait",), hangs="why"), "killed", "no end in 5 s"),
    ],
)
def test_a_mutant_is_killed_by_a_test_that_fails_and_leaves_no_trace(copy: Copy, mutant: Mutant, outcome: str, by: str) -> None:
    before = (copy.place / mutant.file).read_text()
    result = copy.tried(mutant, 5 if "wait" in mutant.tests[0] else 60)
    assert result.outcome == outcome and (not by or result.by == by), result
    assert (copy.place / mutant.file).read_text() == before
    assert copy.run(["tests/test_double.py::test_three"], 30)[0] == 0, "the next one meets the program as it was"


def test_a_mutant_by_the_command_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.mutants", "--only", "N22", "--again"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0 and "N22   killed" in done.stdout, done.stdout + done.stderr
    assert "mutation score 1.000: 1 tried, 0 equivalent" in done.stdout
    assert len((tmp_path / ".mutants/results.jsonl").read_text().splitlines()) == 1
