"""What preparing series promises: the file's own values, honest statistics, files that change nothing, no half-made folder."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file

from pipeline.config import Data
from pipeline.data import series as series_module
from pipeline.data.preparation import part_files, series_parts, twins
from pipeline.data.preparation.folder import prepare
from pipeline.data.preparation.moments import Moments
from pipeline.data.preparation.report import report
from pipeline.data.prepared import open_prepared
from pipeline.data.series import Series
from pipeline.data.store import Store
from pipeline.errors import DataError
from tests.support.series_files import WRITERS, csv, long_frame, npz, parquet, ts


def examples(count=90, channels=3, lengths=(2, 9), seed=0):
    """Series, the words of their labels, and the groups they are of."""
    random = np.random.default_rng(seed)
    steps = random.integers(*lengths, count) if lengths[0] < lengths[1] else np.full(count, lengths[0])
    series = [random.normal(size=(length, channels)).astype(np.float32) for length in steps]
    return series, [("yes", "no", "10")[number % 3] for number in range(count)], [f"p{number // 5}" for number in range(count)]


@pytest.fixture
def source(tmp_path):
    """``source(series, words, **keys)``: the configuration of an .npz file of these."""

    def make(series, words, groups=None, name="data.npz", **keys) -> Data:
        more = {} if groups is None else {"groups": groups, "times": np.arange(len(series))[::-1]}
        npz(tmp_path / name, values=np.concatenate(series), lengths=[len(one) for one in series], labels=words, **more)
        keys = {"path": str(tmp_path / name), "group": "groups" if groups else "", "time": "times" if groups else ""} | keys
        return Data(source="npz", id="", prepared=str(tmp_path / "prepared"), **keys)

    return make


def everything(prepared):
    """The series of all parts, by their number in the file, with their labels."""
    found = {}
    for name in prepared.manifest.parts:
        part = prepared.part(name)
        values, labels, lengths = Store(part, torch.device("cpu"), 0).take(torch.arange(len(part.labels)))
        steps = [values.shape[1]] * len(values) if lengths is None else lengths.tolist()
        for row, number in enumerate(part.index.tolist()):
            assert number not in found
            found[number] = (values[row, : steps[row]].numpy(), prepared.manifest.class_names[labels[row]])
    return found


def test_every_series_of_the_file_stands_in_one_part_with_its_own_values_and_label(source):
    series, words, _ = examples()
    prepared = prepare(source(series, words))
    found = everything(prepared)
    assert sorted(found) == list(range(90))
    for number, (values, word) in found.items():
        np.testing.assert_array_equal(values, series[number])
        assert word == words[number]
    assert prepared.manifest.class_names == ("10", "no", "yes")
    assert [info.count for info in prepared.manifest.parts.values()] == [64, 8, 18]
    lengths = [len(series[number]) for number in prepared.part("train").index]
    assert prepared.manifest.parts["train"].lengths == (min(lengths), max(lengths), pytest.approx(np.mean(lengths)))
    assert prepared.manifest.length == max(lengths)


def test_equal_lengths_are_stored_as_a_block_and_others_end_to_end(source):
    equal = prepare(source(*examples(lengths=(4, 4))[:2]))
    part = equal.part("train")
    assert part.values.shape == (64, 4, 3) and part.offsets is None
    ragged = prepare(source(*examples()[:2], name="ragged.npz")).part("train")
    assert ragged.values.shape == (int(ragged.offsets[-1]), 3)


def test_statistics_are_those_of_the_training_part_alone_and_a_constant_channel_stays_finite(source):
    series, words, _ = examples()
    for one in series:
        one[:, 1] = 0.1
        one[:, 2] = one[:, 2] * 10 + 1e5  # a large mean, which naive sums of squares do not survive
    prepared = prepare(source(series, words))
    train = np.concatenate([series[number] for number in prepared.part("train").index]).astype(np.float64)
    np.testing.assert_allclose(prepared.manifest.mean, train.mean(0), rtol=1e-12)
    np.testing.assert_allclose(prepared.manifest.std[::2], train.std(0)[::2], rtol=1e-9)
    assert prepared.manifest.std[1] == 0.0
    mean, scale = prepared.manifest.normalization("auto")
    assert np.array_equal(mean, prepared.manifest.normalization("feature")[0]) and scale[1] == 1.0
    np.testing.assert_allclose(prepared.manifest.normalization("global")[0], train.mean(), rtol=1e-6)
    np.testing.assert_allclose(1 / prepared.manifest.normalization("global")[1], train.std(), rtol=1e-6)
    assert prepared.manifest.value_range == (train.min(), train.max())


@pytest.mark.parametrize("features", [1, 2, 3, 7, 8, 9, 40])
@pytest.mark.parametrize("kind", ["plain", "missing", "zeros"])
def test_moments_have_the_bits_of_sums_step_after_step(features, kind):
    """Manifests hold them with all digits, and what a prepared folder says of itself does not change."""
    random = np.random.default_rng(features)
    moments, mean, squares, count = Moments(features), np.zeros(features), np.zeros(features), np.zeros(features, np.int64)
    low, high = np.full(features, np.inf), np.full(features, -np.inf)
    for steps in (1, 5, 700, 5000):
        values = (random.normal(size=(steps, features)) * 10.0 ** random.integers(-3, 4, features)).astype(np.float32)
        if kind == "missing":
            values[random.random(values.shape) < 0.2] = np.nan
        if kind == "zeros":
            values = np.maximum(values, 0) * random.choice([-1, 1], values.shape).astype(np.float32)
        moments.add(values)
        there = ~np.isnan(values)
        own, exact = there.sum(0), np.where(there, values, 0).astype(np.float64)
        block = exact.sum(0) / np.maximum(own, 1)
        total, shift = np.maximum(count + own, 1), block - mean
        squares += ((exact - block) ** 2).sum(0, where=there) + shift**2 * (count * own / total)
        mean += shift * own / total
        count += own
        low = np.minimum(low, values.min(0, where=there, initial=np.inf))
        high = np.maximum(high, values.max(0, where=there, initial=-np.inf))
    std = np.where(low < high, np.sqrt(squares / np.maximum(count, 1)), 0.0)
    for found, wanted in ((moments.mean, mean), (moments.std, std), (moments.low, low), (moments.high, high)):
        assert found.tobytes() == wanted.tobytes()
    assert moments.count.tolist() == count.tolist() and moments.missing.tolist() == (5706 - count).tolist()


@pytest.mark.parametrize("cuts", [[], [7], [1, 2, 50, 99]])
def test_moments_do_not_depend_on_the_blocks(cuts):
    values = np.random.default_rng(0).normal(5, 2, (100, 2)).astype(np.float32)
    values[::7, 1] = np.nan
    values[:50, 0] = np.nan
    moments = Moments(2)
    for block in np.split(values, cuts):
        moments.add(block)
    np.testing.assert_allclose(moments.mean, np.nanmean(values.astype(np.float64), 0), rtol=1e-12)
    np.testing.assert_allclose(moments.std, np.nanstd(values.astype(np.float64), 0), rtol=1e-12)
    assert moments.missing.tolist() == np.isnan(values).sum(0).tolist()
    assert moments.low.tolist() == np.nanmin(values, 0).tolist() and moments.high.tolist() == np.nanmax(values, 0).tolist()


def test_several_files_hold_what_one_holds_and_give_the_same_batches(source, monkeypatch):
    series, words, _ = examples()
    one = prepare(source(series, words))
    monkeypatch.setattr(series_module, "BLOCK", 100)
    cuts = series_parts.cuts
    monkeypatch.setattr(series_parts, "cuts", lambda sizes, limit: cuts(sizes, 600))
    many = prepare(source(series, words, shard_mb=1))
    files = [part.file for part in many.manifest.parts["train"].files]
    assert len(files) > 3 and files[1] == "train-00001.safetensors" and all((many.folder / file).exists() for file in files)
    first, second = (Store(made.part("train"), torch.device("cpu"), 0) for made in (one, many))
    rows = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    for chosen in (rows, rows[:5], rows[7:8]):
        for left, right in zip(first.take(chosen), second.take(chosen), strict=True):
            assert torch.equal(left, right)
    np.testing.assert_allclose(many.manifest.mean, one.manifest.mean, rtol=1e-12)
    (many.folder / files[2]).write_bytes(b"x")
    with pytest.raises(DataError, match=r"train-00002\.safetensors: changed after it was made"):
        open_prepared(source(series, words, shard_mb=1))


def test_files_of_equal_lengths_give_the_same_batches_too(source, monkeypatch):
    series, words, _ = examples(lengths=(4, 4))
    one = prepare(source(series, words))
    cuts = series_parts.cuts
    monkeypatch.setattr(series_parts, "cuts", lambda sizes, limit: cuts(sizes, 600))
    many = prepare(source(series, words, shard_mb=1))
    assert len(many.manifest.parts["train"].files) > 3
    rows = torch.tensor([63, 0, 31, 31])
    left, right = (Store(made.part("train"), torch.device("cpu"), 0).take(rows) for made in (one, many))
    assert torch.equal(left[0], right[0]) and torch.equal(left[1], right[1]) and left[2] is right[2] is None


@pytest.mark.parametrize("lengths", [(4, 4), (2, 9)])
@pytest.mark.parametrize("cut", [False, True])
def test_examples_that_are_read_one_by_one_are_those_of_the_part(source, monkeypatch, lengths, cut):
    cuts = series_parts.cuts
    if cut:
        monkeypatch.setattr(series_parts, "cuts", lambda sizes, limit: cuts(sizes, 600))
    series, words, _ = examples(lengths=lengths)
    made = prepare(source(series, words))
    part = made.part("train")
    assert bool(part.rest) == cut
    assert made.column("train", "labels").tolist() == part.labels.tolist()
    assert made.column("train", "lengths").tolist() == part.lengths.tolist()
    rows = [63, 0, 31, 31, 7]
    for row, found in zip(rows, made.examples("train", rows), strict=True):
        values, _, _ = Store(part, torch.device("cpu"), 0).take(torch.tensor([row]))
        assert np.array_equal(found, values[0])
    broken = made.folder / made.manifest.parts["train"].files[-1].file
    broken.write_bytes(b"x")
    for read in (
        lambda: made.part("train"),
        lambda: made.column("train", "labels"),
        lambda: list(made.examples("train", rows)),
    ):
        with pytest.raises(DataError, match=f"{broken.name}: cannot be read .*; delete"):
            read()


def test_a_part_file_is_a_safetensors_file_with_aligned_tensors(tmp_path, umask):
    blocks = [np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32)]
    part_files.write(tmp_path / "x.safetensors", {"labels": np.array([1, 2]), "index": np.array([5])}, (3, 3), iter(blocks))
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask
    found = load_file(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(found["values"], np.concatenate(blocks))
    assert found["labels"].tolist() == [1, 2] and found["index"].tolist() == [5]
    content = (tmp_path / "x.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    assert size % 8 == 0 and json.loads(content[8 : 8 + size])["values"]["dtype"] == "F32"


def test_a_held_out_part_of_one_group_is_said_with_its_name(source):
    series, words, _ = examples()
    groups = ["ann", "bob", "cai", "dee"] * (len(series) // 4) + ["ann"] * (len(series) % 4)
    words = ["a", "b"] * (len(series) // 2) + ["a"] * (len(series) % 2)
    words = [word if number // 4 % 2 else "ab"[word == "a"] for number, word in enumerate(words)]
    made = prepare(source(series, words, groups, split="group", validation=0.2, test=0.2))
    for name in ("valid", "test"):
        (group,) = {groups[number] for number in made.part(name).index}
        (line,) = (line for line in made.manifest.doubts if f"the {name} split holds one group" in line)
        assert f"{group!r}" in line and f"data.{'validation' if name == 'valid' else 'test'}=SHARE" in line


def said_of_groups(made):
    return [line for line in made.manifest.doubts if "that are trained on too" in line]


def test_a_valid_split_of_known_groups_beside_a_test_file_of_others_is_said(source, tmp_path):
    series, words, groups = examples()
    keys = {"test_path": str(tmp_path / "test.npz"), "time": ""}
    source(series, words, [f"q{group}" for group in groups], name="test.npz")
    made = prepare(source(series, words, groups, **keys))
    (line,) = said_of_groups(made)
    known = {groups[number] for number in made.part("train").index}
    count = sum(groups[number] in known for number in made.part("valid").index)
    assert count and line.startswith(f"{count} of {len(made.part('valid').labels)} valid examples are of groups")
    assert "the test split has other groups" in line and "data.split=group" in line
    assert not said_of_groups(prepare(source(series, words, groups, split="group", **keys)))
    assert not said_of_groups(prepare(source(series, words, groups, validation=0, **keys)))
    folded = prepare(source(series, words, groups, fold="2/5", **keys))  # which keeps groups whole
    assert not said_of_groups(folded)
    source(series, words, groups, name="test.npz")  # of the same groups: those that are measured are known
    assert not said_of_groups(prepare(source(series, words, groups, **keys | {"seed": 1})))


def test_groups_that_are_named_and_on_both_sides_of_both_cuts_are_said(source):
    series, words, groups = examples()
    valid, test = said_of_groups(prepare(source(series, words, groups)))
    assert " valid examples are of groups" in valid and " test examples are of groups" in test
    assert not said_of_groups(prepare(source(series, words, groups, split="time")))
    assert not said_of_groups(prepare(source(series, words, [f"p{number}" for number in range(len(series))], name="b.npz")))


def test_groups_and_times_are_respected_in_both_cuts(source):
    series, words, groups = examples()
    by_group = prepare(source(series, words, groups, split="group"))
    parts = {name: {groups[number] for number in by_group.part(name).index} for name in ("train", "valid", "test")}
    assert not parts["train"] & parts["valid"] and not parts["train"] & parts["test"] and not parts["valid"] & parts["test"]
    alone = [name for name in ("valid", "test") if len(parts[name]) == 1]
    said = [line for line in by_group.manifest.doubts if "holds one group" in line]
    assert len(said) == len(alone) and all(f"the {name} split" in line for name, line in zip(alone, said, strict=True))
    by_time = prepare(source(series, words, groups, split="time"))
    assert not any("one group" in line for line in by_time.manifest.doubts)
    train, valid, test = (by_time.part(name).index for name in ("train", "valid", "test"))
    assert test.max() < valid.min() and valid.max() < train.min(), "times fall"


@pytest.mark.parametrize("seed", range(3))
def test_groups_that_are_mixed_and_of_unequal_sizes_are_whole_in_both_cuts(source, seed):
    random = np.random.default_rng(seed)
    groups = random.permutation([f"p{number}" for number in range(40) for _ in range(random.integers(1, 12))])
    series, words, _ = examples(len(groups))
    prepared = prepare(source(series, words, list(groups), split="group", seed=seed, validation=0.2))
    parts = [{groups[number] for number in prepared.part(name).index} for name in ("train", "valid", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(set(groups))
    assert (
        sum(len(prepared.part(name).index) for name in ("train", "valid", "test")) == len(groups)
        and not prepared.manifest.left_out
    )


def windows(folder, count=60, steps=30) -> dict[str, object]:
    """A long table of windows of one recording, one step apart."""
    rows = [f"w{n},{n + t},{(n + t) % 7},{'ab'[n % 2]}" for n in range(count) for t in range(steps)]
    (folder / "data.csv").write_text("\n".join(["id,time,x,label", *rows]) + "\n")
    return {"source": "csv", "path": str(folder / "data.csv"), "prepared": str(folder / "prepared"), "split": "time"}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_windows_that_reach_into_the_time_of_another_part_are_left_out_and_counted(tmp_path, form):
    data = windows(tmp_path, 200)
    if form == "parquet":
        parquet(tmp_path / "data.parquet", pl.read_csv(tmp_path / "data.csv"))
        data |= {"source": form, "path": str(tmp_path / "data.parquet")}
    prepared = prepare(Data(**data, validation=20))
    train, valid, test = (prepared.part(name).index.tolist() for name in ("train", "valid", "test"))
    assert test == list(range(160, 200))
    assert max(valid) + 29 < 160 and max(train) + 29 < min(valid) and len(valid) == 20
    assert prepared.manifest.left_out == 2 * 29 == 200 - len(train) - len(valid) - len(test)


def test_windows_one_after_the_other_and_files_of_one_time_a_series_leave_nothing_out(source, tmp_path):
    rows = [f"w{n},{10 * n + t},{t},{'ab'[n % 2]}" for n in range(60) for t in range(10)]
    (tmp_path / "data.csv").write_text("\n".join(["id,time,x,label", *rows]) + "\n")
    data = {"source": "csv", "path": str(tmp_path / "data.csv"), "prepared": str(tmp_path / "prepared"), "split": "time"}
    assert prepare(Data(**data)).manifest.left_out == 0
    assert prepare(source(*examples(), split="time")).manifest.left_out == 0


def test_a_test_file_is_the_test_part_and_validation_is_cut_from_the_other(source, tmp_path):
    series, words, _ = examples()
    other, other_words, _ = examples(30, seed=1)
    source(other, other_words, name="test.npz")
    prepared = prepare(source(series, words, test_path=str(tmp_path / "test.npz")))
    assert prepared.part("test").index.tolist() == list(range(30))
    assert sorted([*prepared.part("train").index.tolist(), *prepared.part("valid").index.tolist()]) == list(range(90))
    assert torch.equal(prepared.part("test").values, torch.from_numpy(np.concatenate(other)))
    assert set(prepared.manifest.source_files) == {str(tmp_path / "data.npz"), str(tmp_path / "test.npz")}


def test_missing_values_are_filled_from_the_training_part_and_counted(source):
    series, words, _ = examples()
    random = np.random.default_rng(5)
    for one in series:
        one[random.random(one.shape) < 0.1] = np.nan
        one[0, 2] = 1.0
        one[:, 2] = np.nan_to_num(one[:, 2])
    prepared = prepare(source(series, words, missing="mask"))
    train = np.concatenate([series[number] for number in prepared.part("train").index]).astype(np.float64)
    facts = prepared.manifest.series
    np.testing.assert_allclose(facts.fill, np.nanmean(train, 0), rtol=1e-12)
    assert facts.masked == (0, 1) and prepared.manifest.features == 5 and facts.features[3].endswith(" missing")
    found = everything(prepared)
    for number, (values, _) in found.items():
        absent = np.isnan(series[number])
        np.testing.assert_array_equal(values[:, :3], np.where(absent, np.array(facts.fill, np.float32), series[number]))
        np.testing.assert_array_equal(values[:, 3:], absent[:, :2])
    counted = [channel["missing"] for channel in report(prepared)["channels"]]
    assert counted == [*np.isnan(np.concatenate(series)).sum(0).tolist(), 0, 0]


@pytest.mark.parametrize("part", ["train", "valid"])
def test_series_of_the_training_file_that_stand_in_test_are_counted_and_named(source, tmp_path, part):
    series, words, _ = examples(60)
    other, other_words, _ = examples(20, seed=1)
    source(other, other_words, name="test.npz")
    data = source(series, words, test_path=str(tmp_path / "test.npz"))
    first, second, *_ = prepare(data).part(part).index.tolist()
    other[3], other[11], other[15] = series[second], series[first], series[second][:-1]
    source(other, other_words, name="test.npz")
    manifest = prepare(data.model_copy(update={"prepared": str(tmp_path / "again")})).manifest
    assert (manifest.repeated, manifest.repeated_rows) == (2, ((3, second), (11, first)))


def test_a_single_value_that_is_missing_in_training_gives_its_channel_an_indicator(source):
    series, words, _ = examples()
    data = source(series, words, missing="mask")
    series[int(prepare(data).part("train").index[7])][1, 2] = np.nan
    prepared = prepare(source(series, words, name="one.npz", missing="mask"))
    assert prepared.manifest.series.masked == (2,) and prepared.manifest.series.features[3:] == ("channel_2 missing",)
    assert sum(float(values[:, 3].sum()) for values, _ in everything(prepared).values()) == 1


def test_the_same_file_gives_the_same_bytes_whatever_the_size_of_a_block(source, tmp_path, monkeypatch):
    series, words, _ = examples()
    one = prepare(source(series, words))
    monkeypatch.setattr(series_module, "BLOCK", 64)
    again = prepare(source(series, words).model_copy(update={"prepared": str(tmp_path / "again")}))
    for name in ("train", "valid", "test"):
        assert (one.folder / f"{name}.safetensors").read_bytes() == (again.folder / f"{name}.safetensors").read_bytes()


def test_a_changed_source_file_is_named(source):
    series, words, _ = examples()
    prepare(source(series, words))
    series[0] += 1
    with pytest.raises(DataError, match=r"data\.npz: is not the file that .* was made from"):
        prepare(source(series, words))


def test_what_reads_no_more_than_a_table_decides_no_more(source):
    series, words, _ = examples()
    settings = prepare(source(series, words)).manifest.settings
    assert "view" not in settings and "root" not in settings and settings["missing"] == "error"


@pytest.mark.parametrize("form", ["ts", "csv"])
def test_other_channels_of_the_same_file_are_other_data(tmp_path, form):
    series, words, _ = examples()
    path = tmp_path / f"data.{form}"
    ts(path, series, words) if form == "ts" else csv(path, long_frame(series, words))
    asked = {"source": form, "path": str(path), "prepared": str(tmp_path / "prepared")}
    whole = prepare(Data(**asked))
    names = whole.manifest.series.channels
    some = prepare(Data(**asked, channels=names[1:]))
    assert whole.folder != some.folder and some.manifest.series.channels == names[1:] and some.made


def test_an_error_in_the_last_part_leaves_nothing(source, tmp_path, monkeypatch):
    written = []
    write = series_parts._write

    def fail(stem, *rest):
        if stem.name == "test":
            written.extend(path.name for path in stem.parent.iterdir())
            raise DataError("late")
        return write(stem, *rest)

    monkeypatch.setattr(series_parts, "_write", fail)
    with pytest.raises(DataError, match="late"):
        prepare(source(*examples()[:2]))
    assert {"train.safetensors", ".spool0"} <= set(written)
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == [".lock"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("lengths", [(4, 4), (2, 7)])
def test_the_same_series_prepare_to_the_same_bytes_from_every_format(tmp_path, channels, lengths):
    series, words, _ = examples(30, channels, lengths)
    series = [one.astype(np.float64) for one in series]
    digests = {}
    for form, (kind, layout, write) in WRITERS.items():
        if form != "arff" or channels == 1:
            path = write(tmp_path / f"{form}.{kind}", series, words)
            data = Data(source=kind, path=str(path), layout=layout, prepared=str(tmp_path / "prepared"))
            made = prepare(data)
            digests[form] = [(made.folder / f"{name}.safetensors").read_bytes() for name in ("train", "valid", "test")]
    assert len(digests) >= 7
    for form, parts in digests.items():
        assert parts == digests["ts"], form


def test_hashes_of_series_tell_apart_what_differs_in_a_value_a_place_or_the_length():
    made = [[1, 2, 3], [1, 2, 4], [2, 1, 3], [1, 2, 3, 0], [0, 1, 2, 3], [-0.0, 1, 2, 3], [1, 2, 3]]
    lengths = np.array([len(one) for one in made])
    values = np.concatenate([np.array(one, np.float32) for one in made])[:, None]
    found = twins.hashes_of(values, lengths)
    assert found[0] == found[-1] and len(set(found[:-1].tolist())) == len(made) - 1
    alone = [twins.hashes_of(np.array(one, np.float32)[:, None], np.array([len(one)])).item() for one in made]
    assert alone == found.tolist(), "whatever stands before a series"


def test_of_hashes_that_collide_the_first_that_is_really_the_same_is_found():
    known = np.array([7, 5, 5, 9, 5, 5], np.uint64)
    wanted = np.array([5, 8, 9, 5, 7], np.uint64)
    really = {(0, 4), (0, 5), (3, 1), (2, 3)}
    asked = []
    found = list(twins.pairs(known, wanted, lambda row, twin: bool(asked.append((row, twin))) or (row, twin) in really))
    assert found == [(0, 4), (2, 3), (3, 1)], "those of 7 are not the same"
    assert asked == [(0, 1), (0, 2), (0, 4), (2, 3), (3, 1), (4, 0)]
    assert not list(twins.pairs(known, wanted[:0], lambda *_: True)) and not list(
        twins.pairs(known[:0], wanted, lambda *_: True)
    )


@pytest.mark.parametrize("width", [1, 3])
def test_a_hash_of_a_series_is_the_same_among_equal_and_unequal_lengths(width):
    values = np.random.default_rng(0).standard_normal((4000, width)).astype(np.float32)
    equal = twins.hashes_of(values, np.full(400, 10))
    lengths = np.array([10] * 399 + [3, 7])
    assert len(set(equal.tolist())) == 400 and twins.hashes_of(values, lengths)[:399].tolist() == equal[:399].tolist()


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [3, 4], [0, 2, 3, 9], [9, 2], []])
@pytest.mark.parametrize("lengths", [(4, 4), (2, 9)])
def test_some_series_are_given_in_the_order_that_was_asked_for(monkeypatch, rows, lengths):
    series, words, _ = examples(10, lengths=lengths)
    monkeypatch.setattr(series_module, "BLOCK", 200)
    steps = [len(one) for one in series]
    offsets, numbers = series_module.offsets_of(np.array(steps)), np.arange(10)
    names = ("a", "b", "c")
    whole = Series(Path("a"), np.concatenate(series), offsets, names, (), tuple(words), None, None, "line", numbers)
    blocks = list(whole.blocks(np.array(rows, np.int64)))
    assert [row for chosen, _, _ in blocks for row in chosen] == rows
    assert [step for _, _, own in blocks for step in own] == [steps[row] for row in rows]
    assert b"".join(values.tobytes() for _, values, _ in blocks) == b"".join(series[row].tobytes() for row in rows)


def test_a_file_made_so_that_all_series_have_one_hash_takes_no_longer():
    asked: list[tuple[int, int]] = []
    hashes = np.zeros(500, np.uint64)
    assert not list(twins.pairs(hashes, hashes, lambda row, twin: bool(asked.append((row, twin)))))
    assert len(asked) <= twins.TRIED * len(hashes)
    first = list(twins.pairs(hashes, hashes, lambda row, twin: twin == twins.TRIED - 1))
    assert first == [(row, twins.TRIED - 1) for row in range(500)]
