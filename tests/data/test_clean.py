"""What clean.py promises: a series is cut, filled and resampled as the configuration says, and by itself alone."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.config import Data
from pipeline.data.clean import Cleaning, cleaning
from pipeline.errors import DataError

NAN = np.nan
A = [[1, NAN], [2, 20], [NAN, 30], [4, NAN]]
B = [[NAN, 1], [6, NAN]]
VALUES, LENGTHS = np.array(A + B, np.float32), np.array([4, 2])


def policy(fill=(100.0, 200.0), masked=(), **keys) -> Cleaning:
    data = Data(source="npz", path="x", **keys)
    made = cleaning(data, ("a", "b"))
    return made.model_copy(update={"fill": fill, "masked": masked})


def place(series: int) -> str:
    return f"file: line {series + 7}"


def test_missing_values_become_the_mean():
    values, lengths = policy(missing="mean").apply(VALUES, LENGTHS, place)
    assert values.tolist() == [[1, 200], [2, 20], [100, 30], [4, 200], [100, 1], [6, 200]]
    assert lengths.tolist() == [4, 2] and values.dtype == np.float32


def test_forward_takes_the_last_value_of_the_same_series_and_before_the_first_the_mean():
    values, _ = policy(missing="forward").apply(VALUES, LENGTHS, place)
    assert values.tolist() == [[1, 200], [2, 20], [2, 30], [4, 30], [100, 1], [6, 1]]


def test_mask_adds_a_channel_that_is_1_where_it_was_missing():
    cleaner = policy(missing="mask", masked=(1,))
    values, _ = cleaner.apply(VALUES, LENGTHS, place)
    assert values[:, 2].tolist() == [1, 0, 0, 1, 0, 1]
    assert values[:, :2].tolist() == policy(missing="mean").apply(VALUES, LENGTHS, place)[0].tolist()
    assert cleaner.features == ("a", "b", "b missing")


def test_a_missing_value_under_error_is_named_with_its_row_channel_and_step():
    with pytest.raises(DataError, match=r"file: line 8: channel 'b' has no value at step 1 \(from 0\); set data\.missing"):
        policy().apply(np.array([[1, 1], [1, 1], [1, NAN]], np.float32), np.array([1, 2]), place)


@pytest.mark.parametrize(("keep", "kept"), [("start", [0, 1, 2, 4, 5]), ("end", [1, 2, 3, 4, 5])])
def test_a_longer_series_keeps_its_start_or_end(keep, kept):
    values, lengths = policy(max_length=3, truncate=keep, missing="mean").cut(VALUES, LENGTHS, place)
    np.testing.assert_array_equal(values, VALUES[kept])
    assert lengths.tolist() == [3, 2]


def test_a_longer_series_under_error_is_named():
    with pytest.raises(DataError, match=r"file: line 7: 4 steps, more than data\.max_length = 3; set data\.truncate=start"):
        policy(max_length=3).cut(VALUES, LENGTHS, place)
    assert policy(max_length=4).cut(VALUES, LENGTHS, place)[0] is VALUES


def test_what_was_cut_off_fills_nothing():
    values, _ = policy(missing="forward", max_length=2, truncate="end").apply(VALUES, LENGTHS, place)
    assert values[0].tolist() == [100, 30], "the 2 before it is gone"


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 9])
def test_resampling_is_numpys_linear_interpolation(steps):
    values = np.random.default_rng(0).normal(size=(13, 2)).astype(np.float32)
    lengths = np.array([4, 1, 8])
    got, new = policy(resample=steps).apply(values, lengths, place)
    assert new.tolist() == [steps] * 3 and got.shape == (3 * steps, 2)
    ends = np.cumsum(lengths)
    for number, (start, stop) in enumerate(zip(ends - lengths, ends, strict=True)):
        at = np.linspace(0, stop - start - 1, steps)
        for channel in range(2):
            want = np.interp(at, np.arange(stop - start), values[start:stop, channel])
            np.testing.assert_allclose(got[number * steps : (number + 1) * steps, channel], want, rtol=1e-6)
    if steps == 4:
        np.testing.assert_array_equal(got[:4], values[:4], "as many steps as it had: the same bits")


@pytest.mark.parametrize(
    "keys", [{"missing": "forward"}, {"missing": "mean", "max_length": 2, "truncate": "end", "resample": 5}]
)
def test_a_series_is_cleaned_by_itself_alone(keys):
    cleaner = policy(**keys)
    together, lengths = cleaner.apply(VALUES, LENGTHS, place)
    alone = [cleaner.apply(VALUES[:4], LENGTHS[:1], place), cleaner.apply(VALUES[4:], LENGTHS[1:], place)]
    np.testing.assert_array_equal(together, np.concatenate([values for values, _ in alone]))
    assert lengths.tolist() == [int(length) for _, (length,) in alone]


def test_z_norm_leaves_the_shape_of_each_series_alone():
    random = np.random.default_rng(0)
    lengths = np.array([5, 1, 9])
    values = np.concatenate([random.normal(mean, std, (n, 2)) for mean, std, n in ((3, 1e-5, 5), (7, 1, 1), (-900, 80, 9))])
    values[5:, 1] = 4.25  # a channel that is constant in two series
    got, _ = policy(z_norm=True).apply(values.astype(np.float32), lengths, place)
    for begin, end in ((0, 5), (6, 15)):
        exact = values[begin:end, 0].astype(np.float32).astype(np.float64)
        np.testing.assert_allclose(got[begin:end, 0], (exact - exact.mean()) / exact.std(), rtol=1e-4, atol=1e-6)
    assert not got[5:, 1].any() and not got[5].any() and np.isfinite(got).all()


def test_z_norm_touches_no_indicator_and_comes_before_resampling():
    got, lengths = policy(missing="mask", masked=(1,), z_norm=True, resample=2).apply(VALUES, LENGTHS, place)
    assert lengths.tolist() == [2, 2] and got[:, 2].tolist() == [1, 1, 0, 1]
    whole, _ = policy(missing="mask", masked=(1,), z_norm=True).apply(VALUES, LENGTHS, place)
    np.testing.assert_allclose(whole[:4, :2].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(got[[0, 1]], whole[[0, 3]], atol=1e-6)
