"""``--json`` is one document with the documented keys, ``--quiet`` the answer alone, and a pipe gets no control characters."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.__main__ import app
from pipeline.stages.terminal import answers, streams
from pipeline.stages.terminal.endings import ended
from tests.support.launching import environment, succeed
from tests.support.predicting import CONFIG, SERIES, write_series

CONFIGURATION = ("own.yaml", *SERIES, "data.missing=mean", "run.dir=run")
COMMANDS: dict[str, tuple[str, ...]] = {
    "check": CONFIGURATION,
    "evaluate": ("run",),
    "predict": ("run/export", "series.csv"),
    "summary": ("run",),
}
ODD = "rechts\u202elinks\x85\x7f\udcff\U0001f469"  # what a JSON document may hold, and a terminal obeys


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a run that was trained, evaluated and exported."""
    folder = tmp_path_factory.mktemp("work")
    write_series(folder / "series.csv")
    (folder / "own.yaml").write_text(CONFIG)
    for command in ("prepare", "train"):
        succeed(command, *CONFIGURATION, cwd=folder)
    for command in ("evaluate", "export"):
        succeed(command, "run", cwd=folder)
    return folder


@pytest.fixture
def said(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """``said(words)``: the standard output and error of a command."""
    monkeypatch.chdir(work)

    def call(*words: str, status: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["pipeline", *words])
        with pytest.raises(SystemExit) as caught:
            ended(partial(app, standalone_mode=False))
        assert (caught.value.code or 0) == status
        return capsys.readouterr()

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_json_is_one_document_with_the_documented_keys_and_nothing_else(said: Any, command: str) -> None:
    out, err = said(command, "--json", *COMMANDS[command])
    found = json.loads(out)
    keys = list(answers.ANSWERS[command].model_fields)
    assert list(found) == (["predictions", *keys] if command == "predict" else keys)
    assert not [letter for letter in out if letter != "\n" and not letter.isprintable()]
    assert err, "messages are on the standard error"


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("check", ["data: ", "parameters: ", "steps: ", "memory: "]),
        ("evaluate", ["test: "]),
        ("predict", ["id,", *(f"s{number}," for number in range(60))]),
        ("summary", ["test accuracy  "]),
    ],
)
def test_quiet_says_the_answer_and_warnings_alone(said: Any, command: str, lines: list[str]) -> None:
    out, err = said(command, "--quiet", *COMMANDS[command])
    shown = out.splitlines()
    assert len(shown) == len(lines) and all(map(str.startswith, shown, lines))
    again, more = said(command, "-q", "--json", *COMMANDS[command])
    assert json.loads(again)
    assert not [line for line in (err + more).splitlines() if not line.startswith("warning:")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("check", "own.yaml", "model.hiden=3"), "did you mean model.hidden?"),
        (("check",), "needs a configuration file"),
        (("check", "own.yaml", "--bogus"), "No such option: --bogus"),
        (("evaluate", "none"), "none: no such run folder"),
        (("evaluate", "run", "--split", "tset"), "expected one of"),
        (("predict", "new.csv"), "predict needs a model"),
        (("predict", "run/export", "none.csv"), "none.csv"),
        (("predict", "run/export", "series.csv", "--output", "out.txt"), "must end in one of"),
        (("summary",), "takes one run folder"),
        (("sumary", "run"), "No such command 'sumary'"),
    ],
)
def test_an_error_is_the_document_with_the_exit_status_that_it_has_without(
    said: Any, words: tuple[str, ...], says: str
) -> None:
    silent, message = said(*words, status=2)
    out, err = said(*words, "--json", status=2)
    found = json.loads(out)
    assert silent == "" and err == message and list(found) == ["error"]
    assert says in found["error"] and found["error"] in message
    assert not found["error"].startswith("error")


@pytest.mark.parametrize("command", ["train", "prepare", "tune", "seeds", "export"])
def test_a_command_without_a_document_says_who_has_one(said: Any, command: str) -> None:
    out, _ = said(command, "run" if command == "export" else "own.yaml", "--json", status=2)
    there = ", ".join(sorted(answers.ANSWERS))
    assert f"{command} has no --json; those that have are {there}; " in json.loads(out)["error"]


