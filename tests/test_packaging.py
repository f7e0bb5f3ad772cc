"""The package as it is installed: from a wheel, into an environment of its own, used from a folder that is no checkout."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import pipeline
from pipeline.model import cpu_lstm
from tests.support.launching import environment
from tests.support.predicting import export_untrained
from tests.support.raw_files import examples, put

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = dict(PROJECT["project"]["optional-dependencies"])
ALL = EXTRAS.pop("all")
DEPENDENCIES = [*PROJECT["project"]["dependencies"], *chain(*EXTRAS.values())]
CACHES = shutil.ignore_patterns("__pycache__", ".*")
WITHOUT = """
import sys
sys.modules |= dict.fromkeys(sys.argv[1:])  # importing them raises ModuleNotFoundError
from pipeline import fit, load
from pipeline.errors import UserError
own = {"run": {"dir": "own"}, "train": {"epochs": 1}}
run = fit(own | {"export": {"formats": ["safetensors", "pt2"]}})
assert run.evaluate()["count"] > 100
assert run.export().predict([[[0.0] * 8] * 8]).names.shape == (1,)
assert load("whole").predict([[[0.0] * 7] * 5]).names.shape == (1,), "from its weights, though its ONNX file is there"
for action in (
    lambda: fit({"run": {"dir": "images"}, "data": {"source": "mnist"}}),
    lambda: fit(own | {"run": {"dir": "all"}}).export(),
    lambda: load("whole/model.onnx"),
):
    try:
        action()
    except UserError as error:
        print("ERROR", error)
"""
FROM_PYTHON = """
import os, re, sys
import pipeline
assert "torch" not in sys.modules
from pipeline import fit, load
run = fit("own.yaml")
assert run.evaluate()["count"] > 100
run.export()
names, probabilities, ids = load("runs/own/export").predict([[[0.0] * 8] * 8] * 2)
assert names.shape == (2,) and probabilities.shape == (2, 10)
os.chdir("runs/own/export")
card = open("README.md").read()
exec(re.search(r"this package.*?```python\\n(.*?)```", card, re.DOTALL)[1])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that ``pip wheel .`` makes of a copy of the checkout, where nothing of git is left."""
    folder = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", ignore=CACHES)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "tests").mkdir()
    (folder / "tests/__init__.py").touch()
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", "wheels"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], cwd=folder, check=True, timeout=120)
    (found,) = (folder / "wheels").iterdir()
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment where the wheel is installed, beside the libraries of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    python = folder / "bin/python"
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile"]
    command = [sys.executable, "-m", "pip", "--python", python, "install", *options, wheel]
    subprocess.run(command, check=True, timeout=120, env=environment(PYTHONPATH=""))
    (libraries,) = folder.glob("lib/python*/site-packages")
    (libraries / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def outside(*command: str | Path, cwd: Path) -> str:
    """What a command prints in ``cwd``, where Python finds no checkout."""
    done = subprocess.run(command, cwd=cwd, env=environment(PYTHONPATH=""), capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_file_of_the_package_and_no_other_code(wheel: Path) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "pipeline").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in packed if ".dist-info/" not in name} == files
    assert "pipeline/py.typed" in packed and "pipeline/model/cpu_lstm.cpp" in packed
    assert any(name.endswith("licenses/LICENSE") for name in packed)


def test_the_version_has_one_home(installed: Path, tmp_path: Path) -> None:
    assert "version" not in PROJECT["project"]
    program = (
        "import pipeline; from importlib.metadata import version; print(pipeline.__version__, version('sequence-pipeline'))"
    )
    assert outside(installed / "python", "-c", program, cwd=tmp_path).split() == [pipeline.__version__] * 2
    for command in ([installed / "sequence-pipeline"], [installed / "python", "-m", "pipeline"]):
        assert outside(*command, "--version", cwd=tmp_path) == f"sequence-pipeline {pipeline.__version__}\n"


def test_the_installed_program_does_all_that_the_checkout_does(installed: Path, tmp_path: Path) -> None:
    program = installed / "sequence-pipeline"
    (tmp_path / "own.yaml").write_text("model: {hidden: 16}\ntrain: {epochs: 1}\ntrack: {backends: []}\n")
    outside(program, "prepare", "--config", "own.yaml", cwd=tmp_path)
    said = outside(program, "train", "--config", "own.yaml", cwd=tmp_path)
    try:
        cpu_lstm.library()
    except cpu_lstm.Unavailable as unavailable:
        assert str(unavailable) in said
    else:
        assert "by our own kernel" in said
    assert len(outside(installed / "python", "-c", FROM_PYTHON, cwd=tmp_path).splitlines()) > 10
    assert "report.html" in outside(program, "report", "runs/own", cwd=tmp_path), "its assets are in the wheel"
    assert "next  " in outside(program, "summary", "--run", "runs/own", cwd=tmp_path)


def test_a_run_of_an_installed_package_names_no_commit_of_the_repository_around_it(installed: Path, tmp_path: Path) -> None:
    """An environment often lies in the folder of a project of the user's own."""
    libraries = outside(installed / "python", "-c", "import pipeline; print(pipeline.__path__[0])", cwd=tmp_path).strip()
    shutil.copytree(libraries, tmp_path / "libraries/pipeline", ignore=CACHES)
    commit = ["-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "--allow-empty", "--message", "theirs"]
    for arguments in (["init", "--quiet"], commit):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, timeout=30)
    program = (
        "from pipeline.run.environment import environment as e; print(e()['git_commit'], e()['git_changes'], e()['version'])"
    )
    said = outside(sys.executable, "-c", program, cwd=tmp_path / "libraries")
    assert said.split() == ["None", "False", pipeline.__version__]


