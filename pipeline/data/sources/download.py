"""Files fetched with torchvision's code and checksums: they arrive whole under their final names, or not at all.

torchvision's ``Dataset.download()`` is not called, only ``download_url``, which it is made of: ``download()`` leaves a
file that failed its checksum in place, takes a half-unpacked file for a whole one, gives up all mirrors when a
connection is reset, and never tries twice.
"""

from __future__ import annotations

import http.client
import shutil
import socket
import stat
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from filelock import FileLock

from pipeline import files
from pipeline.errors import DataError

ATTEMPTS = 3
BACKOFF = 1.0  # seconds before the second attempt; twice that before the third
TIMEOUT = 30.0  # seconds without a byte: torchvision sets none and would wait for ever


@dataclass(frozen=True)
class Download:
    """A gzip file, or a zip archive of gzip files, that torchvision knows: its checksum and addresses."""

    name: str
    md5: str
    urls: tuple[str, ...]
    gives: tuple[str, ...]  # names of gzip files


@contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Hold the lock of ``root``; what a killed download left there is removed."""
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        for stale in root.glob(".download-*"):
            shutil.rmtree(stale, ignore_errors=True)
        yield


def fetch(downloads: Iterable[Download], wanted: Iterable[str], root: Path, folder: Path, mirrors: Sequence[str]) -> None:
    """Put every download that gives a file in ``wanted`` into ``folder``, by way of a temporary place in ``root``.

    ``mirrors`` are tried before the download's own addresses. Never replaces a file.
    Raises DataError that lists what was tried at each address.
    """
    for item in downloads:
        if set(item.gives).isdisjoint(wanted):
            continue
        with TemporaryDirectory(prefix=".download-", dir=root) as name:
            fetched = _fetch(item, Path(name), mirrors)
            whole = _unpack(fetched, item.gives) if fetched.suffix == ".zip" else [fetched]
            folder.mkdir(parents=True, exist_ok=True)
            for file in whole:
                if not (folder / file.name).exists():
                    files.fsync(file)
                    file.rename(folder / file.name)
            files.fsync(folder)


def _fetch(item: Download, folder: Path, mirrors: Sequence[str]) -> Path:
    from torchvision.datasets.utils import download_url

    path = folder / item.name
    urls = [f"{mirror.rstrip('/')}/{item.name}" for mirror in mirrors] + list(item.urls)
    failures: dict[str, str] = {}
    for attempt in range(ATTEMPTS):
        time.sleep(BACKOFF * attempt)
        for url in urls:
            try:
                with _timeout():
                    download_url(url, str(folder), item.name, item.md5)
                return path
            except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and error.errno in files.REMEDIES:
                    raise  # the disk, not the network
                altered = path.exists() and "corrupted" in str(error)
                failures[url] = "cut short or altered: its checksum is wrong" if altered else str(error) or repr(error)
                path.unlink(missing_ok=True)
    tried = "\n".join(f"  {url}: {failure}" for url, failure in failures.items())
    raise DataError(f"{item.name} could not be downloaded, {ATTEMPTS} attempts at each address:\n{tried}")


@contextmanager
def _timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _unpack(archive: Path, names: Sequence[str]) -> list[Path]:
    """The members called ``names``, whatever their folder, beside ``archive``; the archive is removed."""
    unpacked = []
    try:
        with zipfile.ZipFile(archive) as packed:
            for member in packed.infolist():
                place = PurePosixPath(member.filename)
                if place.is_absolute() or ".." in place.parts or stat.S_ISLNK(member.external_attr >> 16):
                    raise DataError(f"{archive.name}: refused, its member {member.filename!r} points outside the archive")
                if place.name in names:
                    unpacked.append(archive.parent / place.name)
                    with packed.open(member) as source, unpacked[-1].open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive.name}: not a whole zip archive ({error})") from None
    archive.unlink()
    return unpacked
