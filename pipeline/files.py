"""Files that are either whole or absent: atomic writes, checksums, locks."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

M = TypeVar("M", bound=BaseModel)

REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space there, or name another folder",
    errno.EDQUOT: "your quota there is used up; free some space, or name another folder",
    errno.EROFS: "the file system is read-only; name another folder",
    errno.EACCES: "no permission; name another folder, or change its owner",
    errno.EPERM: "not permitted; name another folder",
    errno.EIO: "the disk reports an I/O error; check it, and name another folder",
    errno.ENOTDIR: "a part of this path is a file, not a folder; name another",
    errno.ENOENT: "a folder of this path is gone or cannot be made; name another folder",
    errno.ENAMETOOLONG: "this path is too long; name another folder",
    errno.ELOOP: "this path leads to itself by links; name another folder",
    errno.ESTALE: "the network disk lost it; mount it again",
    errno.EEXIST: "a file of this name is in the way; name another folder",
}
OS_ERROR = re.compile(r"\(os error (\d+)\)")  # how libraries written in Rust tell the number of an error


def path(text: str) -> Path:
    """A path as a user writes it, ``~`` included. Raises UserError if there is no such user or it cannot be a path."""
    try:
        if "\0" in text:
            raise RuntimeError("it holds a NUL character")
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UserError(f"{text!r}: not a path: {error}") from None


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes. Raises OSError with its name."""
    try:
        with opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:  # of reading, which has no name
        error.filename = error.filename or str(path)
        raise


def read(path: Path, limit: int) -> bytes:
    """A file's bytes. Raises OSError, and ValueError if there are more than ``limit``."""
    with opened(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"is larger than {limit:,} bytes")
    return content


def read_json(path: Path, kind: type[M], limit: int = 64 * 2**20) -> M:
    """What a file of JSON says, as the model ``kind``. Raises OSError, and ValueError in one line if it is something else."""
    try:
        return kind.model_validate_json(read(path, limit))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(ascii(f"{place}: {first['msg']}" if place else first["msg"])[1:-1][:200]) from None


def opened(path: Path) -> BufferedReader:
    """A file, open for reading. Raises OSError if it is a pipe or a device, of which there may be no end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "not a file", str(path))
    return path.open("rb")


def lines(path: Path, longest: int = 2**20) -> Iterator[str]:
    """The lines of a file in UTF-8 with their ends, as ``csv`` takes them. Raises OSError, and ValueError for one of more than
    ``longest`` characters."""
    with TextIOWrapper(opened(path), encoding="utf-8", newline="") as file:
        while line := file.readline(longest + 1):
            if len(line) > longest:
                raise ValueError(f"has a line of more than {longest:,} characters")
            yield line


def fsync(path: Path) -> None:
    """Force a file's bytes, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing; each new name is on the disk when this returns."""
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(new):
        fsync(folder.parent)


def appears(path: Path, seconds: float) -> bool:
    """Whether a file is there, or comes to be within so many seconds, as what another host wrote to a network disk may."""
    end = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > end:
            return False
        with suppress(OSError):
            list(path.parent.iterdir())  # has the disk ask what is there, instead of what it remembers
        time.sleep(0.2)
    return True


def remove(path: Path) -> None:
    """Delete a file, a folder with all in it, or a link alone, not what it leads to; nothing if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A new name for what will become ``path``. What Python's ``tempfile`` makes is closed to all but its owner, whatever
    the umask says."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def _mode(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place, as one act, when the block ends without an error.

    It has the mode of the file that it replaces; where there is none, the umask decides.
    """
    partial = _beside(path)
    partial.touch(exist_ok=False)
    try:
        mode = _mode(path if path.exists() else partial)
        partial.chmod(mode | stat.S_IRUSR | stat.S_IWUSR)
        yield partial
        fsync(partial)
        partial.chmod(mode)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace a file as one act: a reader, or a crash, sees the old text or the new."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """``write_text`` of ``value`` as indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


@contextmanager
def whole_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside ``path`` that becomes ``path`` when the block ends without an error.

    Every file in it is on the disk before the rename, and the rename before this returns. If ``path`` exists by then:
    with ``replace`` the new folder takes its place and its mode, and what was there is put back if that fails; else another
    process was first, so that the temporary folder is dropped and ``path`` left alone. A process that is killed while it
    replaces leaves no ``path`` for a moment, but both folders whole beside it.
    """
    make_folder(path.parent)
    partial = _beside(path)
    former = partial.with_name(f"{partial.name}.former")
    partial.mkdir()
    try:
        yield partial
        if replace and path.is_dir() and not path.is_symlink():
            partial.chmod(_mode(path))
        for file in partial.iterdir():
            fsync(file)
        fsync(partial)
        try:
            if replace and os.path.lexists(path):
                path.rename(former)
            partial.rename(path)
        except BaseException as error:
            if os.path.lexists(former):
                former.rename(path)
            if replace or not isinstance(error, OSError) or error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        fsync(path.parent)
        with suppress(OSError):
            remove(former)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def disk_errors(what: str, path: Path) -> Iterator[None]:
    """Turn a full, read-only or failing disk into one message that names ``path`` and what is wrong with it."""
    try:
        yield
    except OSError as error:
        told = OS_ERROR.search(str(error)) if error.errno is None else None
        remedy = REMEDIES.get(int(told[1]) if told else error.errno or 0)
        if remedy is None:
            raise
        raise UserError(f"{error.filename or path}: cannot write {what}: {remedy}") from error


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as safetensors, with the mode of ``whole_file``; a failing disk is an OSError that names ``path``."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.touch()  # safetensors replaces the file by one that is closed to all but its owner
    mode = _mode(path)
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        if code := OS_ERROR.search(str(error)):
            raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error
        raise
    path.chmod(mode)