def pins(name: str) -> dict[str, set[str]]:
    """The versions of each package in a lock file; a package has several where they depend on the version of Python."""
    found: dict[str, set[str]] = {}
    for block in re.split(r"\n(?=\S)", (ROOT / name).read_text()):
        if pin := re.match(r"([\w-]+)==(\S+)", block):
            assert "--hash=sha256:" in block, f"{name}: {pin[0]} has no hash"
            found.setdefault(pin[1], set()).add(pin[2])
    return found


def test_the_lock_files_hold_all_that_the_project_asks_for() -> None:
    locked, bench = pins("requirements.lock"), pins("requirements-bench.lock")
    assert not locked.keys() & bench.keys(), "each package is locked once"
    groups = PROJECT["dependency-groups"]
    for text, known in (
        *((text, locked) for text in DEPENDENCIES + groups["dev"] + PROJECT["build-system"]["requires"]),
        *((text, bench) for text in groups["bench"]),
    ):
        wanted = Requirement(text)
        versions = known.get(canonicalize_name(wanted.name))
        assert versions and all(wanted.specifier.contains(version) for version in versions), f"{text}; type: make lock"


def test_all_is_all_extras() -> None:
    assert [f"sequence-pipeline[{','.join(sorted(EXTRAS))}]"] == ALL


def test_training_does_without_the_extras_and_says_once_what_each_is_for(tmp_path: Path) -> None:
    put(tmp_path / "raw", examples())
    export_untrained(tmp_path, "data.source=mnist", "data.root=raw")
    (tmp_path / "export").rename(tmp_path / "whole")
    absent = [Requirement(text).name for text in chain(*EXTRAS.values())]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *absent], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("wandb: it is not installed; type: pip install wandb; the job goes on without it") == 4
    assert [line for line in done.stdout.splitlines() if line.startswith("ERROR")] == [
        "ERROR data.source: mnist needs torchvision, which is not installed; type: pip install torchvision",
        "ERROR export.formats: onnx needs onnx, which is not installed; type: pip install onnx onnxruntime",
        "ERROR whole/model.onnx: needs onnx, which is not installed; type: pip install onnx onnxruntime",
    ]
    assert not (tmp_path / "all/export").exists(), "nothing is left half-made"


def test_what_the_package_imports_is_what_it_declares() -> None:
    nodes = [node for file in (ROOT / "pipeline").rglob("*.py") for node in ast.walk(ast.parse(file.read_text()))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    # by pydantic, by torch for CUDA, by optuna, and by a user who tracks with it
    brought = {"pydantic_core", "triton", "sqlalchemy", "mlflow"}
    imported = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"pipeline"} - brought
    declared = {canonicalize_name(Requirement(text).name) for text in DEPENDENCIES}
    owners = {name: set(map(canonicalize_name, packages_distributions()[name])) for name in imported}  # of google: several
    assert {name: found for name, found in owners.items() if not found & declared} == {}
    assert declared - set().union(*owners.values()) == set(), "is declared and never imported"


