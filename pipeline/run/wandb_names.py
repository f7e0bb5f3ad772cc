"""What a run is called in wandb: as ``track`` says, where that is silent as the environment says, else as its folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pipeline.config import Track

OF_KEYS = {"project": "WANDB_PROJECT", "name": "WANDB_NAME", "tags": "WANDB_TAGS"}  # which a key of ``track`` goes before
OTHERS = {"group": "WANDB_RUN_GROUP", "job_type": "WANDB_JOB_TYPE", "dir": "WANDB_DIR"}  # which go before what is ours
OWN = ("WANDB_ENTITY", "WANDB_NOTES", "WANDB_MODE", "WANDB_RUN_ID", "WANDB_RESUME")  # of which nothing is said here


def of(track: Track, folder: Path, job: str) -> dict[str, Any]:
    """The arguments of ``wandb.init`` for the run in ``folder``; without those that the environment decides."""
    wanted = {"project": track.project, "name": track.name or folder.name, "tags": track.tags}
    wanted |= {"group": folder.name, "job_type": job, "dir": str(folder)}
    return {name: value for name, value in wanted.items() if name not in _decided(track)}


def said(track: Track) -> list[str]:
    """Lines about the variables of the environment that decide, and about those that do not."""
    if "wandb" not in track.backends:
        return []
    decided = [(OF_KEYS | OTHERS)[name] for name in _decided(track)] + [name for name in OWN if os.environ.get(name)]
    lines = [f"wandb: {', '.join(decided)} of the environment decide{'s' * (len(decided) == 1)}"] if decided else []
    unheard = [name for name, variable in OF_KEYS.items() if _written(track, name) and os.environ.get(variable)]
    return lines + [f"wandb: track.{name} decides, and not {OF_KEYS[name]} of the environment" for name in unheard]


def _decided(track: Track) -> list[str]:
    variables = {name: variable for name, variable in OF_KEYS.items() if not _written(track, name)} | OTHERS
    return [name for name, variable in variables.items() if os.environ.get(variable)]


def _written(track: Track, name: str) -> bool:
    """Whether a key is other than its default: a run folder has all keys, and evaluates as it was trained."""
    return bool(getattr(track, name) != Track.model_fields[name].default)
