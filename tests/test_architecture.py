"""The package is built as its own map says: ``pipeline/__init__.py``."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline

ROOT = Path(pipeline.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MAP = re.findall(r"^    ([a-z_.]+)  +\S", pipeline.__doc__ or "", re.MULTILINE)
STAGES = re.findall(r"^    ([a-z_.]+)  +\S", (ROOT / "stages/__init__.py").read_text(), re.MULTILINE)
COMMANDS = ("prepare", "tune", "train", "evaluate", "export", "predict")
HEAVY = ("torch", "torchvision", "accelerate", "wandb", "matplotlib", "sklearn", "onnx", "onnxruntime", "numpy", "polars")


def name_of(file: Path) -> str:
    """``data.idx`` for pipeline/data/idx.py; a package has the name of its folder."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__").removeprefix("__init__")


NAMES = {name_of(file): file for file in FILES}


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """The modules of this package that ``file`` imports anywhere, in functions and for type checking too, by line."""
    for node in ast.walk(ast.parse(file.read_text())):
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: relative imports hide where a module stands"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if name.removeprefix("pipeline.") in NAMES else str(node.module) for name in inner]
        yield from ((name.removeprefix("pipeline."), node.lineno) for name in found if name.split(".")[0] == "pipeline")


def place(name: str) -> int:
    """The line of a module in the map; all stages stand in one."""
    return MAP.index("stages" if name.split(".")[0] == "stages" else name)


def test_the_map_names_every_module_once_and_nothing_else() -> None:
    modules = {"stages" if name.startswith("stages") else name for name in NAMES} - {"", "data"}
    assert sorted(MAP) == sorted(modules)
    assert not [name for name in ("", "data", "stages") if list(imports(NAMES[name]))], "a package's __init__ imports nothing"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("", "data", "stages")])
def test_a_module_imports_only_from_those_above_it(name: str) -> None:
    for other, line in imports(NAMES[name]):
        where = f"{NAMES[name]}:{line}: {name} imports {other}"
        if other == "pipeline":
            continue  # the version
        assert other in NAMES, f"{where}, which is no module"
        if name.startswith("stages.") and other.startswith("stages."):
            inner = other.removeprefix("stages.")
            assert inner not in COMMANDS, f"{where}: a stage reads what another wrote, and not its code"
            assert STAGES.index(inner) < STAGES.index(name.removeprefix("stages.")), f"{where}, which stands below it"
        else:
            assert place(other) < place(name), f"{where}, which stands below it in pipeline/__init__.py"


def test_the_map_of_the_stages_names_each_of_them_once() -> None:
    assert sorted(STAGES) == sorted(name.removeprefix("stages.") for name in NAMES if name.startswith("stages."))
    assert set(COMMANDS) <= set(STAGES)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], []])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = f"""
import sys
from pipeline.__main__ import main
sys.argv = ["pipeline", *{arguments!r}]
try:
    main()
except SystemExit:
    pass
print("LOADED", *sorted({{name.split(".")[0] for name in sys.modules}} & set({HEAVY!r})))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT.parent, timeout=60)
    assert "Usage" in done.stdout + done.stderr, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"


def functions(file: Path) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("name", [name for name in NAMES if name in ("engine", "optim", "model") or name.startswith("data.")])
def test_a_function_takes_its_own_section_and_never_the_whole_configuration(name: str) -> None:
    assert "config" not in [alias.name for alias in _froms(NAMES[name], "pipeline.config")], (
        "the section, not its module's root"
    )
    for function in functions(NAMES[name]):
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        for node in (*(argument.annotation for argument in arguments), function.returns):
            said = ast.unparse(node) if node else ""
            assert not re.search(r"\bConfig\b", said), f"{name}.{function.name} takes {said}"
        for argument in arguments:
            assert argument.annotation or argument.arg in ("self", "cls"), f"{name}.{function.name}({argument.arg})"


def _froms(file: Path, module: str) -> list[ast.alias]:
    nodes = ast.walk(ast.parse(file.read_text()))
    return [alias for node in nodes if isinstance(node, ast.ImportFrom) and node.module == module for alias in node.names]


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_says_what_it_is(name: str) -> None:
    def silent(node: ast.Module | ast.ClassDef | ast.FunctionDef, path: str) -> Iterator[str]:
        if not ast.get_docstring(node):
            yield path
        if not isinstance(node, ast.FunctionDef):
            for inner in node.body:
                if isinstance(inner, ast.ClassDef | ast.FunctionDef) and not inner.name.startswith("_"):
                    yield from silent(inner, f"{path}.{inner.name}")

    assert list(silent(ast.parse(NAMES[name].read_text()), f"pipeline.{name}")) == []


def test_no_module_has_grown_into_two() -> None:
    lines = {name: len(file.read_text().splitlines()) for name, file in NAMES.items()}
    assert {name: count for name, count in lines.items() if count > 300} == {}
