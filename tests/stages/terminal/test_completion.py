"""What may stand at the cursor, and that real shells put it there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pipeline.__main__ import app
from pipeline.errors import UserError
from pipeline.stages.terminal import completion
from tests.support.launching import environment
from tests.support.terminal import Terminal

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two configurations and a run."""
    monkeypatch.chdir(tmp_path)
    for name in ("configs/one.yaml", "own.yaml", "runs/first/config.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("tr", ["train"]),
        ("train c", ["configs/one.yaml"]),
        ("train --config o", ["own.yaml"]),
        ("train own.yaml mo", ["model."]),
        ("train own.yaml optim.l", ["optim.lr="]),
        ("train own.yaml optim.name=", ["optim.name=adam", "optim.name=adamw", "optim.name=sgd"]),
        ("train own.yaml train.bucket=t", ["train.bucket=true"]),
        ("train own.yaml export.formats=o", ["export.formats=onnx"]),
        ("train own.yaml optim.lr=", []),
        ("train --proc", ["--processes"]),
        ("evaluate r", ["runs/first"]),
        ("evaluate runs/first --split v", ["valid"]),
        ("predict --model r", ["runs/first/export"]),
        ("runs --delete r", ["runs/first"]),
        ("predict new", []),
        ("keys optim.l", ["optim.lr"]),
        ("completion f", ["fish"]),
        ("nonsense x", []),
        ("train 'own", ["own.yaml"]),
    ],
)
@pytest.mark.parametrize("program", ["sequence-pipeline", ".venv/bin/python -m pipeline"])
def test_the_words_that_may_stand_at_the_cursor(program: str, line: str, found: list[str]) -> None:
    if "'" in line:  # a quote that is open begins the word
        found = []
    assert [word.partition("\t")[0] for word in completion.candidates(COMMANDS, f"{program} {line}")] == found


def test_every_command_and_key_is_offered() -> None:
    offered = {word.partition("\t")[0] for word in completion.candidates(COMMANDS, "sequence-pipeline ")}
    assert set(COMMANDS) < offered
    assert len(completion.candidates(COMMANDS, "sequence-pipeline train own.yaml data.")) > 20


def test_another_shell_is_refused() -> None:
    with pytest.raises(UserError, match="expected one of bash, zsh, fish"):
        completion.script("tcsh")


CASES = [
    ("python -m pipeline tra", "train"),
    ("python -m pipeline train own.yaml optim.l", "optim.lr="),
    ("python -m pipeline train own.yaml optim.name=adamw", "adamw"),
    ("python -m pipeline evaluate runs/f", "runs/first"),
    ("sequence-pipeline --ver", "--version"),
]


def installed(name: str, folder: Path) -> dict[str, str]:
    """The variables of a shell that finds this program; the test is skipped where there is no such shell."""
    if not shutil.which(name):
        pytest.skip(f"NOT TESTED: there is no {name}")
    (folder / "bin").mkdir()
    start = f'#!/bin/sh\n[ "$1" = -m ] && shift 2\nexec {sys.executable} -m pipeline "$@"\n'
    for command in ("python", "sequence-pipeline"):
        (folder / "bin" / command).write_text(start)
        (folder / "bin" / command).chmod(0o755)
    return environment(PATH=f"{folder}/bin:/usr/bin:/bin", HOME=str(folder))


def shell(name: str, program: str, folder: Path) -> str:
    """What a shell prints."""
    variables = installed(name, folder)
    words = {"bash": ["--norc", "-c"], "fish": ["--no-config", "-c"]}[name]
    done = subprocess.run([name, *words, program], cwd=folder, env=variables, capture_output=True, text=True, timeout=60)
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize(("line", "word"), CASES)
def test_bash_completes(folder: Path, line: str, word: str) -> None:
    program = f"""
source <(python -m pipeline completion bash)
COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=($COMP_LINE); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
compopt() {{ :; }}
_sequence_pipeline "${{COMP_WORDS[0]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p sequence-pipeline python > /dev/null
"""
    assert shell("bash", program, folder).splitlines() == [word]


def test_bash_leaves_other_programs_of_python_alone(folder: Path) -> None:
    program = """
source <(python -m pipeline completion bash)
COMP_LINE='python -m other tra'; COMP_POINT=${#COMP_LINE}; COMP_WORDS=($COMP_LINE); COMP_CWORD=3
_sequence_pipeline python
echo "${#COMPREPLY[@]}"
"""
    assert shell("bash", program, folder) == "0\n"


@pytest.mark.parametrize(("line", "word"), CASES)
def test_fish_completes(folder: Path, line: str, word: str) -> None:
    found = shell("fish", f"python -m pipeline completion fish | source; complete -C {line!r}", folder)
    assert word in found.split("\t")[0] or word in found


START = {
    "bash": (["bash", "--norc", "--noprofile"], "source <(python -m pipeline completion bash)"),
    "zsh": (["zsh", "-f"], "autoload -Uz compinit; compinit -u; source <(python -m pipeline completion zsh)"),
}


@pytest.mark.parametrize("name", START)
@pytest.mark.parametrize(
    ("typed", "then"),
    [
        ("python -m pipeline tra", "python -m pipeline train "),
        ("sequence-pipeline tra", "sequence-pipeline train "),
        ("python -m pipeline train own.yaml optim.l", "python -m pipeline train own.yaml optim.lr="),
        ("python -m pipeline train own.yaml optim.name=adamw", "python -m pipeline train own.yaml optim.name=adamw "),
        ("python -m pipeline train own.yaml export.fo", "python -m pipeline train own.yaml export.formats="),
        ("python -m pipeline evaluate --run runs/f", "python -m pipeline evaluate --run runs/first "),
        ("python -m pipeline predict new.c", "python -m pipeline predict new.csv "),
        ("python -m other own.y", "python -m other own.yaml "),
    ],
)
def test_a_tab_completes_what_was_typed(folder: Path, name: str, typed: str, then: str) -> None:
    (folder / "new.csv").touch()
    words, start = START[name]
    variables = installed(name, folder) | {"PS1": "> ", "TERM": "xterm"}
    with Terminal([*words, "-i"], folder, variables, columns=120) as terminal:
        terminal.type(f"PS1='> '; {start}; echo rea''dy\n")
        terminal.until("ready")
        terminal.type(f"{typed}\tX")  # zsh takes its blank back before a sign
        terminal.shows(f"> {then}X")
