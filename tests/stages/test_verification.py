"""What is read at a start: each file of the data once, and again only if it was changed or if that is asked for."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import config, fit
from pipeline.config import Config
from pipeline.data.preparation import image_parts, series_parts
from pipeline.data.preparation.folder import prepare
from pipeline.data.prepared import folder_of
from pipeline.data.sources import checksums
from pipeline.errors import DataError
from pipeline.stages import evaluate, export
from pipeline.stages import prepare as stage
from tests.support.hashing import files_hashed
from tests.support.raw_files import examples, put
from tests.support.series_files import npz

PARTS = ("train", "valid", "test")


def idx_files(folder: Path) -> dict[str, Any]:
    put(folder, examples())
    return {"source": "mnist", "root": str(folder)}


def image_files(folder: Path) -> dict[str, Any]:
    random = np.random.default_rng(0)
    for word in ("cat", "dog"):
        (folder / word).mkdir(parents=True)
        for number in range(20):
            Image.fromarray(random.integers(0, 256, (5, 7), dtype=np.uint8)).save(folder / word / f"{number}.png")
    return {"source": "images", "path": str(folder)}


def series_file(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    values = np.random.default_rng(0).normal(size=(60, 5, 2))
    npz(folder / "data.npz", values=values.reshape(-1, 2), lengths=[5] * 60, labels=["a", "b"] * 30)
    return {"source": "npz", "path": str(folder / "data.npz"), "id": ""}


@pytest.fixture(params=[idx_files, image_files, series_file])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A configuration of small data, an hour after its raw files were written."""
    data = request.param(tmp_path / "raw")
    monkeypatch.setattr(checksums, "time_ns", lambda: time.time_ns() + 3600 * 10**9)
    return config.make(
        {
            "data": data | {"prepared": str(tmp_path / "prepared")},
            "model": {"hidden": 4},
            "train": {"epochs": 1, "batch": 16},
            "track": {"backends": []},
            "export": {"formats": ["safetensors"]},
            "run": {"dir": str(tmp_path / "run")},
        }
    )


def start(settings: Config, name: str) -> Path:
    """Train a run of another name; its folder."""
    folder = Path(settings.run.dir).with_name(name)
    return fit(json.loads(settings.model_dump_json(exclude_unset=True)), f"run.dir={folder}").folder


def raw_files(settings: Config) -> list[Path]:
    return sorted(path for path in (Path(settings.run.dir).parent / "raw").rglob("*") if path.is_file())


def parts(settings: Config, *names: str) -> list[Path]:
    return [folder_of(settings.data) / f"{name}.safetensors" for name in names]


def test_each_file_is_hashed_at_the_first_start_that_reads_it_and_at_no_other(
    settings: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(settings.data)
    with files_hashed(tmp_path) as found:
        start(settings, "one")
    data = [path for path in found if path.suffix != ".json" and "checkpoints" not in str(path)]
    assert sorted(data) == sorted(parts(settings, *PARTS)), "once; the raw files were hashed when they were prepared"
    with files_hashed(tmp_path) as found:
        run = start(settings, "two")
        prepare(settings.data)
        evaluate.evaluate(run)
        export.export(run)
    assert [path for path in found if run not in path.parents] == []
    with files_hashed(tmp_path) as found:
        stage.prepare(settings, "own.yaml", verify=True)
    assert sorted(found) == sorted([*raw_files(settings), *parts(settings, *PARTS)])
    assert "prepared before, and every file is what it was" in capsys.readouterr().out


def test_evaluate_and_export_hash_the_part_that_they_read(settings: Config, tmp_path: Path) -> None:
    run = start(settings, "run")
    kept = folder_of(settings.data) / checksums.NAME
    for action, *names in (
        (lambda: evaluate.evaluate(run), "test", "train"),  # where the nearest examples are looked for
        (lambda: evaluate.evaluate(run, "valid"), "valid", "train"),
        (lambda: export.export(run), "test"),
    ):
        kept.unlink(missing_ok=True)
        with files_hashed(tmp_path / "prepared") as found:
            action()
        assert found == parts(settings, *names)


def flip(path: Path) -> None:
    """Change the last byte in place, so that size, inode and mtime stay."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        with path.open("r+b") as file:
            file.write(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def refused(settings: Config, path: Path, *actions: Callable[[], object]) -> None:
    """Each of the actions names the file, or the folder of images that it is in."""
    for action in actions:
        with pytest.raises(DataError) as caught:
            action()
        assert any(str(place) in str(caught.value) for place in (path, path.parents[1]))
        assert "changed" in str(caught.value)


def test_a_byte_that_changes_later_is_refused_wherever_it_is_read(settings: Config) -> None:
    run = start(settings, "run")
    for action in (lambda: prepare(settings.data), lambda: evaluate.evaluate(run), lambda: export.export(run)):
        action()
    starts = (lambda: start(settings, "other"), lambda: prepare(settings.data), lambda: stage.prepare(settings, "own.yaml"))
    for path in (raw_files(settings)[-1], *parts(settings, "train", "valid")):
        flip(path)
        refused(settings, path, *starts)
        assert not Path(settings.run.dir).with_name("other").exists()
        flip(path)
        prepare(settings.data)
    (test,) = parts(settings, "test")
    flip(test)
    refused(settings, test, *starts, lambda: evaluate.evaluate(run), lambda: export.export(run))


def test_asked_to_verify_prepare_believes_no_checksum_that_is_kept(settings: Config, tmp_path: Path) -> None:
    prepare(settings.data)
    prepare(settings.data)
    kept = folder_of(settings.data) / checksums.NAME
    (path,) = parts(settings, "train")
    known = json.loads(kept.read_text())
    flip(path)
    with pytest.raises(DataError):
        prepare(settings.data)
    other = checksums.Checksums(tmp_path)
    other.of(path)
    other.save()
    now = json.loads((tmp_path / checksums.NAME).read_text())["files"][str(path)]
    known["files"][str(path)]["stamp"] = now["stamp"]  # as if the disk had lost the bit, and nobody had written
    kept.write_text(json.dumps(known))
    prepare(settings.data)
    with pytest.raises(DataError, match="changed after it was made"):
        stage.prepare(settings, "own.yaml", verify=True)


def test_a_raw_file_that_cannot_be_read_is_one_message_with_its_name(tmp_path: Path) -> None:
    data = config.Data(**idx_files(tmp_path / "raw"), prepared=str(tmp_path / "prepared"))
    prepare(data)
    path = sorted((tmp_path / "raw").iterdir())[0]
    path.unlink()
    path.symlink_to("/proc/self/mem")  # a regular file, whose first byte is an I/O error
    with pytest.raises(DataError, match=rf"{path}: cannot be read \(Input/output error\); put"):
        prepare(data)


def test_raw_data_that_changes_while_it_is_prepared_is_refused_and_leaves_no_folder(
    settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody writes to it once it was read, as a copy that is not at its end does."""
    path = raw_files(settings)[-1]
    for module in (image_parts, series_parts):

        def write(*arguments: Any, plain: Callable[..., Any] = module.write) -> Any:
            content = plain(*arguments)
            flip(path)
            return content

        monkeypatch.setattr(module, "write", write)
    with pytest.raises(DataError, match="changed while it was read; once nobody writes to it any more, type: "):
        prepare(settings.data)
    assert not folder_of(settings.data).exists()
    monkeypatch.undo()
    flip(path)
    assert prepare(settings.data).made