ADVISORY = """
id: PYSEC-1
affected:
- package: {{ecosystem: PyPI, name: Rotten_Name}}
  ranges:
  - type: GIT
    events: [{{introduced: "0"}}]
  - type: ECOSYSTEM
    events: [{{introduced: "0"}}, {{fixed: "1.2"}}, {{introduced: 1.9rc1}}, {{last_affected: "1.10"}}]
  versions: ["1.5"]
details: It runs what it reads.{more}
"""


@pytest.mark.parametrize(
    ("version", "more", "status"),
    [
        *((version, "", 1) for version in ("0.1", "1.1.9", "1.5", "1.9", "1.10")),
        *((version, "", 0) for version in ("1.2", "1.4", "1.10.1", "2.0")),
        ("0.1", "\nwithdrawn: 2026-01-01T00:00:00Z", 0),
    ],
)
def test_an_audit_names_the_pins_that_an_advisory_affects(tmp_path: Path, version: str, more: str, status: int) -> None:
    (tmp_path / "vulns/rotten-name").mkdir(parents=True)
    (tmp_path / "vulns/rotten-name/PYSEC-1.yaml").write_text(ADVISORY.format(more=more))
    (tmp_path / "a.lock").write_text(f"# made by hand\nother==0.1 \\\n    --hash=sha256:00\nrotten-name=={version} ; 1 \\\n")
    done = subprocess.run([sys.executable, ROOT / ".ci/audit.py", ".", "a.lock"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    affected = f"a.lock: rotten-name=={version}: PYSEC-1: It runs what it reads.\n"
    assert done.stdout == (affected if status else "no pin is affected\n")


def test_an_audit_without_advisories_is_no_audit(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, ROOT / ".ci/audit.py", tmp_path, "a.lock"], capture_output=True, text=True)
    assert done.returncode == 2 and "PyPA's advisory database" in done.stderr


def test_what_is_locked_is_installed_by_hash_and_as_wheels_alone() -> None:
    """A package that is built on the way runs code of its own, with tools that no lock file names."""
    root = Path(__file__).parents[1]
    makefile = (root / "Makefile").read_text()
    locked = next(line for line in makefile.splitlines() if line.startswith("LOCKED"))
    found = [
        line.replace("$(LOCKED)", locked)
        for path in ("Makefile", "launch/Dockerfile", ".ci/run")
        for line in (root / path).read_text().splitlines()
        if "pip install" in line and "requirements" in line
    ]
    assert len(found) >= 3
    assert all("--require-hashes" in line and "--only-binary :all:" in line for line in found), found


def test_actions_of_others_are_pinned_by_their_commit() -> None:
    used = re.findall(r"uses: (\S+)", (ROOT / ".github/workflows/ci.yml").read_text())
    assert used and all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in used)


def test_ci_refuses_a_step_that_it_has_not() -> None:
    done = subprocess.run([ROOT / ".ci/run", "tests"], capture_output=True, text=True, timeout=30)
    assert (
        done.returncode == 2 and done.stderr == "error: tests is no step; there are: lint faults cluster-test test-long test\n"
    )


def test_ci_runs_each_test_once_within_its_time() -> None:
    script = (ROOT / ".ci/run").read_text()
    limits = [int(minutes) for minutes in re.findall(r"^limited (\d+)m make", script, re.MULTILINE)]
    assert len(limits) == 5 and sum(limits) < 90
    commands = [["make", "-n", "-o", "setup", *words] for words in (["faults", "ARGS=-m slow"], ["test-long"], ["test"])]
    assert 'make faults ARGS="-m slow"' in script and "make test-long " in script and "make test " in script
    runs = [subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout for command in commands]
    chosen = [shlex.split(run)[shlex.split(run).index("pytest") + 1 :] for run in runs]
    wanted = [["tests/faults", "-m", "slow"], ["-m", "long and not slow"], ["-m", "not slow and not long"]]
    assert chosen == wanted, "together each test once"
    marked = {file for file in (ROOT / "tests").rglob("test_*.py") if "@pytest.mark.slow" in file.read_text()}
    elsewhere = {file.parent.name for file in marked - {Path(__file__)}} - {"faults"}
    assert elsewhere == {"benchmarks", "distributed", "docs", "hosts", "run", "stages"}, "slow tests that CI leaves out"