def test_a_defect_of_the_program_is_a_document_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["pipeline", "check", "--json"])
    with pytest.raises(ZeroDivisionError):
        ended(lambda: 1 // 0)
    assert json.loads(capsys.readouterr().out) == {"error": "ZeroDivisionError: integer division or modulo by zero"}


def test_a_summary_for_programs_has_the_warnings_of_that_for_people(said: Any, work: Path) -> None:
    path = work / "run/eval/metrics.json"
    stored = path.read_text()
    told = f"the model predicts one class only: {ODD!r}"
    path.write_text(json.dumps(json.loads(stored) | {"warnings": [told], "step": 1}))
    try:
        text, found = said("summary", "run")[0], json.loads(said("summary", "run", "--json")[0])
    finally:
        path.write_text(stored)
    first, outdated = found["warnings"]
    assert first == told and "evaluated at step 1, and step" in outdated and f"warning: {outdated}" in text
    assert text.count("warning: ") == 2


def test_the_numbers_are_those_of_the_files(said: Any, work: Path) -> None:
    measured = json.loads(said("evaluate", "run", "--json")[0])
    stored = json.loads((work / "run/eval/metrics.json").read_text())
    assert {key: value for key, value in stored.items() if key in measured}.items() <= measured.items()
    assert len(measured["per_class"]) == 3 and "Ärger" in measured["per_class"]
    summary = json.loads(said("summary", "run", "--json")[0])
    assert (summary["accuracy"], summary["run"]) == (stored["accuracy"], "run")
    assert summary["warnings"] == stored["warnings"] == measured["warnings"]
    checked = json.loads(said("check", *CONFIGURATION, "--json", "lr=0.5")[0])
    assert checked["changed"]["optim"] == {"lr": 0.5} and checked["configuration"]["optim"]["name"] == "adam"
    assert checked["work"]["steps"] == 2 * checked["work"]["steps_per_epoch"]


def test_predictions_are_in_the_document_or_in_the_file(said: Any, work: Path) -> None:
    whole = json.loads(said("predict", "--json", *COMMANDS["predict"])[0])
    rows = list(csv.DictReader(said("predict", *COMMANDS["predict"])[0].splitlines(keepends=True)))
    assert [row["prediction"] for row in whole["predictions"]] == [row["prediction"] for row in rows]
    assert whole["examples"] == whole["labelled"] == 60 and whole["output"] is None
    filed = json.loads(said("predict", "--json", "--model", "run/export", "series.csv", "--output", "out.csv")[0])
    assert "predictions" not in filed and filed["output"] == "out.csv" and (work / "out.csv").exists()
    assert filed["accuracy"] == whole["accuracy"]


@pytest.mark.parametrize(("run", "status", "key"), [("run", 0, "run"), ("none", 2, "error")])
def test_a_pipe_gets_the_document_alone_whatever_its_encoding(work: Path, run: str, status: int, key: str) -> None:
    command = [sys.executable, "-m", "pipeline", "summary", run, "--json"]
    variables = environment(PYTHONIOENCODING="ascii")
    done = subprocess.run(command, cwd=work, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == status and key in json.loads(done.stdout) and run in done.stderr


def test_options_of_what_is_printed_may_stand_before_the_command(said: Any) -> None:
    assert json.loads(said("-q", "--json", "summary", "run")[0])["run"] == "run"
    assert "train has no --json" in json.loads(said("--json", "train", "own.yaml", status=2)[0])["error"]


def test_who_reads_may_leave_and_the_work_goes_on(work: Path) -> None:
    drawn = work / "run/eval/confusion.png"
    drawn.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pipeline", "evaluate", "run"]
    with subprocess.Popen(command, cwd=work, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, drawn.is_file()) == (0, True) and b"Error" not in said, said


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "to", "status", "says"),
    [
        ("--version", ">/dev/full", 2, "error: the standard output cannot be written: No space left on device"),
        ("completion bash", ">/dev/full", 2, "error: the standard output cannot be written: No space left on device"),
        ("--help", ">/dev/full", 2, "error: the standard output cannot be written: No space left on device"),
        ("check none.yaml --json", ">/dev/full", 2, "error: none.yaml: cannot be read"),
        ("--version", ">&-", 0, ""),
        ("check none.yaml --json", ">&-", 2, "error: none.yaml: cannot be read"),
        ("check none.yaml", "2>&-", 2, ""),
        ("check none.yaml", "2>/dev/full", 2, ""),
    ],
)
def test_a_stream_that_takes_nothing_is_no_traceback(
    tmp_path: Path, words: str, to: str, status: int, says: str, unbuffered: str
) -> None:
    command = f"{sys.executable} -m pipeline {words} {to}"
    variables = environment(PYTHONUNBUFFERED=unbuffered)
    done = subprocess.run(command, shell=True, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stderr.startswith(says) and len(done.stderr.splitlines()) == bool(says) and not done.stdout


def test_quiet_draws_no_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    parent, child = pty.openpty()
    with os.fdopen(child, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        assert sys.stderr.isatty()
        with streams.shown(quiet=True, as_json=False):
            assert not sys.stderr.isatty()
            print("warning: seen", file=sys.stderr, flush=True)
    assert os.read(parent, 100) == b"warning: seen\r\n"
    os.close(parent)


def test_training_is_silent_if_asked(work: Path) -> None:
    assert succeed("train", *CONFIGURATION[:-1], "run.dir=silent", "--quiet", cwd=work) == ""
    assert (work / "silent/checkpoints/finished.json").exists()


def test_check_says_first_what_matters_then_what_is_not_a_default(said: Any) -> None:
    lines = said("check", *CONFIGURATION)[0].splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == ["data", "parameters", "steps", "memory"]
    shown = [line for line in lines if line.startswith("  ")]
    assert "  missing: mean" in shown and "  epochs: 2" in shown and not [line for line in shown if "normalize" in line]
    assert "  hidden: 6" in shown and "  cell: lstm" not in shown
    everything = said("check", *CONFIGURATION, "--all")[0]
    assert everything.splitlines()[:4] == lines[:4] and "  cell: lstm" in everything and "  normalize: feature" in everything


def test_a_warning_is_seen_however_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with streams.shown(quiet=True, as_json=False):
        print("a message\nwarn", end="")
        print("ing: one", "a message", "warning: two", sep="\n")
    assert capsys.readouterr() == ("", "warning: one\nwarning: two\n")


def test_what_acts_on_a_terminal_is_an_escape_of_json() -> None:
    text = streams.plain(json.dumps([ODD], ensure_ascii=False, indent=1))
    assert json.loads(text) == [ODD] and text.isascii() and text.replace("\n", "").isprintable()
    assert json.loads(streams.document([float("nan"), float("inf"), 1.5])) == [None, None, 1.5]
