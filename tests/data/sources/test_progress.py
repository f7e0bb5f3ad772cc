"""A bar is seen on a terminal alone, when work takes long, and leaves nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.launching import environment
from tests.support.terminal import Terminal

START = """
import sys, time
from pipeline.data.sources import progress
from pipeline.errors import UserError
from pipeline.stages.terminal.endings import ended
progress.TICK = 0.02

def work(count, each=lambda number: None):
    with progress.Bar("working", count, " steps") as bar:
        for number in range(count):
            time.sleep(0.05)
            bar.add(1)
            each(number)
"""
SLOW = "work(40)\nprint('done')"


def on(tmp_path: Path, program: str, columns: int = 80, **variables: str) -> Terminal:
    words = [sys.executable, "-c", START + program]
    return Terminal(words, tmp_path, environment(TERM="xterm", **variables), columns=columns)


def test_long_work_has_a_bar_with_what_is_done_and_the_time_left_which_goes_with_it(tmp_path: Path) -> None:
    with on(tmp_path, SLOW) as terminal:
        terminal.until(r"working: \d+%.*\| \d+/40 steps, 00:0\d left")
        assert terminal.ended() == 0
        assert terminal.screen() == ["done", ""]
        shown = [int(number) for number in re.findall(r"(\d+)/40 steps", terminal.raw)]
    assert shown == sorted(shown) and len({*shown}) > 5


@pytest.mark.parametrize(
    ("program", "variables"),
    [
        ("work(3)\nprint('done')", {}),
        (SLOW, {"TERM": "dumb"}),
        (SLOW, {"RANK": "1"}),
    ],
)
def test_short_work_a_dumb_terminal_and_other_processes_have_none(
    tmp_path: Path, program: str, variables: dict[str, str]
) -> None:
    with Terminal([sys.executable, "-c", START + program], tmp_path, environment(TERM="xterm") | variables) as terminal:
        assert terminal.ended() == 0
        assert terminal.raw == "done\r\n"


def test_a_pipe_has_none(tmp_path: Path) -> None:
    words = [sys.executable, "-c", START + SLOW]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_what_is_printed_meanwhile_stands_above_the_bar(tmp_path: Path) -> None:
    program = """
def said(number):
    if number == 30:
        print("warning: odd", file=sys.stderr)
        print("a line", "of two words")
        print("no end", end="")
work(40, said)
print()
"""
    with on(tmp_path, program) as terminal:
        terminal.until(r"of two words\r\n\r?working: \d+%")
        terminal.ended()
        assert terminal.screen() == ["warning: odd", "a line of two words", "no end", ""]


@pytest.mark.parametrize("columns", [8, 20, 300])
def test_a_line_fits_its_terminal(tmp_path: Path, columns: int) -> None:
    with on(tmp_path, SLOW, columns) as terminal:
        terminal.ended()
        assert terminal.screen() == ["done", ""]
        drawn = [line for line in terminal.raw.split("\r") if "\n" not in line]
    assert len(drawn) > 10 and all(len(line) <= columns for line in drawn)


def test_ctrl_c_in_the_middle_takes_the_bar_away(tmp_path: Path) -> None:
    with on(tmp_path, "ended(lambda: work(10_000))") as terminal:
        terminal.until(r"working: \d+%")
        terminal.type("\x03")
        terminal.ended()
        assert [line for line in terminal.screen() if line] == ["interrupted"]


def test_an_error_in_the_middle_is_the_last_line(tmp_path: Path) -> None:
    program = """
def fails(number):
    if number == 35:
        raise UserError("the file is odd")
ended(lambda: work(100, fails))
"""
    with on(tmp_path, program) as terminal:
        assert terminal.ended() == 2
        assert [line for line in terminal.screen() if line] == ["error: the file is odd"]
        assert "working" in terminal.raw


def test_a_bar_within_a_bar_is_not_seen_and_streams_are_put_back(tmp_path: Path) -> None:
    program = """
before = sys.stdout, sys.stderr
with progress.Bar("outer", 5, " rounds") as outer:
    for number in range(5):
        work(10)
        outer.add(1)
print((sys.stdout, sys.stderr) == before)
"""
    with on(tmp_path, program) as terminal:
        terminal.ended()
        assert "outer" in terminal.raw and "working" not in terminal.raw
        assert terminal.screen() == ["True", ""]


def test_the_bytes_that_were_read_are_those_of_the_file(tmp_path: Path) -> None:
    program = """
from pathlib import Path
path = Path("rows.csv")
path.write_bytes(bytes(1_000_000))
with progress.reading(path), path.open("rb", buffering=0) as file:
    for _ in range(30):
        file.read(10_000)
        time.sleep(0.05)
"""
    with on(tmp_path, program) as terminal:
        terminal.ended()
        shown = [float(number) for number in re.findall(r"([\d.]+)k/1.00MB", terminal.raw)]
    assert shown and max(shown) == 300 and shown == sorted(shown)
