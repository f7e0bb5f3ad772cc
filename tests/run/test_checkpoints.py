"""What checkpoint.py promises: what is saved is whole, what is loaded is what was saved, and nothing safe is lost."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline import files
from pipeline.config import Optim, Train
from pipeline.data import store
from pipeline.data.batches import Batches
from pipeline.errors import RunError, UserError
from pipeline.model.classifier import RecurrentClassifier
from pipeline.run import checkpoints, marks, saving
from pipeline.run.record import Record
from pipeline.training import loop
from pipeline.training.selection import Selection
from pipeline.training.state import State
from tests.support.raw_files import small_disk

MakeState, MakeBatches, MakeModel = (Callable[..., kind] for kind in (State, Batches, RecurrentClassifier))
OPTIMIZERS = {
    "adam": Optim(name="adam", weight_decay=0.1),
    "adamw": Optim(name="adamw", weight_decay=0.1, schedule="one_cycle"),
    "momentum": Optim(name="sgd", momentum=0.9, schedule="cosine"),
    "plain": Optim(name="sgd", momentum=0.0),
}
EVERY = ["model.safetensors", "optimizer.safetensors", "ema.safetensors", "state.json", "manifest.json"]
AVERAGED = Train(batch=8, epochs=3, ema=0.9)
FACTS = checkpoints.Facts(selection=Selection(), data="é", processes=3, cpu_lstm=16)


def advance(state: State, batches: Batches, accelerator: Accelerator, optim: Optim, train: Train, steps: int) -> None:
    for _ in islice(loop.train(state, batches, train, optim, 0), steps):
        pass


def content(state: State) -> dict[str, Any]:
    """Every tensor and number that a checkpoint must hold."""
    moments = {
        f"{index}/{name}": value
        for index, values in state.optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    weights = {f"model/{name}": value for name, value in state.model.state_dict().items()}
    averaged = {f"ema/{name}": value for name, value in state.ema.state_dict().items()} if state.ema else {}
    return {
        name: value.clone() if isinstance(value, Tensor) else value for name, value in (moments | weights | averaged).items()
    }


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, Tensor):
            assert value.dtype == other[name].dtype and torch.equal(value, other[name]), name
        else:
            assert value == other[name], name


@pytest.fixture
def trained(state: MakeState, batches: MakeBatches, accelerator: Accelerator) -> State:
    """Three steps of Adam, with averaged weights."""
    made = state(OPTIMIZERS["adam"], AVERAGED)
    advance(made, batches(20, 8), accelerator, OPTIMIZERS["adam"], AVERAGED, 3)
    return made


def saved(folder: Path, state: State, *steps: int, keep_last: int = 10) -> None:
    for state.step in steps:
        saving.save(folder, saving.snapshot(state, FACTS), keep_last)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_restored_state_is_the_saved_one_and_goes_on_as_if_nothing_had_happened(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator, tmp_path: Path, name: str, ema: float
) -> None:
    optim, train, fed = OPTIMIZERS[name], Train(batch=8, epochs=3, ema=ema), batches(20, 8)
    alone = state(optim, train, layers=2, bidirectional=True, dropout=0.3)
    advance(alone, fed, accelerator, optim, train, 4)
    path = saving.save(tmp_path, saving.snapshot(alone, FACTS), 2)
    at_save = content(alone)
    advance(alone, fed, accelerator, optim, train, 5)

    resumed = state(optim, train, layers=2, bidirectional=True, dropout=0.3)
    with torch.no_grad():
        for parameter in resumed.model.parameters():
            parameter.fill_(7)
    found, skipped = checkpoints.newest(tmp_path)
    assert found == checkpoints.Checkpoint(path, 4, FACTS) and skipped == []
    checkpoints.restore(found, resumed)
    assert resumed.step == 4
    assert_same(content(resumed), at_save)
    advance(resumed, fed, accelerator, optim, train, 5)
    assert resumed.step == alone.step == 9
    assert_same(content(resumed), content(alone))
    assert not torch.equal(content(resumed)["model/head.weight"], at_save["model/head.weight"])


def test_a_snapshot_is_independent_of_the_training_that_goes_on(
    trained: State, batches: MakeBatches, accelerator: Accelerator, state: MakeState, tmp_path: Path
) -> None:
    before = content(trained)
    taken = saving.snapshot(trained, FACTS)
    advance(trained, batches(20, 8), accelerator, OPTIMIZERS["adam"], AVERAGED, 2)
    assert trained.step == 5
    saving.save(tmp_path, taken, 1)
    restored = state(OPTIMIZERS["adam"], AVERAGED)
    checkpoints.restore(checkpoints.best(tmp_path), restored)
    assert restored.step == 3
    assert_same(content(restored), before)


def test_a_run_is_finished_with_the_checkpoint_that_is_marked_so(trained: State, tmp_path: Path) -> None:
    saved(tmp_path, trained, 3, 4)
    assert not checkpoints.is_finished(checkpoints.best(tmp_path))
    marks.mark(tmp_path, "finished", 4)
    found, _ = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 4 and checkpoints.is_finished(found)
    marks.mark(tmp_path, "best", 3)
    assert not checkpoints.is_finished(checkpoints.best(tmp_path))


def test_the_scale_of_fp16_is_restored(trained: State, state: MakeState, tmp_path: Path) -> None:
    trained.scaler = torch.amp.GradScaler("cpu", init_scale=1234.0)
    trained.scaler.scale(torch.ones(()))
    saving.save(tmp_path, saving.snapshot(trained, FACTS), 1)
    other = state(OPTIMIZERS["adam"], AVERAGED)
    other.scaler = torch.amp.GradScaler("cpu")
    other.scaler.scale(torch.ones(()))
    checkpoints.restore(checkpoints.best(tmp_path), other)
    assert other.scaler.get_scale() == 1234.0 and other.scaler.state_dict() == trained.scaler.state_dict()


def test_the_files_are_those_that_the_manifest_names_with_their_checksums(trained: State, tmp_path: Path) -> None:
    path = saving.save(tmp_path / "new", saving.snapshot(trained, FACTS), 1)
    assert path.name == "step_00000003" and names(path) == sorted(EVERY)
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest == {name: files.sha256(path / name) for name in EVERY if name != "manifest.json"}
    assert load_file(path / "model.safetensors").keys() == trained.model.state_dict().keys()


def test_a_checkpoint_is_open_to_whom_the_umask_says(trained: State, tmp_path: Path, umask: int) -> None:
    path = saving.save(tmp_path / "new", saving.snapshot(trained, FACTS), 1)
    assert {folder.stat().st_mode & 0o777 for folder in (path, path.parent)} == {0o777 & ~umask}
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o666 & ~umask}


def test_every_tensor_is_stored_though_cudnn_keeps_them_in_one_storage(trained: State, tmp_path: Path) -> None:
    """On a GPU an LSTM's weights are views of one buffer; emulated here."""
    module = trained.model.recurrent[0]
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])
    start = 0
    for parameter in module.parameters():
        parameter.data = flat[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    before = content(trained)
    stored = load_file(saving.save(tmp_path, saving.snapshot(trained, FACTS), 1) / "model.safetensors")
    assert_same({f"model/{name}": value for name, value in stored.items()}, {k: before[k] for k in before if k[:6] == "model/"})


def test_nothing_in_a_checkpoint_is_pickled(trained: State, tmp_path: Path) -> None:
    for file in saving.save(tmp_path, saving.snapshot(trained, FACTS), 1).iterdir():
        assert file.suffix in (".safetensors", ".json")
        with pytest.raises(Exception):  # noqa: B017  # the unpickler fails in many ways
            pickle.loads(file.read_bytes())
        if file.suffix == ".json":
            json.loads(file.read_text())
        else:
            load_file(file)


def test_no_pickle_is_written_or_read(
    trained: State, state: MakeState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("pickle")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (pickle, "dumps"), (pickle, "dump")):
        monkeypatch.setattr(module, name, forbidden)
    monkeypatch.setattr(torch, "load", forbidden)
    monkeypatch.setattr(torch, "save", forbidden)
    saving.save(tmp_path, saving.snapshot(trained, FACTS), 1)
    checkpoints.restore(checkpoints.best(tmp_path), state(OPTIMIZERS["adam"], AVERAGED))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("place", [0.0, 0.01, 0.5, 1.0])
def test_a_flipped_bit_in_any_file_is_found_and_the_older_checkpoint_used(
    trained: State, tmp_path: Path, name: str, place: float
) -> None:
    saved(tmp_path, trained, 3, 4)
    file = tmp_path / "step_00000004" / name
    data = bytearray(file.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    file.write_bytes(data)
    found, (reason,) = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 3
    assert reason.startswith(f"{file.parent}: ")
    if name != "manifest.json":
        assert f"{name} was changed after it was written" in reason


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "folder"])
def test_a_file_that_is_missing_or_cut_short_is_found(trained: State, tmp_path: Path, name: str, damage: str) -> None:
    saved(tmp_path, trained, 3, 4)
    file = tmp_path / "step_00000004" / name
    data = file.read_bytes()
    file.unlink()
    if damage == "folder":
        file.mkdir()
    elif damage != "missing":
        file.write_bytes(b"" if damage == "empty" else data[: len(data) // 2])
    found, (reason,) = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 3 and str(file.parent) in reason
    if damage == "missing":
        assert reason.endswith(f": {name} is missing")


@pytest.mark.parametrize("text", ["[]", "{}", '"x"', "null", '{"model.safetensors": 3}', '{"\\u0000": "x"}', '{"../x": "y"}'])
def test_a_manifest_that_is_none_is_no_error_of_the_program(trained: State, tmp_path: Path, text: str) -> None:
    saved(tmp_path, trained, 3, 4)
    (tmp_path / "step_00000004" / "manifest.json").write_text(text)
    found, (reason,) = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 3 and "step_00000004" in reason


@pytest.mark.parametrize("read", [0, 2])
def test_a_checkpoint_of_an_earlier_or_a_later_format_is_not_guessed_at(
    trained: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int
) -> None:
    saved(tmp_path, trained, 3)
    for module in (checkpoints, saving):
        monkeypatch.setattr(module, "FORMAT", read)
    with pytest.raises(RunError, match=f"is of format 1; this program reads {read}"):
        checkpoints.newest(tmp_path)


def test_a_run_is_never_silently_started_over(trained: State, tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path / "none") == (None, [])
    saved(tmp_path, trained, 3, 4)
    for step in (3, 4):
        (tmp_path / f"step_0000000{step}" / "state.json").unlink()
    with pytest.raises(RunError) as caught:
        checkpoints.newest(tmp_path)
    for word in ("no checkpoint can be read", "step_00000003: state.json", "step_00000004: state.json", "to start over"):
        assert word in str(caught.value)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("keep_last", "kept"), [(1, [2, 7]), (2, [2, 6, 7]), (3, [2, 5, 6, 7]), (10, [1, 2, 3, 4, 5, 6, 7])])
def test_the_best_and_the_newest_are_kept(
    trained: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool, keep_last: int, kept: list[int]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/x/checkpoints") if relative else tmp_path / "runs/x/checkpoints"
    saved(folder, trained, 1, 2, keep_last=keep_last)
    marks.mark(folder, "best", 2)
    saved(folder, trained, 3, 4, 5, 6, 7, keep_last=keep_last)
    assert names(folder) == ["best.json", *(f"step_0000000{step}" for step in kept)]
    assert checkpoints.best(folder).step == 2
    marks.mark(folder, "best", 7)
    saved(folder, trained, 8, keep_last=keep_last)
    assert checkpoints.best(folder).step == 7 and (2 in kept[-keep_last:]) == (folder / "step_00000002").exists()


def test_a_run_folder_that_is_moved_keeps_its_best(trained: State, tmp_path: Path) -> None:
    saved(tmp_path / "here", trained, 3, 4)
    marks.mark(tmp_path / "here", "best", 3)
    (tmp_path / "here").rename(tmp_path / "there")
    assert checkpoints.best(tmp_path / "there").folder == tmp_path / "there" / "step_00000003"


def test_the_best_is_the_newest_where_none_was_marked(trained: State, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no checkpoint yet; train first"):
        checkpoints.best(tmp_path)
    saved(tmp_path, trained, 3, 4)
    assert checkpoints.best(tmp_path).step == 4


def test_where_it_is_not_known_which_was_the_best_none_is_taken_for_it(trained: State, tmp_path: Path) -> None:
    saving.save(tmp_path, saving.snapshot(trained, FACTS), 2)
    marks.mark(tmp_path, "best", 3)
    trained.step, later = 4, FACTS.model_copy(update={"selection": Selection(0.5, 3)})
    saving.save(tmp_path, saving.snapshot(trained, later), 2)
    marks.mark(tmp_path, "finished", 4)
    found, _ = checkpoints.newest(tmp_path)
    assert found is not None and found.facts == later and checkpoints.is_finished(found)
    for text in (None, "", '{"step": "3"}'):
        (tmp_path / "best.json").unlink() if text is None else (tmp_path / "best.json").write_text(text)
        with pytest.raises(
            RunError,
            match=rf"best\.json: is missing or damaged, .* type: .*python -m pipeline train --config .*{tmp_path.parent}",
        ):
            checkpoints.best(tmp_path)
        assert not checkpoints.is_finished(found), "so that training, asked to go on, evaluates the last step again"
    (tmp_path / "step_00000004" / "state.json").unlink()
    assert checkpoints.best(tmp_path).step == 3, "of which the best before was none"


def test_a_best_that_is_gone_or_damaged_is_not_replaced_by_another(trained: State, tmp_path: Path) -> None:
    saved(tmp_path, trained, 3, 4)
    marks.mark(tmp_path, "best", 2)
    with pytest.raises(RunError, match=r"step_00000002: manifest\.json is missing; put an intact copy back, or remove .*best"):
        checkpoints.best(tmp_path)
    marks.mark(tmp_path, "best", 3)
    (tmp_path / "step_00000003" / "ema.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match=r"step_00000003: ema\.safetensors was changed after it was written"):
        checkpoints.best(tmp_path)


def test_averaged_weights_are_those_that_are_evaluated(trained: State, model: MakeModel, tmp_path: Path) -> None:
    found = checkpoints.Checkpoint(saving.save(tmp_path, saving.snapshot(trained, FACTS), 1), 3, FACTS)
    assert trained.ema is not None
    for averaged, source in ((True, trained.ema), (False, trained.model)):
        loaded = model()
        checkpoints.load_weights(found, loaded, averaged)
        assert_same(loaded.state_dict(), source.state_dict())
    with pytest.raises(RunError, match=r"ema\.safetensors: does not fit the model of this run's config\.yaml"):
        checkpoints.load_weights(found, model(hidden=7))


def test_what_interrupted_saves_left_is_removed_by_the_next(trained: State, tmp_path: Path) -> None:
    saved(tmp_path, trained, 3)
    for name in (".step_00000004.x1y2", ".old_step_00000001"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".best.json.0a1b2c3d").write_text("")
    (tmp_path / ".finished").symlink_to("step_00000003")  # as earlier versions made it
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".old_step_00000002").symlink_to("elsewhere")
    assert checkpoints.newest(tmp_path)[0] == checkpoints.best(tmp_path), "and is not taken for a checkpoint before"
    saved(tmp_path, trained, 5)
    assert names(tmp_path) == ["elsewhere", "step_00000003", "step_00000005"]


def test_a_copy_that_a_user_keeps_beside_the_checkpoints_stays(trained: State, tmp_path: Path) -> None:
    saved(tmp_path, trained, 3)
    kept = ["step_00000003_before", "step_3", ".step_by_step", "old_step_00000001", ".olds"]
    for name in kept:
        shutil.copytree(tmp_path / "step_00000003", tmp_path / name)
    saved(tmp_path, trained, 4, 5, keep_last=1)
    assert names(tmp_path) == sorted([*kept, "step_00000005"])


def test_the_newest_is_that_of_the_largest_step_however_long_its_name(trained: State, tmp_path: Path) -> None:
    saved(tmp_path, trained, 99_999_950, 100_000_000, 100_000_050, keep_last=2)
    found, _ = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 100_000_050
    assert names(tmp_path) == ["step_100000000", "step_100000050"]


@pytest.mark.parametrize("place", ["whole", "damaged", "gone"])
def test_a_checkpoint_that_was_moved_and_linked_back_is_one_and_its_link_alone_is_removed(
    trained: State, tmp_path: Path, place: str
) -> None:
    folder, there = tmp_path / "checkpoints", tmp_path / "big"
    saved(folder, trained, 3, 4)
    (folder / "step_00000004").rename(there)
    (folder / "step_00000004").symlink_to(there)
    if place == "damaged":
        (there / "model.safetensors").write_bytes(b"")
    elif place == "gone":
        shutil.rmtree(there)
    found, _ = checkpoints.newest(folder)
    assert found is not None and found.step == (4 if place == "whole" else 3)
    before = names(there) if there.exists() else None
    saved(folder, trained, 4)
    assert (folder / "step_00000004").is_symlink() == (place == "whole")
    saved(folder, trained, 5, keep_last=1)
    assert names(folder) == ["step_00000005"]
    assert (names(there) if there.exists() else None) == before


def test_damaged_checkpoints_that_are_newer_count_for_nothing_when_old_ones_are_removed(trained: State, tmp_path: Path) -> None:
    saved(tmp_path, trained, 10, 20, 30)
    for step in (20, 30):
        (tmp_path / f"step_000000{step}" / "model.safetensors").write_bytes(b"")
    saved(tmp_path, trained, 15, keep_last=1)
    found, skipped = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 15 and len(skipped) == 2


STATE = {"format": 1, "step": 4, "optimizer": {}, "scaler": None, "facts": FACTS.model_dump()}


def changed(**values: Any) -> str:
    return json.dumps(STATE | values)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "recursion limit exceeded"),
        ('{"format": 1, "facts": ' + '{"a": ' * 100_000, "recursion limit exceeded"),
        ("[]", "Input should be an object"),
        (changed(facts={}), "facts.selection: Field required"),
        (changed(step="4"), "step: Input should be a valid integer"),
        (changed(step=-1000), "step: Input should be greater than or equal to 0"),
        (changed(step=10**30), "step: "),
        (changed(step=5), "is that of step 5"),
        (changed(facts=STATE["facts"] | {"selection": {"value": "high", "step": 1, "stale": 0}}), "facts.selection.value: "),
        (changed(facts=STATE["facts"] | {"selection": {"value": 0.5, "step": -1, "stale": 0}}), "facts.selection.step: "),
        (changed(facts=STATE["facts"] | {"selection": {"value": float("nan")}}), "facts.selection.value: "),
        (changed(facts=STATE["facts"] | {"processes": 0}), "facts.processes: "),
        (changed(optimizer={"a/b": [1]}), "optimizer.a/b: "),
        (changed(scaler={}), "scaler.scale: Field required"),
    ],
)
def test_a_state_that_is_json_but_another_is_found_and_the_older_checkpoint_used(
    trained: State, tmp_path: Path, text: str, reason: str
) -> None:
    saved(tmp_path, trained, 3, 4)
    folder = tmp_path / "step_00000004"
    (folder / "state.json").write_text(text)
    manifest = json.loads((folder / "manifest.json").read_text()) | {"state.json": files.sha256(folder / "state.json")}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found, (said,) = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 3 and said.startswith(f"{folder}: state.json ") and reason in said
    assert "\n" not in said and len(said) < 400


