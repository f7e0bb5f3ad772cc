"""runs/NAME/ -> runs/NAME/export/, and the summary of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from pipeline import export as exporting
from pipeline import runfolder
from pipeline.config import Config, Data
from pipeline.data.batches import Store
from pipeline.data.prepared import Manifest
from pipeline.errors import RunError
from pipeline.stages.parts import best_of, model_arguments

COMPARED_MB = 256  # of test examples, padded to the longest, that every file is compared on; all of them where they fit


def export(folder: Path) -> None:
    """Write the best weights of a run as files that other software loads, each checked on the test part."""
    settings = runfolder.settings_of(folder)
    with runfolder.writer(folder):
        model, found, prepared = best_of(folder, settings)
        test, measured = prepared.part("test"), _measured(folder)
        own = {"step": found.step, "test": measured if measured and measured["step"] == found.step else None}
        store = Store(test, torch.device("cpu"), 0)
        most = max(1, COMPARED_MB * 2**20 // (store.longest * prepared.manifest.features * 4))
        values, _, lengths = store.take(torch.arange(min(store.count, most)))
        examples = exporting.Examples(values, lengths)
        result = exporting.export(
            model,
            model_arguments(settings, prepared),
            facts_of(settings, prepared.manifest) | own,
            examples,
            settings.export.formats,
            settings.export.tolerance,
            folder / "export",
        )
    for check in result.values():
        differences = f"{check['prediction_differences']} of {check['examples']} predictions differ"
        largest = f"largest difference of a logit {check['largest_difference']:.1e}"
        print(f"{folder / 'export' / check['file']}: {differences} from the original's, {largest}")
    print(f"next: {folder / 'export' / 'README.md'} shows how to use them")


def facts_of(settings: Config, manifest: Manifest) -> dict[str, Any]:
    """What an export says of the data that its model was trained on and of how it was trained, as JSON values."""
    return {
        "class_names": list(manifest.class_names),
        "length": manifest.length,
        "source": manifest.source,
        "view": settings.data.view if manifest.image else None,
        "value_range": list(manifest.value_range),
        "series": _series_facts(settings.data, manifest),
        "image": manifest.image,
        "order": manifest.order,
        "configuration": settings.model_dump(mode="json", include={"optim", "train"}),
    }


def _series_facts(data: Data, manifest: Manifest) -> dict[str, Any] | None:
    """What a program needs to make the model's input of a series: names, policies, what missing values become, columns."""
    if manifest.series is None:
        return None
    policies = data.model_dump(include={"missing", "max_length", "truncate", "resample"})
    columns = data.model_dump(mode="json", include={"layout", "id", "time", "label", "group", "channels"})
    found = manifest.series.model_dump(mode="json")
    return found | {"features": list(manifest.series.features)} | policies | {"columns": columns}


def summary(folder: Path) -> None:
    """Print what a run gave, where it lies and what to type next."""
    settings = runfolder.settings_of(folder)
    measured = _measured(folder)
    if measured is None:
        raise RunError(f"{folder}: not evaluated yet; type: make eval RUN={folder}")
    print(f"{measured['split']} accuracy  {measured['accuracy']:.4f} on {measured['count']} examples")
    print(f"run folder     {folder}")
    print(f"pictures       {folder / 'eval'}")
    print(f"model          {folder / 'export'}")
    other = "make all CONFIG=configs/mnist.yaml, or " if settings.data.source == "digits" else ""
    print(f"next           {other}read {folder / 'export' / 'README.md'} to use the model")


def _measured(folder: Path) -> dict[str, Any] | None:
    """What the evaluation on the test part gave, if there was one. Raises RunError if its file is damaged."""
    path = folder / "eval" / "metrics.json"
    try:
        measured = json.loads(path.read_text())
        return {name: measured[name] for name in ("split", "step", "count", "accuracy", "loss")}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{path}: cannot be read; type: make eval RUN={folder}") from None
