"""What checksums.py promises: a file is hashed once for as long as it stays what it was, and believed no longer than that."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.data.sources import checksums
from pipeline.data.sources.checksums import LIMIT, NAME, RESTED, Checksums
from tests.support.hashing import files_hashed
from tests.support.raw_files import small_disk


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def asked(folder: Path, path: Path, anew: bool = False) -> str:
    known = Checksums(folder, anew)
    found = known.of(path)
    known.save()
    return found


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an hour later, so that each file has rested."""
    monkeypatch.setattr(checksums, "time_ns", lambda: time.time_ns() + 3600 * 10**9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(b"one")
    return path


@pytest.mark.usefixtures("later")
def test_a_file_that_stays_what_it_was_is_hashed_once(tmp_path: Path, path: Path) -> None:
    with files_hashed() as found:
        assert [asked(tmp_path, path) for _ in range(3)] == [sha256(b"one")] * 3
    assert found == [path]
    with files_hashed() as found:
        assert asked(tmp_path, path, anew=True) == sha256(b"one")
    assert found == [path]
    with files_hashed() as found:
        asked(tmp_path, path)
    assert found == [], "what was computed anew is known too"


def changed_in_place(path: Path) -> None:
    """Another byte, in a file of the same size, inode and mtime."""
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the clock has ticked since
        with path.open("r+b") as file:
            file.write(b"two")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert all(getattr(before, name) == getattr(after, name) for name in ("st_size", "st_ino", "st_mtime_ns"))


def replaced(path: Path) -> None:
    """Another file of the same size and mtime under its name."""
    other, before = path.with_name("other"), path.stat()
    other.write_bytes(b"two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def written(path: Path) -> None:
    path.write_bytes(b"two")
    os.utime(path)


def linked(path: Path) -> None:
    """Its name leads to another file now."""
    path.rename(path.with_name("former"))
    path.with_name("other").write_bytes(b"two")
    path.symlink_to(path.with_name("other"))


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("change", [changed_in_place, replaced, written, linked])
def test_a_change_is_noticed_whatever_it_hides(tmp_path: Path, path: Path, change: Callable[[Path], None]) -> None:
    assert asked(tmp_path, path) == sha256(b"one")
    change(path)
    assert asked(tmp_path, path) == sha256(b"two")
    with files_hashed() as found:
        assert asked(tmp_path, path) == sha256(b"two")
    assert found == []


@pytest.mark.parametrize("age", [-3600 * 10**9, 0, RESTED - 1, RESTED + 1])
def test_a_file_that_has_not_rested_may_change_again_within_the_same_tick_and_is_not_believed(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch, age: int
) -> None:
    monkeypatch.setattr(checksums, "time_ns", lambda: path.stat().st_ctime_ns + age)
    asked(tmp_path, path)
    with files_hashed() as found:
        asked(tmp_path, path)
    assert found == ([] if age > RESTED else [path])
    assert (tmp_path / NAME).exists() == (age > RESTED)


@pytest.mark.usefixtures("later")
def test_a_file_that_changes_while_it_is_hashed_is_not_believed(tmp_path: Path, path: Path) -> None:
    known = Checksums(tmp_path)

    def compute() -> str:
        found = sha256(path.read_bytes())
        changed_in_place(path)
        return found

    known.of_all(path, [], compute)
    known.save()
    assert asked(tmp_path, path) == sha256(b"two")


@pytest.mark.usefixtures("later")
def test_a_folder_is_hashed_anew_if_one_of_its_files_has_changed_come_or_gone(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(b"one")

    def total(*names: str) -> tuple[str, bool]:
        known, computed = Checksums(tmp_path), []
        inner = [tmp_path / name for name in names]

        def compute() -> str:
            computed.append(True)
            return sha256(b"".join(path.name.encode() + path.read_bytes() for path in inner))

        found = known.of_all(tmp_path, names, compute)
        known.save()
        return found, bool(computed)

    first = total("a", "b", "c")
    assert first[1] and total("a", "b", "c") == (first[0], False)
    changed_in_place(tmp_path / "b")
    assert total("a", "b", "c") == (sha256(b"aonebtwocone"), True)
    assert total("a", "b") == (sha256(b"aonebtwo"), True)
    (tmp_path / "c").rename(tmp_path / "d")
    assert total("a", "b", "d") == (sha256(b"aonebtwodone"), True)


KEPT = f'{{"stamp": "{"0" * 64}", "sha256": "{"1" * 64}"}}'
DAMAGED = {
    "empty": b"",
    "cut": f'{{"format": 1, "files": {{"x": {KEPT}'.encode(),
    "list": b"[]",
    "nested": b"[" * 10**6,
    "pickle": pickle.dumps({"format": 1}),
    "binary": b"\0\xff" * 100,
    "another format": b'{"format": 2, "files": {}}',
    "no digest": b'{"format": 1, "files": {"x": {"stamp": "0", "sha256": "1"}}}',
    "number": b'{"format": 1, "files": {"x": {"stamp": 0, "sha256": 1}}}',
    "another key": b'{"format": 1, "files": {}, "more": 1}',
}


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_checksums_are_not_believed_and_are_made_anew(tmp_path: Path, path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert asked(tmp_path, path) == sha256(b"one")
    with files_hashed() as found:
        asked(tmp_path, path)
    assert found == []


def endless(place: Path) -> None:
    with place.open("wb") as file:
        file.truncate(LIMIT + 1)


WAYS = {"folder": Path.mkdir, "pipe": os.mkfifo, "loop": lambda place: place.symlink_to(place), "endless": endless}


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("make", WAYS.values(), ids=WAYS)
def test_what_is_no_file_of_checksums_costs_time_and_nothing_else(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make(tmp_path / NAME)
    for _ in range(2):
        assert asked(tmp_path, path) == sha256(b"one")


@pytest.mark.usefixtures("later")
def test_the_users_cache_knows_the_files_of_a_folder_that_cannot_be_written(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with small_disk(tmp_path / "disk", "100k") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with files_hashed() as found:
            assert [asked(disk, path) for _ in range(2)] == [sha256(b"one")] * 2
        assert found == [path]
        changed_in_place(path)
        assert asked(disk, path) == sha256(b"two")
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
        assert asked(disk, path) == sha256(b"two"), "nothing can be written"


@pytest.mark.usefixtures("later")
def test_two_that_learn_at_once_forget_nothing(tmp_path: Path, path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"two")
    one, two = Checksums(tmp_path), Checksums(tmp_path)
    one.of(path)
    two.of(other)
    one.save()
    two.save()
    with files_hashed() as found:
        assert (asked(tmp_path, path), asked(tmp_path, other)) == (sha256(b"one"), sha256(b"two"))
    assert found == []


@pytest.mark.usefixtures("later")
def test_a_cache_is_used_beside_the_checksums_of_a_folder_that_cannot_be_written_any_more(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with small_disk(tmp_path / "disk", "100k") as disk:
        other = path.with_name("other")
        other.write_bytes(b"two")
        asked(disk, other)
        assert (disk / NAME).exists()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with files_hashed() as found:
            assert [asked(disk, path) for _ in range(2)] == [sha256(b"one")] * 2
        assert found == [path]


@pytest.mark.usefixtures("later")
def test_damage_that_was_found_once_is_known_afterwards(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(tmp_path, path) == sha256(b"one")
    monkeypatch.setattr(checksums.files, "sha256", lambda _: sha256(b"rotten"))  # bytes of the disk, with no sign of a write
    with suppress(ValueError), Checksums(tmp_path, anew=True) as known:
        assert known.of(path) == sha256(b"rotten")
        raise ValueError("refused")
    monkeypatch.undo()
    assert asked(tmp_path, path) == sha256(b"rotten")


@pytest.mark.usefixtures("later")
def test_what_cannot_be_read_any_more_is_not_known_any_more(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked(tmp_path, path) == sha256(b"one")

    def broken(_: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(checksums.files, "sha256", broken)
    with suppress(OSError), Checksums(tmp_path, anew=True) as known:
        known.of(path)
    with pytest.raises(OSError, match="Input/output"):
        asked(tmp_path, path)
