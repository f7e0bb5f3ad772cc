"""What readers.py promises: the same series are the same whatever file they are in, and what each format may hold."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.series import Series
from tests.data.seriesfiles import WORDS, WRITERS, examples, read


def written(tmp_path, form: str, series: list[np.ndarray]) -> list[Series]:
    source, layout, write = WRITERS[form]
    return read(source, write(tmp_path / f"data.{source}", series), layout=layout)


def same(left: Series, right: Series) -> None:
    assert left.values.tobytes() == right.values.tobytes(), "bit for bit, missing values too"
    assert left.values.shape == right.values.shape
    np.testing.assert_array_equal(left.offsets, right.offsets)
    assert left.labels == right.labels


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("lengths", [(4, 4, 4, 4), (5, 3, 4, 1)])
def test_the_same_series_are_equal_bit_for_bit_in_every_format(tmp_path, form, channels, lengths):
    if form == "arff" and channels > 1:
        return  # one channel only, as its own tests say
    series = examples(channels, lengths)
    (got,) = written(tmp_path, form, series)
    missing = np.array(np.nan, np.float32)
    values = np.concatenate(series).astype(np.float32)
    want = Series(
        np.where(np.isnan(values), missing, values), np.cumsum([0, *lengths]), (), (), WORDS, None, None, "line", np.arange(4)
    )
    same(got, want)
    assert got.values.dtype == np.float32 and got.offsets.dtype == np.int64
    assert len(got.channels) == channels and len(set(got.ids)) == 4 == len(got.rows)
