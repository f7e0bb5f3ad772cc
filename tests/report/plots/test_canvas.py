"""What all pictures share: names are drawn as they are spelt, and a picture that fails costs a line, never a result."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.report.plots import canvas
from tests.report.plots.drawing import PICTURES, Drawn, texts
from tests.support.launching import environment

HOSTILE = ["$#1", "$\\a$", "$0-$9", "price_$_a_$", "a\\frac{", "back\x1b[2Jslash", "broken\udcff", "日本", "a%b{c}_^#", "$$"]


@pytest.mark.parametrize("name", PICTURES)
def test_names_are_drawn_as_they_are_spelt_whatever_they_mean_to_a_typesetter(name: str, tmp_path: Path, drawn: Drawn) -> None:
    PICTURES[name].draw(tmp_path / "picture.png", HOSTILE)
    (figure,) = drawn
    said = "\n".join(texts(figure))
    for word in HOSTILE if PICTURES[name].names else ():
        shown = word.replace("\x1b", "\\x1b").replace("\udcff", "\\udcff")
        assert shown in said, f"{shown} is not in {said}"


@pytest.mark.parametrize("name", PICTURES)
def test_no_text_of_a_picture_is_read_as_mathematics(name: str, tmp_path: Path, drawn: Drawn) -> None:
    from matplotlib.text import Text

    PICTURES[name].draw(tmp_path / "picture.png", ["one", "two", "three"])
    (figure,) = drawn
    assert not any(text.get_parse_math() for text in figure.findobj(Text))
    assert not any("\\mathdefault" in text or "$" in text for text in texts(figure)), "numbers of a logarithmic scale"


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("names", [["loose", "normal", "worn"], [f"a class of a long name, {n}" for n in range(12)]])
def test_no_text_of_a_picture_is_cut_off(name: str, names: list[str], tmp_path: Path, drawn: Drawn) -> None:
    from matplotlib.text import Text

    PICTURES[name].draw(tmp_path / "picture.png", names)
    (figure,) = drawn
    beyond = set()  # labels of ticks that are not drawn
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        drawn_ticks = [tick for tick in ticks if axis.axes.axison and low <= tick.get_loc() <= high]
        beyond |= {label for tick in {*ticks} - {*drawn_ticks} for label in (tick.label1, tick.label2)}
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        shown = all(artist.get_visible() for artist in (text, text.axes) if artist)
        if text.get_text() and shown and text not in beyond:
            box = text.get_window_extent()
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
            assert inside, (text.get_text(), box)


@pytest.mark.parametrize(
    "error", [ValueError("Image size of 900000x5 pixels is too large"), MemoryError(), RuntimeError("a\nb")]
)
def test_a_picture_that_fails_is_one_line_and_no_old_picture_is_left(
    error: Exception, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "curves.png"
    path.write_bytes(b"an older one")
    with canvas.attempt(path):
        raise error
    said = capsys.readouterr().err
    assert said.startswith("warning: ") and said.count("\n") == 1 and str(path) in said, said
    assert type(error).__name__ in said
    assert not path.exists()


def test_a_disk_that_cannot_be_written_is_still_an_error(tmp_path: Path, no_space: Callable[[], None]) -> None:
    with (
        pytest.raises(UserError, match=r"picture\.png: cannot write a picture: the disk is full"),
        canvas.attempt(tmp_path / "p"),
    ):
        no_space()
        PICTURES["confusion of 3"].draw(tmp_path / "picture.png", ["a", "b", "c"])


def test_a_home_that_cannot_be_written_is_not_spoken_of() -> None:
    program = "from pipeline.report.plots import canvas; canvas.new_figure(1, 1)"
    variables = environment(HOME="/proc/none", XDG_CONFIG_HOME="", XDG_CACHE_HOME="", MPLCONFIGDIR="")
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
