"""What is what in the user's own file: a part of the section ``data``."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from pipeline.config.base import Section, field

TOLD = "LABEL|GROUP|ANY"  # what the path of a recording may say
LONGEST = 4096  # characters of a path that Linux takes
FIRST = ("layout", "id", "time", "label", "group", "channels")  # keys of Columns in the first version


class Columns(Section):
    """What is what in the user's own file: the columns of a table, the arrays of an archive; "" where there is none."""

    layout: Literal["long", "wide"] = field("long", "form of a table; `long`: one row per step; `wide`: one row per series")
    id: str = field("id", "the column that names the series; empty in a wide table: there is none")
    time: str = field("time", "the column that orders the steps, or the series; empty: the order of the file")
    label: str = field("label", "the column of the class")
    group: str = field("", "the column of whom or what a series is about, such as a patient")
    channels: tuple[str, ...] = field((), "the columns of values; []: all that are left", strict=False)
    header: bool = field(
        True, "whether the first line of a CSV names its columns; false: each is named by its place, from 0, and -1 is the last"
    )
    decimal: Literal[".", ","] = field(".", "the decimal point of the numbers in a CSV, or the comma in its place")
    values: str = field("values", "the array of the values of all series in an .npz file; `X` is found too", min_length=1)
    axes: Literal["auto", "channels_last", "channels_first"] = field(
        "auto",
        "order of the axes of arrays in an .npz file, or of lists of lists in Parquet; `channels_last`: (series, steps, "
        "channels); `channels_first`: (series, channels, steps); `auto`: channels last, with a warning where that looks wrong",
    )
    steps: int = field(
        0,
        "number of steps that each row of values is cut into, such as 28 for images of 28 x 28 pixels in a table; 0: each "
        "value is a step",
        ge=0,
        le=2**24,
    )
    window: int = field(
        0, "number of steps of the windows that each recording is cut into, each a series; 0: a recording is a series", ge=0
    )
    stride: int = field(0, "number of steps from the begin of a window to that of the next; 0: `window`", ge=0)
    window_label: Literal["majority", "single"] = field(
        "majority",
        "the label of a window; `majority`: the most frequent one of its steps, of several the first; `single`: a window of "
        "several labels is left out",
    )
    recordings: str = field(
        "",
        "what the path of each file below the folder `path` says, without its ending: LABEL, GROUP and ANY stand for words, as "
        "in `LABEL/GROUP_ANY`; empty: with class folders the label",
    )
    elapsed: bool = field(False, "add a channel with the time since the step before, in seconds where times are dates")

    @property
    def later(self) -> dict[str, Any]:
        """The keys that the first version did not have, where they are not left to their defaults.

        What it wrote says nothing of them, and stays what it is.
        """
        found = {name: getattr(self, name) for name in Columns.model_fields if name not in FIRST}
        return {name: value for name, value in found.items() if value != Columns.model_fields[name].default}

    @field_validator("recordings")
    @classmethod
    def _of_words(cls, value: str) -> str:
        """Words between which something stands, or nobody knew where one ends; each file has one label and one group."""
        found = re.findall(TOLD, value)
        twice = any(found.count(word) > 1 for word in ("LABEL", "GROUP"))
        no_path = len(value) > LONGEST or value[:1] in ("/", ".")
        if value and (not found or twice or re.search(f"({TOLD})({TOLD})", value) or no_path):
            raise PydanticCustomError(
                "recordings", "LABEL and GROUP once at most, and ANY, with something between them, as in LABEL/GROUP_ANY"
            )
        return value

    @field_validator("id", "time", "label", "group", "channels", mode="before")
    @classmethod
    def _of_places(cls, value: Any) -> Any:
        """A place is a number, and a name is text: 0 is "0"."""
        if isinstance(value, list | tuple):
            return tuple(str(part) if type(part) is int else part for part in value)
        return str(value) if type(value) is int else value
