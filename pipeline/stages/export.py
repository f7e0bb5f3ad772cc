"""runs/NAME/ -> runs/NAME/export/."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from pipeline import files
from pipeline.config import Config, Data
from pipeline.data.manifest import Manifest
from pipeline.data.store import Store
from pipeline.deploy import exporter
from pipeline.run.folder import settings_of, writer
from pipeline.stages.assembly import best_of, model_arguments, test_metrics

COMPARED_MB = 256  # of test examples, padded to the longest, that every file is compared on; all of them where they fit


def export(folder: Path) -> None:
    """Write the best weights of a run as files that other software loads, each checked on the test part."""
    settings = settings_of(folder)
    with writer(folder):
        model, found, prepared = best_of(folder, settings)
        test, measured = prepared.part("test"), test_metrics(folder)
        own = {"step": found.step, "test": measured if measured and measured["step"] == found.step else None}
        store = Store(test, torch.device("cpu"), 0)
        most = max(1, COMPARED_MB * 2**20 // (store.longest * prepared.manifest.features * 4))
        values, _, lengths = store.take(torch.arange(min(store.count, most)))
        examples = exporter.Examples(values, lengths)
        result = exporter.export(
            model,
            model_arguments(settings, prepared),
            facts_of(settings, prepared.manifest) | own,
            examples,
            settings.export.formats,
            settings.export.tolerance,
            folder / "export",
        )
        for stale in folder.glob(".export.*"):  # of an export that was killed
            with suppress(OSError):
                files.remove(stale)
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
