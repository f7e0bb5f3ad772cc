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
        manifest, test, test_scores = prepared.manifest, prepared.part("test"), _measured(folder)
        facts = {
            "class_names": list(manifest.class_names),
            "length": manifest.length,
            "source": manifest.source,
            "view": settings.data.view,
            "value_range": list(manifest.value_range),
            "image": manifest.image,
            "order": manifest.order,
            "step": found.step,
            "test": test_scores if test_scores and test_scores["step"] == found.step else None,
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
