"""The section ``data`` of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from pydantic import model_validator

from pipeline.config.base import Section, ShareOrCount, field


class SeriesFormat(NamedTuple):
    """What can be named in the files of a format."""

    columns: bool = False  # the columns of a table, in either layout
    roles: bool = False  # what is the id, the time, the label and the group


SERIES = {  # the sources that give series, of any length
    "npz": SeriesFormat(roles=True),
    "csv": SeriesFormat(columns=True, roles=True),
    "parquet": SeriesFormat(columns=True, roles=True),
    "ts": SeriesFormat(),
    "arff": SeriesFormat(),
}
WARPS = ("rotate", "zoom", "shear", "elastic")  # what an image may be put through besides a shift
EMNIST_SPLITS = Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"]


class Origin(Section):
    """Where the raw data lies, and which of it is held out of training."""

    source: Literal[
        "digits", "mnist", "fashion_mnist", "kmnist", "emnist", "qmnist", "images", "npz", "csv", "parquet", "ts", "arff"
    ] = field("digits", "`digits` is embedded; the next five lie in `root` or are downloaded to it; the others lie at `path`")
    emnist_split: EMNIST_SPLITS = field("balanced", "which part of EMNIST")
    root: str = field("data", "the folder of the raw files (idx, plain or gzip)")
    mirrors: tuple[str, ...] = field((), "addresses tried before torchvision's own", strict=False)
    path: str = field("", "your file; of `images` the folder, with a folder a class, or `train/` and `test/` of such folders")
    test_path: str = field("", "your file, or folder, of the test part; empty: it is cut from `path`")
    prepared: str = field("prepared", "where `prepare` puts its folders, one for each way of preparing")
    view: Literal["rows", "columns", "rows_columns", "pixels", "permuted_pixels"] = field(
        "rows", "how an image becomes a sequence: a step is a row, a column, the two side by side, or one pixel"
    )
    validation: ShareOrCount = field(0.1, "held out of training, by `split`: a share (0.1), a count (5000), or 0 for none")
    test: ShareOrCount = field(0.2, "cut from `path` by `split` where there is no `test_path`: a share or a count")
    split: Literal["stratified", "group", "time"] = field(
        "stratified", "`group`: no `group` on both sides; `time`: the latest are held out"
    )
    seed: int = field(0, "of the split and of the pixel permutation", ge=0, lt=2**32)


class Columns(Section):
    """What is what in the user's own file: the columns of a table, the arrays of an archive; "" where there is none."""

    layout: Literal["long", "wide"] = field("long", "of a table: a row a step, or a row a series")
    id: str = field("id", "the column that tells series apart; empty in a wide table: none")
    time: str = field("time", "the column that orders steps, or series; empty: the order of the file")
    label: str = field("label", "the column of the class")
    group: str = field("", "the column of who or what a series is of, such as a patient")
    channels: tuple[str, ...] = field((), "the columns of values; [] for all that are left", strict=False)


class Policies(Section):
    """What is done to a series before a model reads it, in training and in prediction alike."""

    missing: Literal["error", "mean", "forward", "mask"] = field(
        "error", "values: refused; the channel's mean; the last seen; the mean, and a channel more that is 1 there"
    )
    max_length: int = field(0, "steps that are kept of a longer series; 0: all", ge=0)
    truncate: Literal["error", "start", "end"] = field("error", "what is kept of a series longer than `max_length`")
    z_norm: bool = field(False, "bring each channel of each series to mean 0 and standard deviation 1: only its shape is left")
    resample: int = field(0, "steps that every series is interpolated to; 0: as they are", ge=0)


class Data(Policies, Columns, Origin):
    """Raw data and how it is prepared. Its keys stand in the order of the classes: origin, columns, policies, and the rest."""

    shard_mb: int = field(512, "a prepared part of series larger than this is several files", ge=1)
    normalize: Literal["auto", "none", "unit", "global", "feature"] = field(
        "auto",
        "`unit`: to [0, 1]; `global`: one mean and deviation; `feature`: one for each feature; from the training part; "
        "`auto`: `global` for images, else `feature`",
    )
    resident_limit_mb: int = field(4096, "prepared parts up to this size are moved to the device once", ge=0)
    shift: int = field(0, "augmentation: training images move by up to this many pixels each way", ge=0, le=32)
    rotate: float = field(0.0, "augmentation: training images turn by up to this many degrees each way", ge=0, le=180)
    zoom: float = field(0.0, "augmentation: each side grows or shrinks by up to this share", ge=0, lt=1)
    shear: float = field(0.0, "augmentation: rows slide by up to this many pixels a row", ge=0, le=1)
    elastic: float = field(0.0, "augmentation: points of a coarse grid move by up to this many pixels each way", ge=0, le=32)

    @model_validator(mode="before")
    @classmethod
    def _resolve_normalize(cls, values: Any) -> Any:
        """A run says what it does: ``auto`` becomes the one it stands for."""
        if isinstance(values, dict) and values.get("normalize", "auto") == "auto":
            return values | {"normalize": "feature" if values.get("source") in SERIES else "global"}
        return values

    @property
    def series(self) -> bool:
        """Whether the source gives series, not images."""
        return self.source in SERIES

    @property
    def warps(self) -> bool:
        """Whether training images are turned, zoomed, sheared or bent."""
        return any(getattr(self, name) for name in WARPS)

    def disagreements(self) -> Iterator[tuple[str, str]]:
        """Keys that do not go together, each with what is wrong."""
        own = self.series or self.source == "images"
        if own and not self.path:
            yield "data.path", f"data.source = {self.source} needs it: the {'file' if self.series else 'folder'} to read"
        if not own and (self.path or self.test_path):
            yield "data.path", f"data.source = {self.source} does not read it; set data.source, such as data.source=csv"
        if own and not self.test_path and not self.test and self.series:
            yield "data.test", "there is no test part; set data.test_path, or data.test to a share or a count"
        roles = self.series and SERIES[self.source].roles
        if self.split != "stratified" and not roles:
            yield "data.split", f"data.source = {self.source} knows no groups and no times; leave it at stratified"
        elif self.split == "group" and not self.group:
            yield "data.group", "data.split = group needs it: the column of who or what a series is of"
        elif self.split == "time" and not self.time:
            yield "data.time", "data.split = time needs it: the column of times"
        for name in ("view", "shift", *WARPS) if self.series else sorted({**Columns.model_fields, **Policies.model_fields}):
            if getattr(self, name) != type(self).model_fields[name].default:
                other = "images" if self.series else "series"
                yield f"data.{name}", f"is for {other}, and data.source = {self.source} has none; leave it out"
        if self.series and not self.label:
            yield "data.label", "a classifier needs it: name the column of the class"
        if self.group and self.series and not roles:
            yield "data.group", f"data.source = {self.source} knows no groups; leave it out"
