"""What each module keeps: no file that somebody sent is read whole whatever its size, and no name is taken for a pattern."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "pipeline"
SOURCES = sorted(ROOT.rglob("*.py"))
OWN = {  # modules that read files of the system or of the package, or what this program wrote or read just before
    "data/sources/progress.py",
    "deploy/card.py",
    "distributed/cores.py",
    "distributed/launcher.py",
    "distributed/lock.py",
    "distributed/places.py",
    "distributed/signals.py",
    "model/cpu_lstm.py",
    "report/compare/page.py",
    "report/page/writing.py",
    "run/environment.py",
    "stages/advice/examination/hardware.py",
    "stages/advice/sweep.py",
    "stages/fit.py",
    "tuning/memory.py",
}


def calls(source: str) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]


def whole(source: str) -> list[str]:
    """Calls that read a file to its end, wherever that is."""
    named = [(node, node.func.attr) for node in calls(source) if isinstance(node.func, ast.Attribute)]
    return [ast.unparse(node) for node, name in named if name in ("read_text", "read_bytes")]


def patterns(source: str) -> list[str]:
    """Patterns of files with something in them that may be one itself."""
    found = []
    for node in calls(source):
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("glob", "rglob") and node.args:
            inner = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else []
            named = [ast.unparse(part.value) for part in inner if isinstance(part, ast.FormattedValue)]
            found += [ast.unparse(node) for name in named if not name.startswith("glob.escape(")]
            found += [ast.unparse(node)] if not isinstance(node.args[0], ast.JoinedStr | ast.Constant) else []
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_is_read_whole_without_a_limit_and_no_name_is_a_pattern(file: Path) -> None:
    source = file.read_text()
    name = str(file.relative_to(ROOT))
    assert (name in OWN) == bool(whole(source)), "pipeline.files.read and pipeline.files.lines have limits"
    assert patterns(source) == [], "glob.escape spells a name"


@pytest.mark.parametrize(
    "source", ["a.glob(f'.{folder.name}.*')", "a.glob(name)", "a.rglob(f'run-{self.id}')", "b.glob('x' + name)"]
)
def test_the_search_for_patterns_finds_them(source: str) -> None:
    assert patterns(source) and not patterns("a.glob('*.yaml'); a.glob(f'x-{glob.escape(name)}*')")
    assert whole("path.read_text(encoding='utf-8')")
