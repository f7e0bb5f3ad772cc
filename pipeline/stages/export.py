"""runs/NAME/ -> runs/NAME/export/, and the summary of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline import export as exporting
from pipeline import runfolder
from pipeline.errors import RunError
from pipeline.stages.parts import best_of, model_arguments


def export(folder: Path) -> None:
    """Write the best weights of a run as files that other software loads, each checked on the test part."""
    settings = runfolder.settings_of(folder)
    with runfolder.writer(folder):
        model, found, prepared = best_of(folder, settings)
        manifest, test = prepared.manifest, prepared.part("test")
        facts = {
            "class_names": list(manifest.class_names),
            "length": manifest.length,
            "source": manifest.source,
            "view": settings.data.view,
            "value_range": list(manifest.value_range),
            "image": manifest.image,
            "order": manifest.order,
            "step": found.step,
            "test": _measured(folder, found.step),
            "configuration": settings.model_dump(mode="json", include={"optim", "train"}),
        }
        examples = exporting.Examples(test.values, None)
        result = exporting.export(
            model,
            model_arguments(settings, prepared),
            facts,
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


def summary(folder: Path) -> None:
    """Print what a run gave, where it lies and what to type next."""
    settings = runfolder.settings_of(folder)
    path = folder / "eval" / "metrics.json"
    if not path.is_file():
        raise RunError(f"{folder}: not evaluated yet; type: make eval RUN={folder}")
    measured = json.loads(path.read_text())
    print(f"{measured['split']} accuracy  {measured['accuracy']:.4f} on {measured['count']} examples")
    print(f"run folder     {folder}")
    print(f"pictures       {folder / 'eval'}")
    print(f"model          {folder / 'export'}")
    other = "make all CONFIG=configs/mnist.yaml, or " if settings.data.source == "digits" else ""
    print(f"next           {other}read {folder / 'export' / 'README.md'} to use the model")


def _measured(folder: Path, step: int) -> dict[str, Any] | None:
    """Accuracy of these weights on the test part, if it was measured."""
    path = folder / "eval" / "metrics.json"
    if not path.is_file():
        return None
    measured = json.loads(path.read_text())
    if measured["step"] != step:
        return None
    return {name: measured[name] for name in ("count", "accuracy", "loss")}
