"""Which checkpoints there are, and which of them is marked: as this version writes it, and as earlier runs hold it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from pipeline import files
from pipeline.run.marks import all_of, mark, marked, name_of, step_of


def made(folder: Path, *steps: int) -> None:
    """Folders of checkpoints that hold no more than their step."""
    for step in steps:
        path = folder / name_of(step)
        path.mkdir()
        (path / "state.json").write_text(json.dumps({"format": 1, "step": step}))


def test_checkpoints_are_in_the_order_of_their_steps_however_long_their_names_are(tmp_path: Path) -> None:
    steps = [99_999_950, 100_000_000, 100_000_050, 7]
    made(tmp_path, *steps)
    assert [step_of(path) for path in all_of(tmp_path)] == sorted(steps)
    assert all_of(tmp_path / "none") == []


def test_what_a_user_keeps_beside_the_checkpoints_is_none_of_them(tmp_path: Path) -> None:
    made(tmp_path, 40)
    for name in (
        "step_00000040_before",
        "step_40",
        "step_000000040",
        "step_٠٠٠٠٠٠٤٠",
        "step_",
        "step_-0000040",
        "xstep_00000040",
    ):
        shutil.copytree(tmp_path / name_of(40), tmp_path / name)
    (tmp_path / name_of(50)).write_text("a file")
    assert [path.name for path in all_of(tmp_path)] == [name_of(40)]


@pytest.mark.parametrize("what", ["best", "finished"])
def test_a_mark_is_a_file_that_any_copy_keeps(tmp_path: Path, what: str) -> None:
    made(tmp_path, 3, 4)
    assert marked(tmp_path, what) is None
    mark(tmp_path, what, 3)
    mark(tmp_path, what, 4)
    assert json.loads((tmp_path / f"{what}.json").read_text()) == {"step": 4} and marked(tmp_path, what) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{what}.json", name_of(3), name_of(4)]
    mark(tmp_path, what, None)
    mark(tmp_path, what, None)
    assert marked(tmp_path, what) is None and not (tmp_path / f"{what}.json").exists()


def copied(run: Path, target: Path, form: str) -> Path:
    """A copy of a run of an earlier version, whose mark is a link: as it is, followed, or written as the link's text."""
    shutil.copytree(run, target, symlinks=form != "followed")
    if form == "text":
        text = (target / "best").readlink()
        (target / "best").unlink()
        (target / "best").write_text(str(text))
    return target


@pytest.mark.parametrize("form", ["link", "followed", "text"])
def test_the_link_of_an_earlier_version_is_read_in_each_form_that_copies_give_it(tmp_path: Path, form: str) -> None:
    (tmp_path / "run").mkdir()
    made(tmp_path / "run", 3, 4)
    (tmp_path / "run" / "best").symlink_to(name_of(3))
    folder = copied(tmp_path / "run", tmp_path / "copy", form)
    assert marked(folder, "best") == 3 and marked(folder, "finished") is None
    mark(folder, "best", 4)
    assert marked(folder, "best") == 4
    assert not os.path.lexists(folder / "best"), "or it would be believed where the file is lost"
    assert [path.name for path in all_of(folder)] == [name_of(3), name_of(4)]


@pytest.mark.parametrize("form", ["link", "followed", "text"])
def test_a_mark_that_is_taken_away_is_gone_in_its_former_form_too(tmp_path: Path, form: str) -> None:
    (tmp_path / "run").mkdir()
    made(tmp_path / "run", 3)
    (tmp_path / "run" / "best").symlink_to(name_of(3))
    folder = copied(tmp_path / "run", tmp_path / "copy", form)
    mark(folder, "best", None)
    assert marked(folder, "best") is None and [path.name for path in folder.iterdir()] == [name_of(3)]


@pytest.mark.parametrize(
    "text", ["", "{}", "[3]", '{"step": "3"}', '{"step": -3}', '{"step": 3.0}', '{"step": 1e99}', "[" * 100_000]
)
def test_a_damaged_mark_is_none(tmp_path: Path, text: str) -> None:
    made(tmp_path, 3)
    (tmp_path / "best").symlink_to(name_of(3))
    (tmp_path / "best.json").write_text(text)
    assert marked(tmp_path, "best") is None, "and what was there before is not believed"


@pytest.mark.parametrize("place", ["/dev/zero", "../elsewhere", "step_3"])
def test_a_link_to_something_else_is_no_mark(tmp_path: Path, place: str) -> None:
    (tmp_path / "best").symlink_to(place)
    assert marked(tmp_path, "best") is None
    (tmp_path / "best").unlink()
    (tmp_path / "best.json").symlink_to(place)
    assert marked(tmp_path, "best") is None


def test_a_mark_that_is_set_or_taken_away_is_so_after_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is forced to the disk once all names in it are as they stay."""
    seen: list[list[str]] = []
    real = files.fsync

    def fsync(path: Path) -> None:
        real(path)
        if path == tmp_path:
            seen.append(sorted(entry.name for entry in tmp_path.iterdir()))

    monkeypatch.setattr(files, "fsync", fsync)
    (tmp_path / "best").symlink_to("step_00000014")  # of an earlier version
    for step, names in ((7, ["best.json"]), (None, [])):
        mark(tmp_path, "best", step)
        assert seen[-1] == names
