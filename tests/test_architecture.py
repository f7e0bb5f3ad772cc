"""The package is built as its own maps say: ``pipeline/__init__.py``, and the ``__init__.py`` of each package in it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import pipeline

ROOT = Path(pipeline.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
COMMANDS = ("prepare", "train", "evaluate", "export", "predict")  # a file each; others stand in the rooms of what they do
SEVERAL = (  # stages that do what others do, many times or one after the other
    "pipeline.stages.fit",
    "pipeline.stages.repeats",
    "pipeline.stages.advice.sweep_trial",
)
FACE = "pipeline.config"  # the one package that hands names on, as ``config.Optim`` stands everywhere
HEAVY = (
    *("torch", "torchvision", "accelerate", "wandb", "matplotlib", "sklearn"),
    *("onnx", "onnxruntime", "numpy", "polars", "optuna"),
)
WIDE = {  # functions of more than six parameters, each with its reason
    "pipeline.__main__.predict": "the options of a command",
    "pipeline.__main__.seeds": "the options of a command",
    "pipeline.__main__.train": "the options of a command",
    "pipeline.stages.advice.commands.doctor": "the options of a command",
    "pipeline.stages.advice.commands.plan": "the options of a command",
    "pipeline.stages.views.commands.list_runs": "the options of a command",
    "pipeline.stages.views.commands.explain_example": "the options of a command",
    "pipeline.stages.advice.commands.sweep": "the options of a command",
    "pipeline.model.classifier.__init__": "the hyperparameters of the model, as they stand in the configuration",
    "pipeline.data.batches.__init__": "one choice each of how an epoch is ordered, cut and changed",
    "pipeline.deploy.exporter.export": "what is exported, what is said of it, what it is compared on, and where it goes",
}
TAKE_A_SECTION = ("pipeline.training.", "pipeline.model.", "pipeline.data.")


@cache
def parsed(file: Path) -> ast.Module:
    """The syntax tree of a file, which many tests look at."""
    return ast.parse(file.read_text())


def name_of(file: Path) -> str:
    """``pipeline.data.split`` for pipeline/data/split.py; a package has the name of its folder."""
    return ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(file): file for file in FILES}
PACKAGES = {name for name, file in NAMES.items() if file.name == "__init__.py"}
MODULES = [name for name in NAMES if name not in PACKAGES]


def map_of(package: str) -> list[str]:
    """What the docstring of a package names, in its order."""
    text = ast.get_docstring(parsed(NAMES[package])) or ""
    return re.findall(r"^    ([a-z_]+)/?  +\S", text, re.MULTILINE)


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """The modules of this package that ``file`` imports anywhere, in functions and for type checking too, by line."""
    for node in ast.walk(parsed(file)):
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: relative imports hide where a module stands"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if name in NAMES else str(node.module) for name in inner]
        yield from ((name, node.lineno) for name in found if name.split(".")[0] == "pipeline")


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_the_map_of_a_package_names_each_of_its_modules_once_and_nothing_else(package: str) -> None:
    inside = {name.removeprefix(f"{package}.").split(".")[0] for name in NAMES if name.startswith(f"{package}.")}
    assert sorted(map_of(package)) == sorted(inside)
    if package not in ("pipeline", FACE):
        assert not list(imports(NAMES[package])), "a package's __init__ imports nothing"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_stands_above_it_at_each_level(name: str) -> None:
    for other, line in imports(NAMES[name]):
        where = f"{NAMES[name]}:{line}: {name} imports {other}"
        if other == "pipeline":
            continue  # the version
        assert other in NAMES, f"{where}, which is no module"
        mine, theirs = name.split("."), other.split(".")
        depth = next(depth for depth, (left, right) in enumerate(zip(mine, theirs, strict=False)) if left != right)
        package = ".".join(mine[:depth])
        order = map_of(package)
        assert order.index(theirs[depth]) < order.index(mine[depth]), f"{where}, which stands below it in the map of {package}"
        if package == "pipeline.stages" and name not in SEVERAL:
            assert theirs[depth] not in COMMANDS, f"{where}: a stage reads what another wrote, and not its code"


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(FACE)])
def test_names_of_the_configuration_are_taken_from_its_face(name: str) -> None:
    inner = {other for other, _ in imports(NAMES[name]) if other.startswith(f"{FACE}.")}
    assert inner <= {f"{FACE}.strict_yaml"}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_keeps_its_private_names_and_goes_by_its_own(name: str) -> None:
    tree = parsed(NAMES[name])
    own = {alias for alias, _ in imports(NAMES[name])}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline"):
            private = [alias.name for alias in node.names if alias.name.startswith("_") and alias.name != "__version__"]
            assert not private, f"{NAMES[name]}:{node.lineno}: {private} belong to {node.module}"
            if not name.endswith(("__main__", ".commands")):  # a command has the name of its file
                renamed = [alias.name for alias in node.names if alias.asname and f"{node.module}.{alias.name}" in own]
                assert not renamed, f"{NAMES[name]}:{node.lineno}: {renamed} under another name"


def test_the_first_listing_is_short_and_each_folder_shows_its_story() -> None:
    assert len([path for path in ROOT.iterdir() if path.name != "__pycache__"]) <= 16
    for package in PACKAGES - {"pipeline"}:
        assert 1 <= len(map_of(package)) <= 12, package


def test_each_command_is_a_stage() -> None:
    assert set(map_of("pipeline.stages")) == {"terminal", "assembly", "job", "advice", *COMMANDS, "repeats", "views", "fit"}


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["train", "--help"], []])
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
    """All functions of a file, inner ones too, but kernels of a GPU, whose arguments are addresses and constants."""
    found = (node for node in ast.walk(parsed(file)) if isinstance(node, ast.FunctionDef))
    yield from (node for node in found if not any("triton.jit" in ast.unparse(one) for one in node.decorator_list))


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith(TAKE_A_SECTION)])
def test_a_function_takes_its_own_section_and_never_the_whole_configuration(name: str) -> None:
    assert "Config" not in [alias.name for alias in _froms(NAMES[name], "pipeline.config")], "the section, not the whole"
    for function in functions(NAMES[name]):
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        for node in (*(argument.annotation for argument in arguments), function.returns):
            said = ast.unparse(node) if node else ""
            assert not re.search(r"\bConfig\b", said), f"{name}.{function.name} takes {said}"
        for argument in arguments:
            assert argument.annotation or argument.arg in ("self", "cls"), f"{name}.{function.name}({argument.arg})"


def _froms(file: Path, module: str) -> list[ast.alias]:
    nodes = ast.walk(parsed(file))
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

    assert list(silent(parsed(NAMES[name]), name)) == []


def test_no_module_has_grown_into_two() -> None:
    lines = {name: len(file.read_text().splitlines()) for name, file in NAMES.items()}
    assert {name: count for name, count in lines.items() if count > 250} == {}


def test_no_function_has_grown_into_two() -> None:
    lengths = {
        f"{name}.{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for name, file in NAMES.items()
        for function in functions(file)
    }
    assert {name: count for name, count in lengths.items() if count > 66} == {}


def test_functions_take_few_parameters() -> None:
    def count(function: ast.FunctionDef) -> int:
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        return len([argument for argument in arguments if argument.arg not in ("self", "cls")])

    found = {f"{name}.{function.name}" for name, file in NAMES.items() for function in functions(file) if count(function) > 6}
    assert found <= WIDE.keys()


@pytest.mark.parametrize("name", MODULES)
def test_no_function_changes_the_names_of_another(name: str) -> None:
    assert not [node.lineno for node in ast.walk(parsed(NAMES[name])) if isinstance(node, ast.Nonlocal)]


OLD_WORDS = (
    r"\b(train(ing)?|valid(ation)?|test) parts?\b|\ba (row|step|series) a (row|step|series)\b|(?<!standard )\bdeviations? of\b"
)


@pytest.mark.parametrize("name", NAMES)
def test_texts_use_the_words_of_the_glossary(name: str) -> None:
    texts = [node.value for node in ast.walk(ast.parse(NAMES[name].read_text())) if isinstance(node, ast.Constant)]
    assert not [text for text in texts if isinstance(text, str) and re.search(OLD_WORDS, text)]
