"""The section ``data`` of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from pydantic import model_validator

from pipeline.config.base import CountOrAuto, Section, ShareOrCount, field
from pipeline.config.columns import Columns


class SeriesFormat(NamedTuple):
    """How the files of a format are named, and what can be named in them."""

    suffixes: tuple[str, ...]
    columns: bool = False  # the columns of a table, in either layout
    roles: bool = False  # what is the id, the time, the label and the group
    stamps: bool = False  # nothing, but its steps may have their times with them


SERIES = {  # the sources that give series, of any length
    "npz": SeriesFormat((".npz",), roles=True),
    "csv": SeriesFormat((".csv", ".tsv", ".txt"), columns=True, roles=True),
    "parquet": SeriesFormat((".parquet", ".pq"), columns=True, roles=True),
    "ts": SeriesFormat((".ts",), stamps=True),
    "arff": SeriesFormat((".arff",)),
}
SUFFIXES = {suffix: name for name, found in SERIES.items() for suffix in found.suffixes}
WARPS = ("rotate", "zoom", "shear", "elastic")  # what an image may be put through besides a shift
SERIES_WARPS = ("jitter", "scaling", "time_warp", "crop", "channel_dropout")  # and a series
EMNIST_SPLITS = Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"]


class Origin(Section):
    """Where the raw data lies, and which of it is held out of training."""

    source: Literal[
        "digits", "mnist", "fashion_mnist", "kmnist", "emnist", "qmnist", "images", "npz", "csv", "parquet", "ts", "arff"
    ] = field(
        "digits",
        "where the data comes from; `digits` is embedded, the next five are in `root` or downloaded, the rest in `path`",
    )
    emnist_split: EMNIST_SPLITS = field("balanced", "the split of EMNIST by classes")
    root: str = field("data", "the folder of the raw idx files, plain or gzip")
    mirrors: tuple[str, ...] = field((), "download addresses, tried before torchvision's own", strict=False)
    path: str = field(
        "",
        "your file, or a folder: of class folders with a recording a file, or of part files of one table; for `images` also of "
        "`train/` and `test/` with class folders",
    )
    test_path: str = field("", "your file or folder of the test split; empty: the test split is cut from `path`")
    prepared: str = field("prepared", "the folder of prepared data; one folder in it per way of preparing")
    view: Literal["rows", "columns", "rows_columns", "pixels", "permuted_pixels"] = field(
        "rows",
        "one step of an image's sequence: a row, a column, both side by side, one pixel, or one pixel in a fixed random order",
    )
    validation: ShareOrCount = field(
        0.1, "size of the valid split, cut by `split`: a share (0.1), a count (5000), or 0 for none"
    )
    test: ShareOrCount = field(0.2, "size of the test split, cut by `split` where there is no `test_path`: a share or a count")
    split: Literal["stratified", "group", "time"] = field(
        "stratified", "how examples are held out: by class; by whole groups, so that no group is in two splits; the latest"
    )
    seed: int = field(0, "seed of the splits and of the pixel permutation", ge=0, lt=2**32)
    fold: str = field(
        "",
        "the part of all but the test split that is the valid split, such as `2/5`; `train.folds` sets it",
        pattern=r"^$|^[1-9][0-9]{0,3}/[1-9][0-9]{0,3}$",
    )


class Policies(Section):
    """What is done to a series before a model reads it, in training and in prediction alike."""

    missing: Literal["error", "mean", "forward", "mask"] = field(
        "error",
        "what a missing value becomes; `error`: refused; `mean`: the channel's mean; `forward`: the last value seen; "
        "`mask`: the mean, and 1 in an extra channel",
    )
    max_length: int = field(0, "maximum number of steps of a series; 0: no limit", ge=0, lt=2**31)
    truncate: Literal["error", "start", "end"] = field(
        "error", "what is kept of a series longer than `max_length`: refused, its first steps, or its last"
    )
    z_norm: bool = field(False, "bring each channel of each series to mean 0 and standard deviation 1: only its shape is left")
    resample: int = field(0, "number of steps that every series is interpolated to; 0: as it is", ge=0, le=2**24)


class Data(Policies, Columns, Origin):
    """Raw data and how it is prepared. Its keys stand in the order of the classes: origin, columns, policies, and the rest."""

    shard_mb: int = field(512, "maximum size of one file of a prepared split of series, in MB", ge=1)
    normalize: Literal["auto", "none", "unit", "global", "feature"] = field(
        "auto",
        "normalisation by the train split; `unit`: to [0, 1]; `global`: one mean and standard deviation; `feature`: "
        "one of each per feature; `auto`: `global` for images, `feature` for series",
    )
    stage: str = field("", "a folder on a disk of each host, to which the prepared data is copied, once a host; empty: none")
    resident_limit_mb: CountOrAuto = field(
        "auto",
        "maximum size, in MB, of a prepared split that is held on the device; `auto`: 4096 on a CPU; on a GPU half of the "
        "memory that is free at the start, for all splits together",
    )
    shift: int = field(0, "augmentation: maximum shift of a training image, in pixels each way", ge=0, le=32)
    rotate: float = field(0.0, "augmentation: maximum rotation of a training image, in degrees each way", ge=0, le=180)
    zoom: float = field(0.0, "augmentation: maximum share by which a training image grows or shrinks", ge=0, lt=1)
    shear: float = field(0.0, "augmentation: maximum slide of a row against the next, in pixels", ge=0, le=1)
    elastic: float = field(
        0.0, "augmentation: maximum elastic distortion, in pixels each way at the points of a coarse grid", ge=0, le=32
    )
    jitter: float = field(
        0.0, "augmentation: noise added to a training series, in standard deviations of each channel", ge=0, le=10
    )
    scaling: float = field(
        0.0, "augmentation: maximum share by which a channel of a training series grows or shrinks", ge=0, lt=1
    )
    time_warp: float = field(
        0.0, "augmentation: maximum share by which time runs faster or slower in each fifth of a training series", ge=0, lt=1
    )
    crop: float = field(
        0.0, "augmentation: maximum share of a training series that is cut off; the rest is stretched to its length", ge=0, lt=1
    )
    channel_dropout: float = field(
        0.0, "augmentation: probability that a channel of a training series is replaced by its mean; one is left", ge=0, lt=1
    )

    @model_validator(mode="before")
    @classmethod
    def _resolve_normalize(cls, values: Any) -> Any:
        """A run says what it does: ``auto`` becomes the one it stands for."""
        if isinstance(values, dict) and values.get("normalize", "auto") == "auto":
            return values | {"normalize": "feature" if values.get("source") in SERIES else "global"}
        return values

    @model_validator(mode="before")
    @classmethod
    def _resolve_split(cls, values: Any) -> Any:
        """Windows of one recording are alike, and recordings of one person: if nothing else is said, all stand on one side."""
        grouped = isinstance(values, dict) and (values.get("window") or "GROUP" in str(values.get("recordings", "")))
        return values | {"split": "group"} if grouped and "split" not in values else values

    @property
    def grouped(self) -> bool:
        """Whether it is named of whom or what each series is."""
        return bool(self.group) or "GROUP" in self.recordings

    @property
    def of_fold(self) -> tuple[int, int]:
        """Which part is held out, from 1, and of how many, where ``fold`` says so."""
        number, _, parts = self.fold.partition("/")
        return int(number), int(parts)

    @property
    def series(self) -> bool:
        """Whether the source gives series, not images."""
        return self.source in SERIES

    @property
    def may_have_times(self) -> bool:
        """Whether the source may say when each step was."""
        found = SERIES.get(self.source)
        return bool(found and (found.stamps or (found.columns and self.layout == "long" and self.time)))

    @property
    def warps(self) -> bool:
        """Whether training images are turned, zoomed, sheared or bent."""
        return any(getattr(self, name) for name in WARPS)

    @property
    def series_warps(self) -> bool:
        """Whether training series are changed at random."""
        return any(getattr(self, name) for name in SERIES_WARPS)

    def disagreements(self) -> Iterator[tuple[str, str]]:
        """Keys that do not go together, each with what is wrong."""
        own = self.series or self.source == "images"
        if own and not self.path:
            yield "data.path", f"data.source = {self.source} needs it: the {'file' if self.series else 'folder'} to read"
        for name in ("path", "test_path"):
            if not own and getattr(self, name):
                yield f"data.{name}", f"data.source = {self.source} does not read it; set data.source, such as data.source=csv"
        if own and not self.test_path and not self.test and self.series:
            yield "data.test", "there is no test split; set data.test_path, or data.test to a share or a count"
        roles = self.series and SERIES[self.source].roles
        told = "GROUP" in self.recordings
        if self.split == "group" and (told or self.window):
            pass  # the path of a recording says its group; a window is of the group of its recording, or of the recording
        elif self.split != "stratified" and not roles:
            yield "data.split", f"data.source = {self.source} knows no groups and no times; leave it at stratified"
        elif self.split == "group" and not self.group:
            yield "data.group", "data.split = group needs it: the column of who or what a series is of"
        elif self.split == "time" and not self.time:
            yield "data.time", "data.split = time needs it: the column of times"
        of_series = (*sorted({**Columns.model_fields, **Policies.model_fields}), *SERIES_WARPS)
        for name in ("view", "shift", *WARPS) if self.series else of_series:
            if getattr(self, name) != type(self).model_fields[name].default:
                other = "images" if self.series else "series"
                yield f"data.{name}", f"is for {other}, and data.source = {self.source} has none; leave it out"
        for name, sources in (("values", ("npz",)), ("axes", ("npz", "parquet"))):
            if self.series and self.source not in sources and getattr(self, name) != type(self).model_fields[name].default:
                yield f"data.{name}", f"is for arrays, and data.source = {self.source} has none; leave it out"
        yield from self._of_steps()
        if self.fold and self.of_fold[0] > self.of_fold[1]:
            yield "data.fold", "there are fewer parts than that"
        if self.series and not self.label:
            yield "data.label", "a classifier needs it: name the column of the class"
        if self.group and told:
            yield "data.group", "GROUP in data.recordings says it already; leave out one of the two"
        elif self.group and self.series and not roles:
            yield "data.group", f"data.source = {self.source} knows no groups; leave it out"

    def _of_steps(self) -> Iterator[tuple[str, str]]:
        """What does not go together of windows and the times of steps."""
        if not self.window:
            for name in ("stride", "window_label"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    yield f"data.{name}", "is of windows; set data.window, or leave it out"
        if self.elapsed and self.resample:
            yield "data.elapsed", "resampled steps are evenly apart; leave out data.elapsed or data.resample"
        found = SERIES.get(self.source)
        if self.elapsed and found and not (found.columns or found.stamps):
            yield "data.elapsed", f"data.source = {self.source} has no times of steps; leave it out"
        elif self.elapsed and not self.time and not (found and found.stamps):
            yield "data.time", "data.elapsed needs it: the column of times"
