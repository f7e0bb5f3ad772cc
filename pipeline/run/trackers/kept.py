"""wandb/run.json in a run folder: which run of wandb it is, over attempts and stages."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipeline import files

PLACE = Path("wandb", "run.json")


class Kept(BaseModel):
    """What attempts tell those after them. ``evaluations``: the line of metrics.jsonl that each evaluation came before.

    ``told``: the user was told how an offline run is looked at.
    """

    model_config = ConfigDict(strict=True)

    id: str = ""
    project: str = ""
    entity: str = ""
    evaluations: list[int] = []
    told: bool = False

    def names(self) -> dict[str, str]:
        """Those of the fields that are arguments of ``wandb.init``, and said."""
        found = {"id": self.id, "project": self.project, "entity": self.entity}
        return {name: value for name, value in found.items() if value}


def load(folder: Path) -> Kept:
    """What an earlier attempt at the run in ``folder`` kept; nothing where none did, or where it is damaged."""
    try:
        return files.read_json(folder / PLACE, Kept)
    except (OSError, ValueError):
        return Kept()


def save(folder: Path, kept: Kept) -> None:
    """Keep it for the attempts after this one. Raises OSError."""
    files.make_folder((folder / PLACE).parent)
    files.write_json(folder / PLACE, kept.model_dump())
