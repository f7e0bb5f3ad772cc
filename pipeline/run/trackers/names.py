"""What a run is called in wandb: as ``track`` says, where that is silent as the environment says, else as its folder.

The trainings of several seeds or folds are runs of one group, each with a name and an id of its own.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pipeline.config import Track

OF_KEYS = {  # which a key of ``track`` goes before
    "project": "WANDB_PROJECT",
    "name": "WANDB_NAME",
    "tags": "WANDB_TAGS",
    "entity": "WANDB_ENTITY",
    "notes": "WANDB_NOTES",
    "group": "WANDB_RUN_GROUP",
    "id": "WANDB_RUN_ID",
}
OTHERS = {"job_type": "WANDB_JOB_TYPE", "dir": "WANDB_DIR", "resume": "WANDB_RESUME"}  # which go before what is ours
OWN = ("WANDB_MODE", "WANDB_BASE_URL")  # of which nothing is said here
MEMBERS = {"seed": r"seed-(\d+)", "fold": r"(\d+)"}  # the folders of several trainings of one configuration
LONGEST = 128  # characters of a name, which wandb's server takes


def of(track: Track, folder: Path, kept: dict[str, str]) -> dict[str, Any]:
    """The arguments of ``wandb.init`` for the run in ``folder``; without those that the environment decides.

    ``kept``: what an earlier attempt went by, which counts where file and environment are silent.
    """
    kind, number = member(folder)
    own = {"seed": folder.parent, "fold": folder.parent.parent, "train": folder}[kind]
    wanted = {"project": track.project, "name": track.name or own.name, "tags": track.tags} | {"job_type": kind}
    wanted |= {"dir": str(folder), "resume": "allow"} | kept
    wanted |= {name: value for name in ("entity", "notes", "group", "id") if (value := getattr(track, name))}
    if _written(track, "project"):
        wanted["project"] = track.project
    found = {name: value for name, value in wanted.items() if name not in _decided(track)}
    if number:  # one name, group or id for all of them would make one run of them
        name, group, base = (_value(track, one) for one in ("name", "group", "id"))
        found |= {"name": f"{name or own.name}-{kind}-{number}", "group": group or own.name}
        found |= {"id": f"{base}-{kind}-{number}"} if base else {"id": kept["id"]} if "id" in kept else {}
    return found | {one: str(found[one])[:LONGEST] for one in ("name", "group") if one in found}


def member(folder: Path) -> tuple[str, str]:
    """Of which kind a training is, ``train``, ``seed`` or ``fold``, and the number of one of several."""
    for kind, pattern in MEMBERS.items():
        found = re.fullmatch(pattern, folder.name)
        if found and (kind == "seed" or folder.parent.name == "folds"):
            return kind, found[1]
    return "train", ""


def said(track: Track) -> list[str]:
    """Lines about the variables of the environment that decide, and about those that do not."""
    if "wandb" not in track.backends:
        return []
    decided = [(OF_KEYS | OTHERS)[name] for name in _decided(track)] + [name for name in OWN if os.environ.get(name)]
    lines = [f"wandb: {', '.join(decided)} of the environment decide{'s' * (len(decided) == 1)}"] if decided else []
    unheard = [name for name, variable in OF_KEYS.items() if _written(track, name) and os.environ.get(variable)]
    return lines + [f"wandb: track.{name} decides, and not {OF_KEYS[name]} of the environment" for name in unheard]


def is_off() -> bool:
    """Whether the environment switches wandb off."""
    return os.environ.get("WANDB_MODE") == "disabled" or os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes")


def clean(name: str) -> str:
    """A name as that of an artifact may be."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:100]


def _value(track: Track, name: str) -> str:
    """What a key says, or the environment in its place; empty for neither."""
    return str(getattr(track, name) or os.environ.get(OF_KEYS[name], ""))


def _decided(track: Track) -> list[str]:
    variables = {name: variable for name, variable in OF_KEYS.items() if not _written(track, name)} | OTHERS
    return [name for name, variable in variables.items() if os.environ.get(variable)]


def _written(track: Track, name: str) -> bool:
    """Whether a key is other than its default: a run folder has all keys, and evaluates as it was trained."""
    return bool(getattr(track, name) != Track.model_fields[name].default)
