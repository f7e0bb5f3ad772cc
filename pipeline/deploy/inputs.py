"""A file or folder to predict -> blocks of examples as a trained model reads them, in the order of the input.

Shapes: b examples of a block, S steps of all of them, T time steps, F features.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from pipeline import config
from pipeline.config import strict_yaml
from pipeline.data.readers import cells, folders, formats
from pipeline.data.series import Array, Columns, Series, Where, Words, cuts, place, refuse_unfit
from pipeline.data.sources import idx
from pipeline.deploy.facts import Facts, SeriesFacts
from pipeline.errors import DataError, UserError, printable, quoted, some

BLOCK = 2**23  # bytes in a block: of values, as the file has them and as the model reads them, and of probabilities
IMAGES = 256  # in a block
SOURCES = (*config.SERIES, "images", "idx")
EXPECTED: dict[str, tuple[str | bool, ...]] = {  # of an option, words; the last two are named to the user
    "layout": ("long", "wide"),
    "decimal": (".", ","),
    "header": (True, False, "true", "false"),
    "axes": ("auto", "channels_last", "channels_first"),
}


@dataclass(frozen=True, eq=False)
class Block:
    """b examples, end to end: ``values`` (S, F), ``lengths`` (b), and where each stands in the input, for messages.

    ``labels`` (b) are words, "" where there is none; None where the whole input has none.
    """

    values: Array
    lengths: Array
    ids: tuple[str, ...]
    labels: tuple[str, ...] | None
    where: Where


def source_of(path: Path) -> str:
    """The format of a file or folder, by its name. Raises UserError if the name does not tell."""
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder; look at its spelling")
    if path.is_dir():
        return folders.format_in(path, folders.IMAGES) or "images"
    if path.suffix.lower() in folders.IMAGES:
        return "images"
    if re.search(r"idx\d-(ubyte|int)", path.name):
        return "idx"
    source = folders.named(path)
    if source is None:
        raise UserError(f"{path}: its name does not tell its format; type --source with one of: {', '.join(SOURCES)}")
    return source


def read(path: Path, source: str, facts: Facts, features: int, given: Mapping[str, str]) -> Iterator[Block]:
    """The examples of ``path``, a file or folder of the format ``source``, in blocks of bounded size.

    ``given``: words in the place of those of ``facts.series.columns``: ``layout``, ``id``, ``time``, ``label``, ``group``, and
    ``channels``, names separated by commas, in the order of the model's, or a list in YAML (["a, b", c]).

    Raises UserError, which names the file and the row, when it reaches what does not fit the model.
    """
    if source not in SOURCES:
        raise UserError(f"--source {source}: expected one of {', '.join(SOURCES)}")
    if (source in config.SERIES) != (facts.series is not None):
        reads = "series" if facts.series else "images"
        raise UserError(f"{path}: is read as {source}, but this model was trained on {reads}; give it such a file")
    if facts.series:
        yield from of_series(formats.read(source, path, columns_of(source, facts.series, given)), facts, "channels" in given)
    else:
        yield from of_images(_idx(path, facts) if source == "idx" else _images(path), facts, features)


def of_series(found: Iterable[Series], facts: Facts, mapped: bool) -> Iterator[Block]:
    """The blocks of series with the channels of a file, under the policies that the model was trained with.

    ``mapped``: the user said which channels of the file are the model's. Raises DataError for what does not fit the model.
    """
    assert facts.series
    # an older model may have a class 1.0, as its file had it: a reader calls it 1
    called = {cells.class_word(name): name for name in facts.class_names} | {name: name for name in facts.class_names}
    cleaning = facts.series.cleaning
    made = 4 * cleaning.resample * len(cleaning.features) + 8 * len(facts.class_names)  # of each series
    for series in found:
        _refuse_other_channels(series, facts.series, mapped)
        words = None if series.labels is None else _called(series.labels, called)
        for rows in cuts(series.lengths * series.width + made, BLOCK):

            def where(number: int, series: Series = series, first: int = rows.start) -> str:
                return series.place(first + number)

            raw = series.values[series.offsets[rows.start] : series.offsets[rows.stop]]
            times = series.times_of(np.arange(rows.start, rows.stop)) if cleaning.timed else None
            values, lengths = cleaning.apply(raw, series.lengths[rows], where, times)
            labels = None if words is None else words[rows]
            if labels and not facts.series.columns.header and not {*labels} & {*facts.class_names}:
                # without a header nothing but its values tells whether the file has the column of the label
                problem = f"the label {quoted(labels[0])} is no class of the model"
                raise DataError(f"{where(0)}: {problem}; if the file has no labels, type --label ''")
            yield Block(values, lengths, tuple(series.ids[rows]), labels, where)


def _called(labels: Sequence[str], called: Mapping[str, str]) -> Words:
    """Labels under the names that the model has for them."""
    words = Words.of(labels)
    return Words(words.numbers, [called.get(word, word) for word in words.different])


def columns_of(source: str, facts: SeriesFacts, given: Mapping[str, str]) -> Columns:
    """What is what in a file of the format ``source``: as in training, but for what is ``given``, as ``read`` takes it.

    Named channels are looked for by their names, so that other columns and another order do no harm.
    """
    known = facts.columns
    named = config.SERIES[source].columns and facts.channels != cells.numbered(1) and not known.steps
    channels = facts.channels if named else known.channels
    if named and known.elapsed:
        channels = channels[:-1]  # the last is no column of the file
    if "channels" in given:
        text = given["channels"].strip()
        listed = strict_yaml.parse(text, "--channels")[0] if text.startswith("[") else text.split(",")
        channels = tuple(str(name).strip() for name in listed)
    words: dict[str, Any] = {**known.of(config.Columns), **given, "channels": channels}
    for name, expected in EXPECTED.items():
        if words[name] not in expected:
            raise UserError(f"--{name} {words[name]}: expected {' or '.join(map(str, expected[-2:]))}")
    words["header"] = words["header"] in (True, "true")
    try:
        return Columns(**words, labelled=False, timed=facts.timed)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise UserError(f"--{wrong['loc'][0]} {printable(str(wrong['input']))}: expected {wrong['msg']}") from None


def _refuse_other_channels(series: Series, facts: SeriesFacts, mapped: bool) -> None:
    same = len(series.channels) == len(facts.channels) if mapped else series.channels == facts.channels
    if not same:
        raise DataError(
            f"{series.source}: has {len(series.channels)} channels ({some(series.channels)}), but the model reads "
            f"{len(facts.channels)} ({some(facts.channels)}); name the ones for these, in this order: --channels A,B,..."
        )


Image = tuple[Array, str, str | None, str]  # (height, width) uint8, its id, its label, where it stands


def _images(path: Path) -> Iterator[Image]:
    """A file, or all images below a folder: those in a folder of their own have its name as their label."""
    from pipeline.data.sources import image_folder  # which series do without

    if not path.is_dir():
        yield image_folder.grey(path), path.name, None, str(path)
        return
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in folders.IMAGES and file.is_file())
    if not found:
        raise DataError(f"{path}: holds no images ({', '.join(folders.IMAGES)}); name another folder, or a file")
    inner = [file.relative_to(path) for file in found]
    refuse_unfit([inside.as_posix() for inside in inner], lambda _: f"{path}: the name of file")
    labels = [inside.parts[0] if inside.parts[1:] else "" for inside in inner]
    for file, inside, label in zip(found, inner, labels, strict=True):
        yield image_folder.grey(file), inside.as_posix(), label if any(labels) else None, str(file)


def _idx(path: Path, facts: Facts) -> Iterator[Image]:
    if not re.search(r"idx3-ubyte", path.name):
        raise DataError(f"{path}: is no idx file of images by its name; they are called SOMETHING-idx3-ubyte, or so with .gz")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; look at its spelling")
    images = idx.read(path)
    if facts.source == "emnist":
        images = images.swapaxes(1, 2)  # its files hold the images transposed, and training turned them
    yield from ((image, str(row), None, f"{path}: {place('row', row)}") for row, image in enumerate(images))


def of_images(images: Iterator[Image], facts: Facts, features: int) -> Iterator[Block]:
    """The blocks of images, each as the sequence that the model was trained on. Raises DataError for one of another size."""
    assert facts.image
    of_each = 4 * facts.length * features + 8 * len(facts.class_names)
    while some := tuple(islice(images, max(1, min(IMAGES, BLOCK // of_each)))):
        for image, _, _, where in some:
            if image.shape != facts.image:
                raise DataError(
                    f"{where}: {image.shape[1]} x {image.shape[0]} pixels, but the model reads images of "
                    f"{facts.image[1]} x {facts.image[0]}; bring it to that size"
                )
        values, ids, labels, places = zip(*some, strict=True)
        flat = np.stack(values).reshape(len(some), -1)
        ordered = flat if facts.order is None else flat[:, list(facts.order)]
        lengths = np.full(len(some), facts.length)
        made = ordered.reshape(-1, features).astype(np.float32)
        yield Block(made, lengths, ids, None if labels[0] is None else labels, places.__getitem__)
