"""CI installs and checks what the pages say, and names no address."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import tiers

ROOT = Path(__file__).parents[1]
PUBLIC = (".ci/run", ".github/workflows/ci.yml", "Makefile", "requirements.lock", "requirements-bench.lock")


@pytest.mark.parametrize("file", PUBLIC)
def test_no_address_and_no_private_path_is_named(file: str) -> None:
    """Where packages and data come from is the business of the machine's own settings."""
    text = (ROOT / file).read_text().lower()
    assert not [word for word in ("://", "index-url", "find-links", "/home/", "/root/") if word in text]


def test_ci_installs_as_the_readme_says_and_the_workflow_runs_it() -> None:
    script, workflow = (ROOT / ".ci/run").read_text(), (ROOT / ".github/workflows/ci.yml").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, timeout=10).returncode == 0
    steps = re.findall(r"^limited \S+ make ([\w-]+)", script, re.MULTILINE)
    assert steps == ["setup", "lint", "faults", "test-long", "test"]
    assert "bash .ci/run" in workflow


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("cluster-test", "limited 16m make cluster-test"),
        (
            "lint faults cluster-test test-long test",
            "limited 4m make cluster-test ARGS=-k 'two_ranks or warning_before or rank_that_is_killed'",
        ),
    ],
)
def test_ci_makes_as_many_tests_of_hosts_as_it_has_time_for_and_says_what_it_leaves_out(steps: str, said: str) -> None:
    script = (ROOT / ".ci/run").read_text()
    hosts = script[script.index("hosts() {") : script.index('case $steps in *" cluster-test "*)')]
    trial = f'limited() {{ echo "limited $*"; }}\n{hosts}\nsteps=" setup {steps} "\nhosts\n'
    done = subprocess.run(["bash", "-eu", "-c", trial], cwd=ROOT, capture_output=True, text=True, timeout=10)
    assert done.stdout.splitlines()[-1] == said, done.stderr


def test_ci_installs_a_browser_and_has_the_tests_of_the_report_insist_on_it() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert "chromium:chromium" in script
    assert re.search(r"^    export REPORT_BROWSER=required", script, re.MULTILINE), "where it can be installed"
    assert 'os.environ.get("REPORT_BROWSER")' in (ROOT / "tests/report/conftest.py").read_text()


def test_each_test_that_takes_long_is_there() -> None:
    """A line of the list whose test was renamed would leave a long one in "make test"."""
    for name in tiers.listed():
        file, _, function = name.partition("::")
        assert (ROOT / "tests" / file).is_file(), name
        assert not function or f"def {function}(" in (ROOT / "tests" / file).read_text(), name


def test_what_takes_long_is_found_in_the_table_of_durations() -> None:
    lines = [
        f"{tiers.FIXTURES + 0.1:.2f}s setup    tests/a/test_one.py::test_first",
        "0.20s setup    tests/a/test_two.py::test_other",
        f"{tiers.CALL + 0.1:.2f}s call     tests/a/test_two.py::test_other[some-case]",
        "0.10s call     tests/a/test_two.py::test_short",
        "9.00s call     tests/a/test_one.py::test_second",
    ]
    assert (found := tiers.chosen(lines)) == ["a/test_one.py", "a/test_two.py::test_other"]
    nodes = ("tests/a/test_one.py::test_second", "tests/a/test_two.py::test_other[b]", "tests/a/test_two.py::test_short")
    assert [tiers.is_long(node, set(found)) for node in nodes] == [True, True, False]
