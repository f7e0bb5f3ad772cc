"""What prepare.py promises: a prepared folder is whole, reproducible, its own configuration's, and honest about changes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import files
from pipeline.config import Data
from pipeline.data.preparation.folder import prepare
from pipeline.data.prepared import folder_of, open_prepared
from pipeline.data.sources import catalog, checksums
from pipeline.errors import DataError, UserError
from tests.support.raw_files import examples, put, small_disk


@pytest.fixture
def mnist(tmp_path):
    """A configuration of 200 training and 40 test images of 5 x 7."""
    put(tmp_path / "root", examples())

    def data(**more) -> Data:
        return Data(source="mnist", root=str(tmp_path / "root"), prepared=str(tmp_path / "prepared"), **more)

    return data


def digits(tmp_path, **more) -> Data:
    return Data(prepared=str(tmp_path / "prepared"), **more)


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file, but for what is known of the files that it was made from."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != checksums.NAME}


@pytest.mark.parametrize(
    ("view", "steps"), [("rows", (5, 7)), ("columns", (7, 5)), ("pixels", (35, 1)), ("permuted_pixels", (35, 1))]
)
def test_a_view_shows_every_image_as_it_says_and_can_be_turned_back(mnist, view, steps):
    images = examples()[0]
    prepared = prepare(mnist(view=view))
    manifest, part = prepared.manifest, prepared.part("train")
    assert part.values.dtype == torch.uint8 and part.labels.dtype == part.index.dtype == torch.int64
    assert part.values.shape == (180, *steps) and (manifest.length, manifest.features) == steps
    assert manifest.image == (5, 7)
    originals = images[part.index]
    expected = {
        "rows": originals,
        "columns": originals.transpose(0, 2, 1),
        "pixels": originals.reshape(-1, 35, 1),
        "permuted_pixels": originals.reshape(-1, 35, 1)[:, manifest.order],
    }
    np.testing.assert_array_equal(part.values, expected[view])
    assert (manifest.order is None) == (view == "rows")
    if manifest.order:
        turned_back = np.empty((180, 35), np.uint8)
        turned_back[:, manifest.order] = part.values.reshape(180, 35)
        np.testing.assert_array_equal(turned_back.reshape(-1, 5, 7), originals)


def test_the_permutation_is_a_function_of_the_seed_on_every_version(mnist):
    order = prepare(mnist(view="permuted_pixels")).manifest.order
    assert order[:10] == GOLDEN
    assert sorted(order) == list(range(35))
    assert prepare(mnist(view="permuted_pixels", seed=1)).manifest.order != order


GOLDEN = (11, 3, 20, 13, 2, 21, 32, 15, 1, 18)


@pytest.mark.parametrize(("validation", "held"), [(0.1, 20), (0.123, 25), (30, 30), (10, 10)])
def test_validation_is_stratified_disjoint_and_complete(mnist, validation, held):
    _, labels, test_values, test_labels = examples()
    prepared = prepare(mnist(validation=validation))
    train, valid, test = (prepared.part(name) for name in ("train", "valid", "test"))
    assert len(valid.labels) == held
    assert sorted([*train.index.tolist(), *valid.index.tolist()]) == list(range(200))
    for part in (train, valid):
        assert part.index.tolist() == sorted(part.index.tolist())
        np.testing.assert_array_equal(part.labels, labels[part.index])
    counts = torch.bincount(valid.labels, minlength=10)
    assert counts.max() - counts.min() <= 1
    assert prepared.manifest.parts["valid"].class_counts == tuple(counts.tolist())
    np.testing.assert_array_equal(test.values, test_values)
    np.testing.assert_array_equal(test.labels, test_labels)
    assert test.index.tolist() == list(range(40))


def test_another_seed_holds_out_others_and_the_same_seed_the_same(mnist, tmp_path):
    one, other = prepare(mnist()), prepare(mnist(seed=1))
    again = prepare(mnist().model_copy(update={"prepared": str(tmp_path / "again")}))
    assert one.part("valid").index.tolist() != other.part("valid").index.tolist()
    assert contents(one.folder) == contents(again.folder), "the same input gives the same bytes"
    assert one.digest == again.digest


@pytest.mark.parametrize("none", [0, 0.0])
def test_without_validation_there_is_no_such_part_and_asking_for_it_says_what_to_set(mnist, none):
    prepared = prepare(mnist(validation=none))
    assert set(contents(prepared.folder)) == {"manifest.json", "test.safetensors", "train.safetensors"}
    assert prepared.manifest.parts["train"].count == 200
    assert prepared.folder == folder_of(mnist(validation=0))
    with pytest.raises(DataError, match=r"no valid split; set data\.validation"):
        prepared.part("valid")


@pytest.mark.parametrize(("validation", "count"), [(200, 200), (195, 195), (0.99, 198), (9, 9), (0.01, 2), (10**6, 10**6)])
def test_a_validation_part_without_room_for_every_class_is_refused(mnist, validation, count):
    with pytest.raises(DataError, match=rf"data\.validation = .*holds out {count} of 200 .* hold out 10 to 190"):
        prepare(mnist(validation=validation))
    assert not folder_of(mnist(validation=validation)).exists()


def test_a_class_that_is_missing_or_too_rare_is_named(tmp_path, mnist):
    arrays = examples()
    arrays[1][arrays[1] == 4] = 5
    put(tmp_path / "root", arrays)
    with pytest.raises(DataError, match=r"too few examples of class '4' \(0\)"):
        prepare(mnist(validation=0))
    arrays[1][0] = 4
    put(tmp_path / "root", arrays)
    with pytest.raises(DataError, match=r"needs 2 training examples; too few of class '4' \(1\)"):
        prepare(mnist(validation=0.1))
    assert prepare(mnist(validation=0)).manifest.parts["train"].class_counts[4] == 1
    arrays[1][1:2] = 4
    put(tmp_path / "root", arrays)
    with pytest.raises(DataError, match=r"data\.validation = 0\.9 leaves too few training examples of class '4' \(0\)"):
        prepare(mnist(validation=0.9))


@pytest.mark.parametrize("view", ["rows", "columns", "pixels"])
def test_statistics_are_those_of_the_training_part_alone(mnist, view):
    prepared = prepare(mnist(view=view))
    manifest = prepared.manifest
    train = prepared.part("train").values.numpy().astype(np.float64)
    np.testing.assert_allclose(manifest.mean, train.mean((0, 1)), rtol=1e-13)
    np.testing.assert_allclose(manifest.std, train.std((0, 1)), rtol=1e-13)
    np.testing.assert_allclose((manifest.global_mean, manifest.global_std), (train.mean(), train.std()), rtol=1e-13)


def test_normalization_gives_what_the_configuration_names(tmp_path, mnist):
    arrays = examples()
    for images in (arrays[0], arrays[2]):
        images[:, :, 3] = 9
    put(tmp_path / "root", arrays)
    prepared = prepare(mnist())
    values = prepared.part("train").values.double().numpy()

    def normalized(mode):
        mean, scale = prepared.manifest.normalization(mode)
        assert mean.dtype == scale.dtype == np.float32 and mean.shape == scale.shape == (7,)
        return (values - mean) * scale

    assert np.array_equal(normalized("none"), values)
    assert (normalized("unit").min(), normalized("unit").max()) == (0, pytest.approx(1))
    assert normalized("global").mean() == pytest.approx(0, abs=1e-5)
    assert normalized("global").std() == pytest.approx(1, abs=1e-5)
    assert prepared.manifest.std[3] == 0
    deviation = normalized("feature").std((0, 1))
    assert deviation.tolist() == pytest.approx([1, 1, 1, 0, 1, 1, 1], abs=1e-5), "a constant feature becomes 0, not infinite"
    assert normalized("feature").mean((0, 1)).tolist() == pytest.approx([0] * 7, abs=1e-5)


def test_a_constant_image_normalizes_to_zero(tmp_path, mnist):
    arrays = examples()
    put(tmp_path / "root", [np.full_like(arrays[0], 3), arrays[1], np.full_like(arrays[2], 3), arrays[3]])
    mean, scale = prepare(mnist()).manifest.normalization("global")
    assert mean.tolist() == [3] * 7 and scale.tolist() == [1] * 7


def test_the_real_digits(tmp_path):
    prepared = prepare(digits(tmp_path))
    raw = catalog.read(digits(tmp_path))
    manifest = prepared.manifest
    assert [manifest.parts[name].count for name in ("train", "valid", "test")] == [1293, 144, 360]
    assert (manifest.length, manifest.features, manifest.value_range, len(manifest.class_names)) == (8, 8, (0, 16), 10)
    assert manifest.source_files == {} and "root" not in manifest.settings
    for name in ("train", "valid"):
        part = prepared.part(name)
        np.testing.assert_array_equal(part.values, raw.train_values[part.index])
    np.testing.assert_array_equal(prepared.part("test").values, raw.test_values)
    assert len(prepared.digest) == 64


def test_the_digits_have_the_key_the_bytes_and_the_digest_that_earlier_versions_gave_them(tmp_path):
    prepared = prepare(digits(tmp_path))
    assert (prepared.folder.name, prepared.digest[:16]) == ("digits-rows-11e5ffde10c2", "af5d9e438078f2c7")
    found = {path.name: files.sha256(path)[:16] for path in prepared.folder.iterdir()}
    assert found == {
        "manifest.json": "3c0fc97ad5825d13",
        "test.safetensors": "b15297e2d11bbd7c",
        "train.safetensors": "b4e580156732e391",
        "valid.safetensors": "b931253ad35ca265",
    }


def test_data_prepared_from_another_place_is_the_same_data_and_other_content_is_not(tmp_path, mnist):
    here = prepare(mnist())
    put(tmp_path / "elsewhere", examples(), suffix="")  # the same examples, in unpacked files
    elsewhere = prepare(mnist().model_copy(update={"root": str(tmp_path / "elsewhere")}))
    assert elsewhere.folder != here.folder and elsewhere.manifest.source_files != here.manifest.source_files
    assert elsewhere.digest == here.digest == open_prepared(mnist()).digest
    arrays = examples()
    arrays[2][0, 0, 0] ^= 1
    put(tmp_path / "altered", arrays)
    altered = mnist().model_copy(update={"root": str(tmp_path / "altered")})
    digests = [prepare(data).digest for data in (altered, mnist(seed=1), mnist(view="columns"), mnist(validation=30))]
    assert len({here.digest, *digests}) == 5


def test_preparing_twice_does_nothing(mnist):
    first = prepare(mnist())
    before = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    second = prepare(mnist())
    assert first.made and not second.made
    assert second.digest == first.digest and second.manifest == first.manifest
    after = {path: path.stat().st_mtime_ns for path in first.folder.iterdir() if path.name != checksums.NAME}
    assert after == {path: time for path, time in before.items() if path.name != checksums.NAME}


def test_prepared_data_needs_its_raw_files_no_longer(tmp_path, mnist):
    prepare(mnist())
    (tmp_path / "root").rename(tmp_path / "gone")
    assert not prepare(mnist()).made
    assert len(open_prepared(mnist()).part("train").labels) == 180


def test_raw_files_that_are_no_longer_those_it_was_made_from_are_named(tmp_path, mnist):
    prepared = prepare(mnist())
    changed = put(tmp_path / "root", examples(train=210))[0]
    with pytest.raises(DataError) as caught:
        prepare(mnist())
    assert all(str(word) in str(caught.value) for word in (changed, prepared.folder, "delete the folder", "pipeline prepare"))


def test_every_way_of_preparing_has_a_folder_of_its_own(tmp_path, mnist):
    ways = [
        mnist(),
        mnist(view="columns"),
        mnist(validation=20),
        mnist(validation=0.2),
        mnist(validation=0),
        mnist(seed=1),
        mnist().model_copy(update={"root": str(tmp_path / "other")}),
        mnist().model_copy(update={"source": "kmnist"}),
        digits(tmp_path),
        *(mnist().model_copy(update={"source": "emnist", "emnist_split": split}) for split in ("letters", "digits")),
    ]
    assert len({folder_of(way) for way in ways}) == len(ways)


def test_what_does_not_decide_the_content_does_not_decide_the_folder(tmp_path, mnist, monkeypatch):
    monkeypatch.chdir(tmp_path)
    same = [mnist(normalize="unit"), mnist(emnist_split="letters"), mnist(shift=2), mnist(mirrors=("http://x",))]
    same.append(mnist().model_copy(update={"root": "root", "prepared": "./prepared"}))
    assert {folder_of(way).resolve() for way in same} == {folder_of(mnist())}
    assert folder_of(digits(tmp_path, root="elsewhere")) == folder_of(digits(tmp_path))


def test_data_that_is_not_prepared_says_what_to_type(mnist):
    with pytest.raises(DataError, match="type: python -m pipeline prepare --config FILE"):
        open_prepared(mnist())


def test_a_test_image_that_is_a_validation_image_is_counted_as_one_that_is_a_training_image(mnist, tmp_path):
    made, arrays = prepare(mnist()), examples()
    rows = [int(made.part(name).index[3]) for name in ("train", "valid")]
    for twin, row in enumerate(rows):
        arrays[2][twin] = arrays[0][row]
    put(tmp_path / "twins", arrays)
    twins = prepare(mnist().model_copy(update={"root": str(tmp_path / "twins")})).manifest
    assert made.manifest.repeated == 0 and twins.repeated_rows == ((0, rows[0]), (1, rows[1]))


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_a_prepared_file_that_was_changed_is_named(mnist, name):
    path = prepare(mnist()).folder / f"{name}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for opening in (open_prepared, prepare):
        with pytest.raises(DataError, match=rf"{path}: changed after it was made; delete .* pipeline prepare"):
            opening(mnist())
    assert open_prepared(mnist(), verify=())
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match=rf"{path}: cannot be read .*; delete"):
        open_prepared(mnist(), verify=()).part(name)
    path.unlink()
    with pytest.raises(DataError, match=rf"{path}: No such file.*; delete"):
        open_prepared(mnist())


@pytest.mark.parametrize(
    ("old", "new"),
    [('"format": 1', '"format": 2'), ('"length"', '"lenght"'), ("{", ""), ("\n}", ""), ('"features": 7', '"features": "7"')],
)
def test_a_manifest_that_is_none_is_named_with_its_fault(mnist, old, new):
    path = prepare(mnist()).folder / "manifest.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=rf"{path}: .*; delete .* pipeline prepare"):
        open_prepared(mnist())


def test_a_folder_moved_to_another_configurations_name_is_refused(mnist):
    prepare(mnist()).folder.rename(folder_of(mnist(seed=9)))
    with pytest.raises(DataError, match="belongs to another configuration"):
        open_prepared(mnist(seed=9))


def test_a_folder_of_the_name_that_is_a_file_is_named(mnist):
    folder = folder_of(mnist())
    folder.parent.mkdir()
    folder.write_text("")
    with pytest.raises(DataError, match=str(folder)):
        prepare(mnist())


def test_a_prepared_root_that_is_a_file_is_named(tmp_path, mnist):
    (tmp_path / "prepared").write_text("")
    with pytest.raises(UserError, match=r"prepared: cannot write prepared data: a file of this name is in the way"):
        prepare(mnist())


def test_parts_are_memory_mapped_and_a_write_to_them_stays_in_the_process(mnist):
    prepared = prepare(mnist())
    part = prepared.part("train")
    assert "train.safetensors" in Path("/proc/self/maps").read_text()
    part.values.fill_(0)
    assert open_prepared(mnist()).part("train").values.any()


def test_prepared_files_are_open_to_whom_the_umask_says(mnist, umask):
    folder = prepare(mnist()).folder
    assert folder.stat().st_mode & 0o777 == 0o777 & ~umask
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o666 & ~umask}


def test_prepared_files_hold_no_pickle(mnist):
    for path in prepare(mnist()).folder.iterdir():
        assert path.suffix in {".safetensors", ".json"}


fork = multiprocessing.get_context("fork")


def run(*targets):
    processes = [fork.Process(target=target) for target in targets]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_processes_that_prepare_at_once_make_one_good_folder_once(tmp_path):
    together, made = fork.Barrier(4), fork.Queue()

    def job():
        together.wait()
        prepared = prepare(digits(tmp_path))
        made.put((prepared.made, prepared.digest))

    assert run(job, job, job, job) == [0] * 4
    results = [made.get(timeout=5) for _ in range(4)]
    assert sorted(was_made for was_made, _ in results) == [False, False, False, True]
    assert {digest for _, digest in results} == {open_prepared(digits(tmp_path)).digest}
    assert len([path for path in (tmp_path / "prepared").iterdir() if path.name != ".lock"]) == 1


def test_a_kill_in_the_middle_leaves_nothing_under_the_name_and_the_next_succeeds(tmp_path, monkeypatch):
    def job():
        monkeypatch.setattr(files, "write_json", lambda *args: os.kill(os.getpid(), signal.SIGKILL))
        prepare(digits(tmp_path))

    assert run(job) == [-signal.SIGKILL]
    root = tmp_path / "prepared"
    assert len(list(root.glob(".digits-*"))) == 1, "killed when its parts were written"
    assert not folder_of(digits(tmp_path)).exists()
    assert prepare(digits(tmp_path)).made
    assert not list(root.glob(".digits-*")), "what the dead one left is removed"


def test_an_interrupt_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "write_json", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(digits(tmp_path))
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == [".lock"]


def test_a_full_disk_is_one_message_and_leaves_nothing(tmp_path):
    with small_disk(tmp_path / "prepared", "64k") as root:
        with pytest.raises(UserError, match=rf"{root}.*: cannot write prepared data: the disk is full"):
            prepare(digits(tmp_path))
        assert [path.name for path in root.iterdir()] == [".lock"]


def test_a_read_only_disk_is_one_message_but_what_was_prepared_there_is_used(tmp_path):
    with small_disk(tmp_path / "prepared", "10m") as root:
        prepare(digits(tmp_path))
        subprocess.run(["mount", "-o", "remount,ro", root], check=True)
        assert not prepare(digits(tmp_path)).made
        with pytest.raises(UserError, match=rf"{root}.*: cannot write prepared data: the file system is read-only"):
            prepare(digits(tmp_path, seed=1))
