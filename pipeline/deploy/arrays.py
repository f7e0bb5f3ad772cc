"""Arrays and frames of Python -> blocks of examples as a trained model reads them, as ``inputs`` makes them of files.

Shapes: N examples, T time steps, C channels of series, F features of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from torch import Tensor

from pipeline.data.readers import cells
from pipeline.data.readers.shapes.asked import shaped
from pipeline.data.readers.tables import layouts, parquet_table
from pipeline.data.series import Array, Series, offsets_of, place
from pipeline.deploy import inputs
from pipeline.deploy.facts import Facts, SeriesFacts
from pipeline.deploy.inputs import Block
from pipeline.errors import DataError, UserError, some

ARRAY, FRAME = Path("the array"), Path("the frame")  # what messages call them


def read(given: Any, facts: Facts, features: int, words: Mapping[str, str]) -> Iterator[Block]:
    """The examples in ``given``, in blocks of bounded size.

    Of series: an array (N, T, C), a sequence of arrays (T_i, C), or a frame of polars or pandas in the layout of the table
    that the model was trained on, with ``words`` as ``inputs.read`` takes them. Of images: an array (N, height, width), or
    a sequence of arrays (height, width). All in the raw units of the training data.

    Raises UserError, which names the example, for what does not fit the model.
    """
    if isinstance(given, pl.DataFrame | pl.LazyFrame) or hasattr(given, "columns"):
        if facts.series is None:
            raise UserError(f"{FRAME}: holds series, but this model was trained on images; give an array (N, height, width)")
        table = parquet_table.open_frame(FRAME, _polars(given).lazy())
        columns = inputs.columns_of("parquet", facts.series, words)
        found = shaped(layouts.read(table, columns), columns)
        yield from inputs.of_series(found, facts, "channels" in words)
        return
    if words:
        raise UserError(f"{', '.join(words)}: names columns, and an array has none; leave it out")
    arrays = _arrays(given)
    if not len(arrays):
        return
    if facts.series:
        listed = not isinstance(given, np.ndarray | Tensor)
        yield from inputs.of_series([_series(arrays, facts.series, listed)], facts, mapped=False)
    else:
        yield from inputs.of_images(_images(arrays, facts), facts, features)


def _polars(frame: Any) -> pl.DataFrame | pl.LazyFrame:
    """A frame of polars, of pandas, or of what hands Arrow on. Pandas has one word, NaN, for all that is missing."""
    if isinstance(frame, pl.DataFrame | pl.LazyFrame):
        return frame
    if not hasattr(frame, "iloc"):
        return pl.DataFrame(frame)
    columns: dict[str, Any] = {}
    for position, name in enumerate(frame.columns):
        column, stored = frame.iloc[:, position], frame.iloc[:, position].to_numpy()
        if str(name) in columns:
            raise DataError(f"{FRAME}: two columns have the name {name!r}; give each column a name of its own")
        plain = stored.dtype.kind in "biufM"
        columns[str(name)] = stored if plain else column.astype(object).where(column.notna(), None).tolist()
    return pl.DataFrame(columns, nan_to_null=True, strict=False)


def _arrays(given: Any) -> list[Array]:
    """The examples, one by one."""
    if isinstance(given, Tensor):
        given = given.detach().cpu().numpy()
    if not isinstance(given, np.ndarray | Sequence) or isinstance(given, str | bytes):
        raise UserError(f"{type(given).__name__} is nothing to predict; give an array, a list of arrays, a frame or a path")
    if isinstance(given, np.ndarray) and not given.ndim:
        raise DataError(f"{ARRAY}: is a single number; give an array of examples")
    try:
        made = [one.detach().cpu().numpy() if isinstance(one, Tensor) else np.asarray(one) for one in given]
    except ValueError as error:
        raise DataError(f"{ARRAY}: is not made of numbers ({error})") from None
    for number, one in enumerate(made):
        if one.dtype.kind not in "biuf":
            raise DataError(f"{ARRAY}: {place('example', number)} holds {one.dtype}, not real numbers")
    return made


def _series(arrays: list[Array], facts: SeriesFacts, listed: bool) -> Series:
    """Arrays (T_i, C) end to end; of one channel arrays (T_i) too if ``listed``: an array (N, T) might be one series of T."""
    channels = len(facts.channels)
    made = []
    for number, one in enumerate(arrays):
        one = one[:, None] if listed and one.ndim == 1 and channels == 1 else one
        if one.ndim != 2 or one.shape[1] != channels or not len(one):
            reads = f"(steps, {channels}): {some(facts.channels)}"
            give = f"an array (series, steps, {channels}), or a list of arrays (steps, {channels})"
            raise DataError(
                f"{ARRAY}: {place('series', number)} has the shape {one.shape}, but the model reads {reads}; give {give}"
            )
        made.append(one)
    kind = cells.kind_of(*{one.dtype for one in made})
    values = cells.real(np.concatenate(made), kind)
    offsets = offsets_of(np.array([len(one) for one in made]))
    if found := cells.first_infinite(values):
        number = int(np.searchsorted(offsets, found[0], side="right")) - 1
        where = (
            f"{place('series', number)}, {place('step', int(found[0] - offsets[number]))}, channel {facts.channels[found[1]]!r}"
        )
        raise DataError(f"{ARRAY}: {where}: {cells.INFINITE}")
    numbers = np.arange(len(made))
    ids = tuple(map(str, numbers.tolist()))
    return Series(ARRAY, values, offsets, facts.channels, ids, None, None, None, "series", numbers)


def _images(arrays: list[Array], facts: Facts) -> Iterator[inputs.Image]:
    for number, one in enumerate(arrays):
        where = f"{ARRAY}: {place('image', number)}"
        if one.ndim != 2:
            assert facts.image
            height, width = facts.image
            raise DataError(f"{where} has the shape {one.shape}, but the model reads images of ({height}, {width})")
        if not np.isfinite(one).all():
            raise DataError(f"{where} holds a pixel that is no finite number; put it right")
        yield one, str(number), None, where
