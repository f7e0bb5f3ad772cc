"""Files fetched from torchvision's addresses: they arrive whole under their final names, or not at all.

torchvision's own ``download()`` leaves a file that failed its checksum in place, takes a half-unpacked file for a whole
one, gives up all mirrors when a connection is reset, never tries twice, goes on without TLS where TLS fails, and takes
whatever a server sends, however much and however slowly.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import stat
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import HTTPRedirectHandler, Request, build_opener

from tqdm import tqdm

from pipeline import files
from pipeline.distributed.lock import held
from pipeline.errors import DataError

ATTEMPTS = 3
BACKOFF = 1.0  # seconds before the second attempt; twice that before the third
TIMEOUT = 30.0  # seconds without a byte
GRACE, PACE = 60.0, 2**13  # seconds, after which this many bytes a second are the least that is waited for
PIECE = 2**16  # bytes


@dataclass(frozen=True)
class Download:
    """A gzip file, or a zip archive of gzip files, that torchvision knows: its checksum, addresses and greatest size."""

    name: str
    md5: str
    limit: int  # bytes
    urls: tuple[str, ...]
    gives: tuple[str, ...]  # names of gzip files


@contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Hold the lock of ``root``; what a killed download left there is removed."""
    files.make_folder(root)
    with held(root / ".lock", wait=True):
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
            files.make_folder(folder)
            for file in whole:
                if not (folder / file.name).exists():
                    files.fsync(file)
                    file.rename(folder / file.name)
            files.fsync(folder)


def _fetch(item: Download, folder: Path, mirrors: Sequence[str]) -> Path:
    path = folder / item.name
    urls = [f"{mirror.rstrip('/')}/{item.name}" for mirror in mirrors] + list(item.urls)
    failures: dict[str, str] = {}
    for attempt in range(ATTEMPTS):
        time.sleep(BACKOFF * attempt)
        for url in urls:
            try:
                _receive(url, path, item)
                return path
            except (OSError, ValueError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and error.errno in files.REMEDIES:
                    raise  # the disk, not the network
                failures[url] = str(error) or repr(error)
                path.unlink(missing_ok=True)
    tried = "\n".join(f"  {url}: {failure}" for url, failure in failures.items())
    raise DataError(f"{item.name} could not be downloaded, {ATTEMPTS} attempts at each address:\n{tried}")


def _receive(url: str, path: Path, item: Download) -> None:
    """Write what ``url`` sends to ``path``. Raises ValueError if it is not ``item``, or comes too slowly."""
    begin, size = time.monotonic(), 0
    digest = hashlib.md5(usedforsecurity=False)  # the checksum that torchvision knows
    request = Request(url, headers={"User-Agent": "sequence-pipeline"})
    with (
        build_opener(SafeRedirects).open(request, timeout=TIMEOUT) as answer,
        path.open("wb") as file,
        tqdm(
            desc=item.name, total=getattr(answer, "length", None), unit="B", unit_scale=True, leave=False, disable=None
        ) as bar,
    ):
        # read1 gives what has come: read would wait for a whole piece, however slowly it comes
        while piece := answer.read1(PIECE):
            size += len(piece)
            bar.update(len(piece))
            if size > item.limit:
                raise ValueError(f"sends more than {item.limit >> 20} MiB, which {item.name} cannot have")
            if time.monotonic() - begin > GRACE + size / PACE:
                raise ValueError(f"sends less than {PACE >> 10} KiB a second")
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != item.md5:
        raise ValueError("cut short or altered: its checksum is wrong")


class SafeRedirects(HTTPRedirectHandler):
    """Follows redirects, but none that leaves TLS: an address without it is asked only where a user or torchvision names it."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        """The request for ``newurl``. Raises ValueError for one that is less safe than the first."""
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise ValueError(f"leads to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


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
