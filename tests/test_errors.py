"""Names that somebody else wrote are shown on a terminal, and never obeyed by it."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Data
from pipeline.data.preparation.folder import prepare
from pipeline.errors import HIDDEN, DataError, Printable, printable
from tests.support.launching import ROOT, environment
from tests.support.predicting import export_untrained

NAME = "\x1b]0;owned\x07\x1b[2K\u202e\x9b"
SHOWN = "\\x1b]0;owned\\x07\\x1b[2K\\u202e\\x9b"


def screen(*command: str, cwd: Path) -> str:
    """What a command writes to a terminal, without the ends of lines and what a bar needs."""
    parent, child = pty.openpty()
    with subprocess.Popen(command, cwd=cwd, env=environment(), stdin=child, stdout=child, stderr=child):
        os.close(child)
        said = b""
        while True:
            try:
                piece = os.read(parent, 65536)
            except OSError:  # how the end of a terminal is told
                break
            said += piece
    os.close(parent)
    return said.decode().replace("\r", "").replace("\n", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *((letters, letters) for letters in ("Ärger 日本", "\U0001f469\u200d\U0001f4bb 9 %\t.")),
        (NAME, SHOWN),
        ("a\nb\rc", "a\nb\\rc"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_acts_on_a_terminal_is_shown_and_letters_stay_letters(text: str, shown: str) -> None:
    assert printable(text, "\n") == shown


def test_a_letter_that_the_encoding_lacks_is_an_escape_and_no_error() -> None:
    written = io.BytesIO()
    below = io.TextIOWrapper(written, encoding="ascii", write_through=True)
    print("Ärger", NAME, file=Printable(below, "\n"))
    assert written.getvalue() == b"\\xc4rger " + SHOWN.encode() + b"\n"


def test_the_message_of_an_error_does_nothing_to_a_terminal(tmp_path: Path) -> None:
    said = screen(sys.executable, "-m", "pipeline", "prepare", "--config", f"no{NAME}.yaml", cwd=tmp_path)
    assert "error: " in said and SHOWN in said
    assert not HIDDEN.search(said), said


def test_predictions_stay_as_they_are_in_a_pipe(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.array(["plain", "öther"])[np.arange(60) % 2]
    np.savez(tmp_path / "two.npz", values=random.normal(size=(60, 4, 2)).astype("f4"), labels=labels)
    export_untrained(tmp_path, "data.source=npz", "data.path=two.npz")
    np.savez(tmp_path / "new.npz", values=random.normal(size=(2, 4, 2)).astype("f4"))
    command = (sys.executable, "-m", "pipeline", "predict", "--model", "export", "new.npz")
    shown = screen(*command, cwd=tmp_path)
    assert not HIDDEN.search(shown) and "p_öther" in shown
    done = subprocess.run(command, cwd=tmp_path, env=environment(LC_ALL="C", PYTHONUTF8="0"), capture_output=True, check=True)
    assert done.stdout.startswith("id,prediction,probability,p_plain,p_öther\n0,".encode())


def test_a_folder_of_images_with_a_hidden_character_in_its_name_is_refused(tmp_path: Path) -> None:
    for word in ("cat", "dog\x1b[2K"):
        (tmp_path / "own" / word).mkdir(parents=True)
    with pytest.raises(DataError, match=r"dog\\x1b\[2K' holds the character U\+001B") as caught:
        prepare(Data(source="images", path=str(tmp_path / "own"), prepared=str(tmp_path / "prepared")))
    assert not HIDDEN.search(str(caught.value))


def test_everything_that_a_command_writes_goes_by_these_streams() -> None:
    program = "import sys; from pipeline.__main__ import main\nsys.argv = ['pipeline', '--help']\n"
    program += "try:\n    main()\nexcept SystemExit:\n    print('x' + chr(27))\n    raise RuntimeError('y' + chr(27))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.endswith("x\\x1b\n") and "y\\x1b" in done.stderr and "\x1b" not in done.stdout + done.stderr
