"""Arrays as other libraries store them: channels before steps, values under the usual names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import config
from pipeline.data.inspection import arrays
from pipeline.data.preparation.folder import prepare
from pipeline.data.readers.arrays import npz as reader
from pipeline.deploy import inputs
from pipeline.deploy.facts import SeriesFacts
from pipeline.errors import DataError, UserError
from tests.support.series_files import npz, only, read

FIRST = np.random.default_rng(0).normal(size=(12, 2, 6)).cumsum(2)  # (series, channels, steps)
LABELS = np.arange(12) % 2


def made(path: Path, values: np.ndarray = FIRST, **more: object) -> Path:
    return npz(path / "a.npz", **({"values": values, "labels": LABELS} | more))


def prepared(path: Path, *settings: str) -> config.Data:
    (path / "own.yaml").write_text("data: {validation: 0}")
    named = [f"data.path={path / 'a.npz'}", f"data.prepared={path / 'prepared'}", "data.source=npz"]
    return config.load(path / "own.yaml", [*named, *settings]).data


def test_an_array_of_channels_first_gives_each_channel_its_steps(tmp_path: Path) -> None:
    got = only("npz", made(tmp_path), axes="channels_first")
    assert len(got) == 12 and got.channels == ("channel_0", "channel_1") and got.lengths.tolist() == [6] * 12
    for number in range(12):
        np.testing.assert_array_equal(got.one(number), FIRST[number].T)


@pytest.mark.parametrize("form", ["padded", "by key", "one channel"])
def test_every_form_of_array_may_have_its_channels_first(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BLOCK", 300)  # bytes: some series a block
    lengths = np.arange(12) % 5 + 2
    if form == "padded":
        made(tmp_path, lengths=lengths)
    elif form == "by key":
        cut = {f"s{n}": FIRST[n, :, : lengths[n]] for n in range(12)}
        npz(tmp_path / "a.npz", **cut, labels=LABELS)
    else:
        npz(tmp_path / "a.npz", **{f"s{n}": FIRST[n, 0, : lengths[n]] for n in range(12)}, labels=LABELS)
    blocks = read("npz", tmp_path / "a.npz", axes="channels_first")
    got = [block.one(number) for block in blocks for number in range(len(block))]
    for number, one in enumerate(got):
        expected = FIRST[number, :, : lengths[number]].T
        np.testing.assert_array_equal(one, expected[:, :1] if form == "one channel" else expected)


def test_axes_that_look_exchanged_are_a_warning_until_somebody_says_what_they_are(tmp_path: Path) -> None:
    made(tmp_path)
    doubts = prepare(prepared(tmp_path)).manifest.doubts
    assert len(doubts) == 1 and "6 channels" in doubts[0] and "data.axes=channels_first" in doubts[0]
    for said in ("channels_first", "channels_last"):
        assert prepare(prepared(tmp_path, f"data.axes={said}")).manifest.doubts == ()
    made(tmp_path, FIRST.swapaxes(1, 2))
    assert only("npz", tmp_path / "a.npz").doubts == ()


def test_axes_that_look_exchanged_are_a_warning_in_arrays_of_one_series_too(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", **{f"s{n}": FIRST[n] for n in range(12)}, labels=LABELS)
    assert "channels_first" in only("npz", tmp_path / "a.npz").doubts[0]


def test_lengths_beyond_the_second_axis_say_that_channels_may_come_first(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"series 0 .* has 6 steps; the values have 2; .*data.axes=channels_first"):
        only("npz", made(tmp_path, lengths=[6] * 12))
    npz(tmp_path / "a.npz", a=np.ones((2, 5)), b=np.ones((2, 7)), labels=[0, 1])
    with pytest.raises(DataError, match=r"'a' has 5 channels; .*data.axes=channels_first"):
        only("npz", tmp_path / "a.npz")


def test_series_end_to_end_have_no_channels_first(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", values=np.ones((2, 10)), lengths=[4, 6], labels=[0, 1])
    with pytest.raises(DataError, match="end to end"):
        only("npz", tmp_path / "a.npz", axes="channels_first")


@pytest.mark.parametrize(("values", "label"), [("X", "y"), ("x", "labels"), ("data", "target"), ("values", "y"), ("X", "Y")])
def test_usual_names_are_found(tmp_path: Path, values: str, label: str) -> None:
    npz(tmp_path / "a.npz", **{values: FIRST, label: LABELS[:, None]})
    got = only("npz", tmp_path / "a.npz", axes="channels_first")
    assert len(got) == 12 and got.labels == tuple(map(str, LABELS))


def test_any_name_is_read_if_it_is_said(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", X_train=FIRST, y_train=LABELS, X_test=FIRST[:2], y_test=LABELS[:2])
    got = only("npz", tmp_path / "a.npz", values="X_test", label="y_test", axes="channels_first")
    assert len(got) == 2
    with pytest.raises(DataError, match=r"did you mean 'X_test'.*data\.values=NAME"):
        only("npz", tmp_path / "a.npz", values="X_tst", label="y_test")


def test_a_series_that_is_called_x_stays_one(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", x=np.ones((5, 2)), y=np.ones((3, 2)), labels=[0, 1])
    assert only("npz", tmp_path / "a.npz").lengths.tolist() == [5, 3]


@pytest.mark.parametrize(("source", "path"), [("csv", "a.csv"), ("ts", "a.ts")])
def test_the_order_of_axes_is_refused_where_there_are_no_arrays(tmp_path: Path, source: str, path: str) -> None:
    with pytest.raises(UserError, match=r"data\.axes"):
        prepared(tmp_path, f"data.source={source}", "data.axes=channels_first")


def test_predict_reads_arrays_as_training_did(tmp_path: Path) -> None:
    made(tmp_path)
    folder = prepare(prepared(tmp_path, "data.axes=channels_first"))
    assert folder.manifest.series is not None
    columns = prepared(tmp_path, "data.axes=channels_first").of(config.Columns)
    facts = SeriesFacts(**folder.manifest.series.model_dump(exclude_defaults=True), columns=config.Columns(**columns))
    written = SeriesFacts.model_validate_json(facts.model_dump_json())
    got = only("npz", tmp_path / "a.npz", **inputs.columns_of("npz", written, {}).model_dump())
    assert got.lengths.tolist() == [6] * 12
    other = inputs.columns_of("npz", written, {"axes": "channels_last"})
    assert other.axes == "channels_last"
    with pytest.raises(UserError, match="--axes steps"):
        inputs.columns_of("npz", written, {"axes": "steps"})


@pytest.mark.parametrize(("first", "noise"), [(True, 0.0), (False, 0.0), (True, 0.3), (False, 0.3)])
def test_init_finds_the_axis_of_steps_by_what_it_measures(tmp_path: Path, first: bool, noise: float) -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=(30, 5, 40)).cumsum(2) + noise * random.normal(size=(30, 5, 40))
    npz(tmp_path / "a.npz", X=values if first else values.swapaxes(1, 2), y=np.arange(30) % 2)
    columns, reasons, doubts = arrays.find(tmp_path / "a.npz")
    assert columns.axes == ("channels_first" if first else "auto") and "5 channels of 40 steps" in reasons[0] and not doubts
    assert len(only("npz", tmp_path / "a.npz", **columns.model_dump()).channels) == 5


def test_init_keeps_a_few_smooth_steps_of_many_channels(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(30, 1, 40)) + 0.1 * np.random.default_rng(2).normal(size=(30, 8, 40))
    npz(tmp_path / "a.npz", values=values, labels=np.arange(30) % 2)  # spectra of 40 bands
    columns, _, doubts = arrays.find(tmp_path / "a.npz")
    assert columns.axes == "channels_last" and "change data.axes" in doubts[0]
