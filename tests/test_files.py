"""What files.py promises: a file or folder is whole or absent, and a failing disk is one message."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file

from pipeline import files
from pipeline.errors import UserError
from tests.support.raw_files import small_disk


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_checksum_is_that_of_the_bytes(tmp_path: Path) -> None:
    data = os.urandom(3_000_001)
    (tmp_path / "x").write_bytes(data)
    assert files.sha256(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_only_files_are_read_and_only_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert files.read(path, 5) == b"12345"
    with pytest.raises(ValueError, match="is larger than 4 bytes"):
        files.read(path, 4)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        for reading in (lambda path: files.read(path, 5), files.sha256):
            with pytest.raises(OSError, match="not a file") as caught:
                reading(tmp_path / name)
            assert caught.value.filename == str(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "none", 5)


class Thing(BaseModel):
    model_config = ConfigDict(strict=True)

    number: int
    inner: dict[str, float] = {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Invalid JSON"),
        ("[" * 100_000, "Invalid JSON: recursion limit exceeded"),
        ('{"number": 1, "inner": ' + '{"a": ' * 100_000, "Invalid JSON: recursion limit exceeded"),
        ('{"number": "1"}', "number: Input should be a valid integer"),
        ('{"number": 1, "inner": {"\\u001b[2K": "x"}}', r"inner\.\\x1b\[2K: Input should be a valid number"),
        ("[]", "Input should be an object"),
        ("\udcff", "Invalid JSON"),
    ],
)
def test_json_that_is_another_is_one_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "x").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=reason) as caught:
        files.read_json(tmp_path / "x", Thing)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value) and len(str(caught.value)) < 300
    (tmp_path / "x").write_text('{"number": 1, "other": []}')
    assert files.read_json(tmp_path / "x", Thing) == Thing(number=1)


def test_text_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    for text in ("first\n", "é\r\n日"):
        files.write_text(path, text)
        assert path.read_bytes() == text.encode()
    files.write_json(path, {"é": [1, None]})
    assert json.loads(path.read_text()) == {"é": [1, None]} and path.read_text().endswith("}\n")
    assert names(tmp_path) == ["x.txt"]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_umask_decides_who_may_read_what_is_written(tmp_path: Path, umask: int) -> None:
    files.write_text(tmp_path / "text", "x")
    files.save_tensors(tmp_path / "tensors", {"a": torch.arange(3)})
    with files.whole_folder(tmp_path / "deep" / "folder") as partial:
        (partial / "inner").write_text("x")
    assert {mode(tmp_path / name) for name in ("text", "tensors", "deep/folder/inner")} == {0o666 & ~umask}
    assert {mode(tmp_path / name) for name in ("deep", "deep/folder")} == {0o777 & ~umask}


@pytest.mark.parametrize("held", [0o600, 0o640, 0o666, 0o444])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path, held: int) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(held)
    with files.whole_file(path) as partial:
        assert mode(partial) & 0o077 == held & 0o077, "or what is being written is open to more than the file it becomes"
        partial.write_text("new")
    assert (path.read_text(), mode(path)) == ("new", held)
    files.save_tensors(path, {"a": torch.arange(3)})
    assert mode(path) == held


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_text_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    path = tmp_path / "x.txt"
    files.write_text(path, "old")

    def fail(*_: Any) -> None:
        raise fault

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(type(fault)):
        files.write_text(path, "new")
    assert path.read_text() == "old" and names(tmp_path) == ["x.txt"]


def test_a_reader_sees_the_old_text_or_the_new_and_never_a_part(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    texts = {"a" * 100_000, "b" * 300_000}
    files.write_text(path, "a" * 100_000)
    seen, done = set(), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        for text in sorted(texts):
            files.write_text(path, text)
    done.set()
    reader.join()
    assert seen <= texts


def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace, rename = os.fsync, Path.replace, Path.rename

    def synced(descriptor: int) -> None:
        events.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name.split('.')[0] or 'partial'}")  # noqa: PTH115
        fsync(descriptor)

    monkeypatch.setattr(files.os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", lambda one, other: (events.append("rename"), replace(one, other))[1])
    monkeypatch.setattr(Path, "rename", lambda one, other: (events.append("rename"), rename(one, other))[1])
    parent = tmp_path.name.split(".")[0]
    files.write_text(tmp_path / "x", "text")
    assert events == ["fsync partial", "rename", f"fsync {parent}"]
    events.clear()
    with files.whole_folder(tmp_path / "folder") as partial:
        (partial / "inner").write_text("x")
    assert events == ["fsync inner", "fsync partial", "rename", f"fsync {parent}"]
    events.clear()
    files.make_folder(tmp_path / "one" / "two" / "three")
    assert sorted(events) == sorted([f"fsync {parent}", "fsync one", "fsync two"]), "the folder of each name that is new"
    events.clear()
    files.make_folder(tmp_path / "one" / "two")
    assert events == []


def test_a_link_is_removed_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").write_text("a")
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "nowhere").symlink_to("gone")
    for name in ("link", "nowhere"):
        files.remove(tmp_path / name)
    assert names(tmp_path) == ["there"] and names(tmp_path / "there") == ["a"]
    (tmp_path / "file").write_text("")
    for name in ("there", "file", "none"):
        files.remove(tmp_path / name)
    assert names(tmp_path) == []


def test_a_folder_appears_whole_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    with files.whole_folder(path) as partial:
        (partial / "a").write_text("a")
        assert not path.exists() and partial.parent == path.parent and partial.name.startswith(".folder.")
    assert names(path) == ["a"] and names(path.parent) == ["folder"]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_a_folder_that_fails_leaves_nothing(tmp_path: Path, fault: type[BaseException]) -> None:
    with pytest.raises(fault), files.whole_folder(tmp_path / "folder") as partial:
        (partial / "a").write_text("a")
        raise fault
    assert names(tmp_path) == []


def test_the_first_of_two_folders_of_one_name_stays(tmp_path: Path) -> None:
    with files.whole_folder(tmp_path / "folder") as late, files.whole_folder(tmp_path / "folder") as first:
        (first / "first").write_text("")
        (late / "late").write_text("")
    assert names(tmp_path / "folder") == ["first"] and names(tmp_path) == ["folder"]


def written(path: Path, name: str) -> None:
    with files.whole_folder(path, replace=True) as partial:
        (partial / name).write_text(name)


def test_a_folder_that_replaces_another_leaves_nothing_of_it(tmp_path: Path) -> None:
    written(tmp_path / "folder", "old")
    written(tmp_path / "folder", "new")
    assert names(tmp_path / "folder") == ["new"] and names(tmp_path) == ["folder"]


def test_a_folder_that_replaces_another_has_its_mode(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o750)
    written(tmp_path / "folder", "new")
    assert mode(tmp_path / "folder") == 0o750


@pytest.mark.parametrize("place", ["elsewhere", "gone"])
def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path: Path, place: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_text("")
    (tmp_path / "folder").symlink_to(place)
    written(tmp_path / "folder", "new")
    assert names(tmp_path / "folder") == ["new"] and not (tmp_path / "folder").is_symlink()
    assert names(tmp_path / "elsewhere") == ["kept"] and names(tmp_path) == ["elsewhere", "folder"]


@pytest.mark.parametrize("fault", [OSError(errno.ENOTEMPTY, "injected"), KeyboardInterrupt()])
def test_a_replacement_that_fails_puts_the_former_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    written(tmp_path / "folder", "old")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if target.name == "folder" and (path / "new").exists():
            raise fault
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(type(fault)):
        written(tmp_path / "folder", "new")
    assert names(tmp_path / "folder") == ["old"] and names(tmp_path) == ["folder"]


def test_a_kill_leaves_no_folder_of_the_name(tmp_path: Path) -> None:
    def job() -> None:
        with files.whole_folder(tmp_path / "folder") as partial:
            (partial / "a").write_text("a")
            os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=job)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "folder").exists() and len(names(tmp_path)) == 1


@pytest.mark.parametrize("code", files.REMEDIES)
def test_a_failing_disk_is_one_message_that_names_the_place_and_what_to_do(code: int) -> None:
    with pytest.raises(UserError, match=r"^/here/x: cannot write a thing: .+"), files.disk_errors("a thing", Path("/there")):
        raise OSError(code, os.strerror(code), "/here/x")
    with pytest.raises(UserError, match=r"^/there: cannot write a thing: "), files.disk_errors("a thing", Path("/there")):
        raise OSError(code, os.strerror(code))


def test_what_is_no_fault_of_the_disk_is_not_hidden() -> None:
    for error in (OSError(errno.ENOTTY, "no"), ValueError("x"), OSError("without a number")):
        with pytest.raises(type(error)) as caught, files.disk_errors("a thing", Path("/there")):
            raise error
        assert caught.value is error


def test_tensors_are_written_as_they_are(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3), "b": torch.ones(2, 2, dtype=torch.bfloat16)}
    files.save_tensors(tmp_path / "x", tensors)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in load_file(tmp_path / "x").items())


def test_tensors_on_a_full_disk_are_an_error_of_the_disk_that_names_the_file(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        with pytest.raises(OSError) as caught:
            files.save_tensors(disk / "x", {"a": torch.zeros(100_000)})
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(disk / "x"))
        message = rf"^{disk / 'x'}: cannot write it: the disk is full; free some space"
        with pytest.raises(UserError, match=message), files.disk_errors("it", disk):
            files.save_tensors(disk / "x", {"a": torch.zeros(100_000)})