@pytest.mark.parametrize("name", ["/dev/zero", "../step_00000003/model.safetensors", "more.safetensors"])
def test_a_manifest_names_no_other_files(trained: State, tmp_path: Path, name: str) -> None:
    saved(tmp_path, trained, 3, 4)
    file = tmp_path / "step_00000004" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: "0" * 64}))
    found, (reason,) = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 3 and "manifest.json cannot be read" in reason


@pytest.mark.parametrize("name", EVERY)
def test_a_file_of_a_checkpoint_that_has_no_end_is_not_read(trained: State, tmp_path: Path, name: str) -> None:
    saved(tmp_path, trained, 3, 4)
    file = tmp_path / "step_00000004" / name
    file.unlink()
    file.symlink_to("/dev/zero")
    found, (reason,) = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 3 and f"{name} cannot be read" in reason


@pytest.mark.parametrize("moment", ["fsync", "sha256", "save_tensors", "rmtree"])
def test_a_kill_at_any_moment_of_a_save_leaves_a_whole_checkpoint(
    trained: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    saved(tmp_path, trained, 3)

    def job() -> None:
        where = files.shutil if moment == "rmtree" else files
        monkeypatch.setattr(where, moment, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        saved(tmp_path, trained, 4, keep_last=1)

    process = multiprocessing.get_context("fork").Process(target=job)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    found, skipped = checkpoints.newest(tmp_path)
    assert found is not None and found.step == (4 if moment == "rmtree" else 3) and skipped == []
    saved(tmp_path, trained, 5, keep_last=1)
    assert names(tmp_path) == ["step_00000005"]


def test_a_full_disk_leaves_the_old_checkpoint_and_is_one_message(
    state: MakeState, batches: MakeBatches, accelerator: Accelerator, tmp_path: Path
) -> None:
    big = state(OPTIMIZERS["adam"], AVERAGED, hidden=64)
    advance(big, batches(20, 8), accelerator, OPTIMIZERS["adam"], AVERAGED, 1)
    with small_disk(tmp_path / "disk", "500k") as disk:
        saved(disk, big, 3, keep_last=1)
        marks.mark(disk, "best", 3)
        with pytest.raises(UserError, match=rf"{disk}.*: cannot write a checkpoint: the disk is full"):
            saved(disk, big, 4, keep_last=1)
        assert names(disk) == ["best.json", "step_00000003"]
        found, skipped = checkpoints.newest(disk)
        assert found is not None and (found.step, skipped, checkpoints.best(disk).step) == (3, [], 3)


def test_a_read_only_disk_is_one_message(trained: State, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "10m") as disk:
        saved(disk, trained, 3)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(UserError, match="cannot write a checkpoint: the file system is read-only"):
            saved(disk, trained, 4)
        with pytest.raises(UserError, match="cannot write which checkpoint is best: the file system is read-only"):
            marks.mark(disk, "best", 3)
        assert checkpoints.best(disk).step == 3


def test_saving_twice_at_one_step_does_nothing(trained: State, tmp_path: Path) -> None:
    saved(tmp_path, trained, 3)
    path = tmp_path / "step_00000003"
    before = {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in [path, *path.iterdir()]}
    saved(tmp_path, trained, 3)
    assert {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in [path, *path.iterdir()]} == before


def test_a_damaged_checkpoint_is_written_again_when_the_run_comes_there_again(trained: State, tmp_path: Path) -> None:
    saved(tmp_path, trained, 3, 4)
    (tmp_path / "step_00000004" / "model.safetensors").write_bytes(b"")
    found, skipped = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 3 and len(skipped) == 1
    saved(tmp_path, trained, 4)
    found, skipped = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 4 and skipped == []


def test_what_is_recorded_is_on_the_disk_before_the_checkpoint(
    trained: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync = os.fsync

    def synced(descriptor: int) -> None:
        events.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name.split(".")[0])  # noqa: PTH115
        fsync(descriptor)

    record = Record(tmp_path / "metrics.jsonl")
    record.append({"step": 3})
    monkeypatch.setattr(files.os, "fsync", synced)
    with saving.Writer(tmp_path / "checkpoints", 2) as writer:
        writer.save(saving.snapshot(trained, FACTS), record)
    assert events[0] == "metrics" and "model" in events


def test_records_that_cannot_be_forced_to_the_disk_stop_the_run_before_a_checkpoint_is_written(
    trained: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: int) -> None:
        raise OSError(errno.EIO, "injected")

    record = Record(tmp_path / "metrics.jsonl")
    record.append({"step": 3})
    monkeypatch.setattr(files.os, "fsync", failing)
    with saving.Writer(tmp_path / "checkpoints", 2) as writer:
        writer.save(saving.snapshot(trained, FACTS), record)
        with pytest.raises(UserError, match=r"metrics\.jsonl: cannot write the records: the disk reports an I/O error"):
            writer.wait()
        assert writer.failed
    assert not (tmp_path / "checkpoints").exists()


def test_tensors_fetched_together_are_copies_of_their_own_types_and_shapes_in_their_order() -> None:
    """On a GPU this is a copy for each dtype; here the same on the CPU."""
    stored = {
        "a": torch.arange(6.0).reshape(2, 3).T,
        "step": torch.tensor(7),
        "none": torch.empty(0, 4),
        "b": torch.ones(3).double(),
    }
    stored["scalar"] = torch.tensor(0.5)
    found = store.together(stored)
    assert list(found) == list(stored)
    for name, tensor in stored.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape and found[name].equal(tensor)
    stored["a"].zero_()
    assert found["a"][2, 1] == 5


class Joins(TorchDispatchMode):
    """Notes how many bytes are joined."""

    def __init__(self) -> None:
        super().__init__()
        self.nbytes: list[int] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.cat.default:
            self.nbytes.append(result.nbytes)
        return result


def test_tensors_that_are_fetched_do_not_stand_beside_their_copies_on_the_gpu() -> None:
    """A GPU that is full would have no room for the state of a training once more."""
    stored = {str(number): torch.randn(number % 60, 5) for number in range(200)} | {"large": torch.randn(999)}
    with Joins() as joins:
        found = store.together(stored)
    assert list(found) == list(stored) and all(found[name].equal(tensor) for name, tensor in stored.items())
    assert not joins.nbytes
    found["large"].zero_()
    assert stored["large"].any(), "what is fetched is a copy, whatever came with it"
