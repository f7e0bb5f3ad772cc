"""A command understands what people type, or says what to type instead."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import typer

from pipeline.__main__ import app
from pipeline.errors import UserError
from tests.support.launching import ROOT

GROUP = typer.main.get_command(app)
CONFIGURED = ("check", "prepare", "tune", "train")
OF_RUN = ("evaluate", "export", "report", "summary")


def parsed(command: str, *words: str) -> dict[str, object]:
    """The parameters that a command is called with."""
    return GROUP.commands[command].make_context(command, list(words)).params  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def in_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("command", CONFIGURED)
@pytest.mark.parametrize(
    "words",
    [
        ("--config", "configs/smoke.yaml", "optim.lr=0.1"),
        ("--config=configs/smoke.yaml", "optim.lr=0.1"),
        ("configs/smoke.yaml", "optim.lr=0.1"),
        ("optim.lr=0.1", "configs/smoke.yaml"),
        ("configs/smoke.yaml", "--optim.lr=0.1"),
        ("configs/smoke.yaml", "--optim.lr", "0.1"),
        ("--optim.lr", "0.1", "--config", "configs/smoke.yaml"),
        ("configs/smoke.yaml", "optim.lr", "=", "0.1"),
        ("configs/smoke.yaml", "optim.lr", "=0.1"),
    ],
    ids=" ".join,
)
def test_each_form_of_a_file_and_a_key_is_the_same(command: str, words: tuple[str, ...]) -> None:
    found = parsed(command, *words)
    assert (found["config"], found["overrides"]) == (Path("configs/smoke.yaml"), ["optim.lr=0.1"])


@pytest.mark.parametrize(
    ("words", "override"),
    [
        (("--lr", "0.1"), "lr=0.1"),
        (("--lr=0.1",), "lr=0.1"),
        (("--weight-decay", "0.1"), "weight_decay=0.1"),
        (("--optim.weight-decay=0.1",), "optim.weight_decay=0.1"),
        (("--model.bidirectional",), "model.bidirectional=true"),
        (("--bucket", "false"), "bucket=false"),
        (("--run.seed", "-1"), "run.seed=-1"),
        (("track.name=a = b",), "track.name=a = b"),
    ],
)
def test_a_key_typed_as_an_option_is_an_override(words: tuple[str, ...], override: str) -> None:
    found = parsed("train", "configs/smoke.yaml", *words, "--processes", "2")
    assert (found["overrides"], found["processes"]) == ([override], 2)


@pytest.mark.parametrize("command", CONFIGURED)
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "needs a configuration file: --config FILE; there are configs/digits.yaml"),
        (("--config",), "needs a configuration file"),
        (("digits",), "digits: no configuration file; did you mean --config configs/digits.yaml?"),
        (("configs/digits.yaml", "--config", "configs/smoke.yaml"), "takes one configuration file, and 2 were given"),
        (("configs/smoke.yaml", "--batch-size", "5"), "--batch-size: no option of"),
        (("configs/smoke.yaml", "--batch-size", "5"), "did you mean train.batch=...?"),
        (("configs/smoke.yaml", "--learning-rate=5"), "did you mean optim.lr=...?"),
        (("configs/smoke.yaml", "optim.lr:", "0.1"), "type: optim.lr=0.1"),
        (("configs/smoke.yaml", "optim.lr", "0.1"), "type: optim.lr=0.1"),
        (("configs/smoke.yaml", "--optim.lr"), "--optim.lr: no value follows; type: optim.lr=VALUE"),
    ],
)
def test_what_cannot_be_meant_is_answered_with_what_to_type(command: str, words: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError) as caught:
        parsed(command, *words)
    assert says in str(caught.value)


@pytest.mark.parametrize("command", OF_RUN)
@pytest.mark.parametrize(
    "words", [("--run", "runs/a"), ("--run=runs/a",), ("runs/a",), ("run.dir=runs/a",), ("run=runs/a",)], ids=" ".join
)
def test_each_form_of_a_run_is_the_same(command: str, words: tuple[str, ...]) -> None:
    assert parsed(command, *words)["run"] == Path("runs/a")


@pytest.mark.parametrize("command", OF_RUN)
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "takes one run folder, and none was given; type: "),
        (("runs/a", "runs/b"), "takes one run folder, and 2 were given"),
        (("runs/a", "optim.lr=3"), "a run keeps the configuration"),
    ],
)
def test_what_is_no_run_is_answered_with_what_to_type(command: str, words: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError) as caught:
        parsed(command, *words)
    assert says in str(caught.value)


def test_the_model_and_the_file_are_understood_without_an_option() -> None:
    found = parsed("predict", "runs/a/export", "new.csv")
    assert (found["model"], found["file"]) == (Path("runs/a/export"), Path("new.csv"))
    found = parsed("predict", "runs/a/export", "--id", "name", "new.csv", "--label=")
    assert (found["model"], found["file"]) == (Path("runs/a/export"), Path("new.csv"))
    assert (found["id"], found["label"]) == ("name", "")
    for words in (("new.csv",), ("new.csv", "--id", "name")):
        with pytest.raises(UserError, match="predict needs a model; type: predict --model runs/NAME/export INPUT"):
            parsed("predict", *words)


@pytest.mark.parametrize("command", OF_RUN)
def test_a_run_folder_may_have_the_name_of_an_option(command: str) -> None:
    assert parsed(command, "run")["run"] == Path("run")


@pytest.mark.parametrize("command", GROUP.commands)  # type: ignore[attr-defined]
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_each_command_has_a_help_whose_lines_are_whole(command: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    typer.main.get_command(app).main([command, option], prog_name="pipeline", standalone_mode=False)
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: pipeline {command}")
    assert max(map(len, shown.splitlines())) <= 80


def test_the_list_of_commands_is_whole_and_the_targets_of_make_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    typer.main.get_command(app).main(["-h"], prog_name="pipeline", standalone_mode=False)
    assert "..." not in capsys.readouterr().out.split("Commands:")[1]
    context = GROUP.make_context("pipeline", ["eval", "runs/a"])
    assert GROUP.get_command(context, "eval").name == "evaluate"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("config=configs/mnist.yaml", "there is no variable config; type it in capitals: CONFIG=FILE.yaml"),
        ("lr=0.1", 'there is no variable lr; type ARGS="lr=0.1"'),
        ("optim.lr=0.1", 'there is no variable optim.lr; type ARGS="optim.lr=0.1"'),
        ("DATA=own.csv", 'DATA is for "make init"; then type: make train CONFIG=FILE.yaml'),
    ],
)
def test_make_refuses_a_variable_that_it_would_ignore(variable: str, says: str) -> None:
    done = subprocess.run(["make", "-n", "train", variable], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and says in done.stderr
    known = ["make", "-n", "-o", "setup", "train", "CONFIG=configs/smoke.yaml", "ARGS=optim.lr=0.2 train.batch=3"]
    assert "optim.lr=0.2 train.batch=3" in subprocess.run(known, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_make_init_asks_for_the_data_where_none_is_named() -> None:
    bare = {name: value for name, value in os.environ.items() if name != "DATA"}
    done = subprocess.run(["make", "-o", "setup", "init"], cwd=ROOT, capture_output=True, text=True, check=False, env=bare)
    assert done.returncode == 2 and done.stderr.startswith("error: name your file or folder: make init DATA=FILE\n")


@pytest.mark.parametrize("target", ["eval", "export", "report", "summary"])
def test_make_passes_arguments_on_to_a_target_of_a_run(target: str) -> None:
    words = ["make", "-n", "-o", "setup", target, "RUN=runs/x", "ARGS=--split valid run.dir=runs/x"]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.rstrip().endswith(f"{target.replace('eval', 'evaluate')} --run runs/x --split valid")
    words = ["make", "-n", "-o", "setup", "all", "RUN=runs/x", "ARGS=optim.lr=0.1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line for line in done if "optim.lr" in line] == done[:2], "what training takes stands in the run folder"
