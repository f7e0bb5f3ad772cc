"""A copy of prepared data on a host's own disk is made once, and is what it was made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import config
from pipeline.data.preparation.folder import prepare
from pipeline.data.preparation.staging import stage, staged
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from tests.support.raw_files import small_disk


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return prepare(config.Data(source="digits", validation=100, prepared=str(tmp_path / "prepared")))


def train_file(copy: Prepared) -> Path:
    return copy.folder / copy.manifest.parts["train"].files[0].file


def test_a_copy_is_made_once_and_holds_the_same(prepared: Prepared, tmp_path: Path) -> None:
    stage(prepared, tmp_path / "local")
    copy = staged(prepared, tmp_path / "local")
    made = train_file(copy).stat().st_ino
    stage(prepared, tmp_path / "local")
    assert train_file(copy).stat().st_ino == made, "it was left alone"
    assert copy.part("train").values.equal(prepared.part("train").values)
    assert copy.digest == prepared.digest and copy.folder != prepared.folder


def test_a_copy_that_was_damaged_is_made_anew(prepared: Prepared, tmp_path: Path) -> None:
    stage(prepared, tmp_path)
    file = train_file(staged(prepared, tmp_path))
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    stage(prepared, tmp_path)
    assert file.read_bytes() == content


def test_what_a_killed_copy_left_is_cleared_away(prepared: Prepared, tmp_path: Path) -> None:
    stale = tmp_path / "local" / f".{staged(prepared, tmp_path).folder.name}.0123abcd"
    stale.mkdir(parents=True)
    stage(prepared, tmp_path / "local")
    assert not stale.exists()


def test_a_disk_that_is_full_is_one_message(prepared: Prepared, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk, pytest.raises(UserError, match=r"data\.stage\): the disk is full"):
        stage(prepared, disk)
