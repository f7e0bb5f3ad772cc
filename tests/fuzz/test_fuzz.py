"""Valid files are read as their libraries read them; damaged ones end in a value or in one message, in bounded time and memory.

Each run tries the same files; ``python -m tests.fuzz`` tries others, and many more.
"""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.data.prepared import Prepared, open_prepared
from pipeline.errors import DataError, UserError
from tests.fuzz import campaign
from tests.fuzz.campaign import Outcome, outcomes, tally
from tests.fuzz.formats import FORMATS
from tests.support.series_files import read

CORPUS = sorted(path for path in (Path(__file__).parent / "corpus").rglob("*") if path.is_file())
FILES = 100  # of each format


@pytest.mark.parametrize("name", FORMATS)
def test_any_file_is_read_as_it_is_or_refused_with_one_message(name: str) -> None:
    found = list(outcomes(name, 1, FILES))
    assert [outcome.index for outcome in found] == list(range(FILES))
    assert not [outcome for outcome in found if outcome.kind == "finding"], tally(found)
    kinds = [outcome.kind for outcome in found]
    assert kinds.count("same") == FILES // 4 and min(kinds.count("value"), kinds.count("refused")) > 0, tally(found)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_a_file_that_once_failed_is_refused_with_one_message(path: Path) -> None:
    """Its name says its format, and in a word what it is."""
    with pytest.raises(UserError):
        read(path.name.split("-")[0], path)


def test_a_file_follows_from_its_seed_and_its_number(tmp_path: Path) -> None:
    for name, form in FORMATS.items():
        seen = []
        for seed, index in ((1, 5), (1, 5), (1, 6), (2, 5)):
            folder = tmp_path / "file"
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "other").mkdir(parents=True)
            _, target = campaign.files_of(form, seed, index, folder)
            seen.append((target.name, target.read_bytes()))
        assert seen[0] == seen[1] and len(set(seen)) == 3, name


def falls(name: str, seed: int, indices: range, folder: str, said: Connection, keep: None) -> None:
    """A worker that the second file kills."""
    for index in indices:
        said.send(index)
        if index == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        said.send(Outcome(index, "same"))
    said.send(None)


def test_a_file_that_kills_the_worker_is_found_and_the_others_are_tried() -> None:
    found = list(outcomes("npz", 1, 4, target=falls))
    assert [outcome.kind for outcome in found] == ["same", "finding", "same", "same"]
    assert found[1].said == f"the process ended with status {-signal.SIGSEGV}"


def wrong_values(folder: Path, made: Any) -> Any:
    blocks = FORMATS["ts"].read(folder, made)
    blocks[0].values[0, 0] += 1
    return blocks


def raises(folder: Path, made: Any) -> Any:
    raise KeyError("no message for people")


def refuses(folder: Path, made: Any) -> Any:
    raise DataError("all that is valid too")


@pytest.mark.parametrize(
    ("reader", "said"),
    [(wrong_values, "Arrays are not equal"), (raises, "KeyError: 'no message"), (refuses, "a valid file is refused: all that")],
)
def test_a_reader_that_errs_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reader: Any, said: str) -> None:
    monkeypatch.setitem(FORMATS, "wrong", replace(FORMATS["ts"], read=reader))
    outcome = campaign.one("wrong", 1, 0, tmp_path / "file")
    assert outcome.kind == "finding" and said in outcome.said


@pytest.mark.parametrize(("limit", "value", "said"), [("SECONDS", 0.0, " s, "), ("MEMORY", 10**6, " bytes")])
def test_a_file_that_takes_too_much_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, value: float, said: str
) -> None:
    assert campaign.one("ts", 1, 0, tmp_path / "file").kind == "same"
    monkeypatch.setattr(campaign, limit, value)
    outcome = campaign.one("ts", 1, 0, tmp_path / "file")
    assert outcome.kind == "finding" and said in outcome.said


def test_a_folder_that_is_left_half_made_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def half(data: config.Data) -> None:
        (Path(data.prepared) / ".partial").mkdir(parents=True)
        raise DataError("the disk is full")

    monkeypatch.setattr(campaign, "prepare", half)
    outcome = campaign.one("ts", 1, 0, tmp_path / "file")
    assert outcome.kind == "finding" and "left ['.partial']" in outcome.said


def test_a_valid_file_that_is_not_prepared_or_prepared_as_something_else_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def swapped(data: config.Data) -> Prepared:
        found = open_prepared(data)
        names = found.manifest.class_names
        return replace(found, manifest=found.manifest.model_copy(update={"class_names": names[::-1]}))

    monkeypatch.setattr(campaign, "open_prepared", swapped)
    assert "AssertionError" in campaign.one("ts", 1, 0, tmp_path / "file").said
    monkeypatch.setattr(campaign, "prepare", lambda data: refuses(tmp_path, data))
    assert "a valid file is not prepared: all that" in campaign.one("ts", 1, 0, tmp_path / "file").said
