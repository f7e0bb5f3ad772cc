"""How the splits of series that nobody has described are cut: by class, by whole groups, or in time.

The valid split must be to training what the test split is: of other groups if that is, else the wrong checkpoint is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from pipeline.data.inspection import profile
from pipeline.data.inspection.frame import Found
from pipeline.data.inspection.profile import Profile
from pipeline.errors import quoted, some
from pipeline.tuning.recipe import Choice


def of(source: str, test: Path | None, found: Found, facts: Profile) -> tuple[list[Choice], list[str]]:
    """What ``data.split`` is, if there is something to say, and why; ``test``: the user's file, or folder, of that split.

    ``found.columns`` loses its group where recordings, which are cut into windows, can be kept whole, and groups cannot.
    Raises DataError for a test file that the reader refuses.
    """
    columns = found.columns
    if columns.window and not columns.id:
        return [Choice("data.split", "time", "of one recording, the end is held out")], []
    if not facts.groups:
        return [], []
    told = "GROUP" in columns.recordings
    named = bool(columns.group) or told
    shared = facts.groups & profile.groups_of(source, test, columns) if test and named else frozenset[str]()
    if not shared:
        what = repr(columns.group) if columns.group else "group in the paths" if told else "recording"
        why = "the test split has other groups, and so has the valid split" if test and named else "no group on both sides"
        said = f"no {what} stands on both sides of a split ({len(facts.groups):,} of them)"
        return [Choice("data.split", "group", why)], [said]
    both = f"{len(shared):,} of {len(facts.groups):,} groups are in the test split too, such as {quoted(min(shared))}"
    if columns.window and columns.group:
        found.columns = columns.model_copy(update={"group": ""})
        said = f"{both}: recordings are kept whole, and {columns.group!r} is not"
        return [Choice("data.split", "group", "no recording on both sides")], [said]
    said = f"{both}: the valid split is cut by class, so that both are of groups that are known"
    return [Choice("data.split", "stratified", both)], [said]


def held_out(groups: int) -> float:
    """The share of the training examples that chooses the checkpoint: a tenth, and where ``groups`` are kept whole at least two
    of them, since one may be odd; 0 if that is more than a quarter."""
    share = max(0.1, math.ceil(40 / groups) / 20) if groups else 0.1
    return share if share <= 0.25 else 0


def single(classes: Mapping[str, int]) -> list[str]:
    """What is said of classes with one example, of which none can be held out for the test."""
    alone = [name for name, count in classes.items() if count == 1]
    if not alone:
        return []
    said = f"class {alone[0]} has one example" if len(alone) == 1 else f"classes {some(sorted(alone))} have one example each"
    return [
        f"{said}, which cannot be trained on and tested: prepare refuses it; add some, leave it out, or name a test file: "
        "--test FILE"
    ]
