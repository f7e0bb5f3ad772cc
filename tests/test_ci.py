"""CI installs and checks what the pages say, and names no address."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

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
    steps = re.findall(r"^limited \S+ make (\w+)", script, re.MULTILINE)
    assert steps == ["setup", "lint", "faults", "test"]
    assert "bash .ci/run" in workflow


def test_ci_installs_a_browser_and_has_the_tests_of_the_report_insist_on_it() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert "chromium:chromium" in script
    assert re.search(r"^    export REPORT_BROWSER=required", script, re.MULTILINE), "where it can be installed"
    assert 'os.environ.get("REPORT_BROWSER")' in (ROOT / "tests/report/conftest.py").read_text()
