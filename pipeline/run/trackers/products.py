"""What a stage takes and makes, as wandb's artifacts: prepared data -> checkpoint -> export, evaluation.

Of the data only its manifest is sent, and no optimiser state of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.data.prepared import Prepared
from pipeline.run.checkpoints import Checkpoint

OF_A_CHECKPOINT = ("model.safetensors", "ema.safetensors", "state.json", "manifest.json")


@dataclass(frozen=True)
class Product:
    """``name``: of the artifact, behind that of the run unless it is ``shared``; ``contents``: a file, or a text, by its name
    in the artifact; ``facts``: its metadata."""

    kind: str
    name: str
    contents: Mapping[str, Path | str]
    facts: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ("latest",)
    shared: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.contents.values() if isinstance(path, Path))


def of_data(prepared: Prepared) -> Product:
    """The prepared data of a run, by its manifest, which has the SHA-256 of each of its files; without the places of the raw
    files on this machine."""
    manifest = prepared.manifest
    text = manifest.model_dump_json(exclude={"settings"}, indent=2)
    facts = {"digest": prepared.digest, "source": manifest.source, "classes": len(manifest.class_names)}
    facts |= {part: info.count for part, info in manifest.parts.items()}
    return Product("dataset", prepared.folder.name, {"manifest.json": text}, facts, shared=True)


def of_checkpoint(found: Checkpoint) -> Product:
    """The weights of a checkpoint, the best of its run, and what they were trained on."""
    held = {name: path for name in OF_A_CHECKPOINT if (path := found.folder / name).is_file()}
    facts = {"step": found.step, "data": found.facts.data}
    return Product("model", "checkpoint", held, facts, ("latest", "best", f"step-{found.step}"))


def of_export(folder: Path, step: int) -> Product:
    """The files of an export, with the SHA-256 of each."""
    return Product("model", "export", _within(folder), {"step": step} | _sums(folder), ("latest", "best", f"step-{step}"))


def of_evaluation(folder: Path, split: str, step: int) -> Product:
    """What an evaluation wrote: numbers and predictions."""
    names = ("metrics.json", "predictions.csv")
    held = {name: path for name in names if (path := folder / name).is_file()}
    return Product("evaluation", "evaluation", held, {"split": split, "step": step}, ("latest", f"{split}-step-{step}"))


def _within(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _sums(folder: Path) -> dict[str, Any]:
    return {"sha256": {name: files.sha256(path) for name, path in _within(folder).items()}}
