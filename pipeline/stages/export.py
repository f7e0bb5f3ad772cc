"""runs/NAME/ -> runs/NAME/export/."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

from pipeline import config, files
from pipeline.config import Config
from pipeline.data.manifest import Manifest, SeriesInfo
from pipeline.data.store import Store
from pipeline.deploy import exporter
from pipeline.deploy.facts import Arguments, Facts, Measured, SeriesFacts
from pipeline.run.folder import settings_of, writer
from pipeline.run.trackers import products, tracker
from pipeline.stages.assembly import best_of, model_arguments, test_metrics

COMPARED_MB = 256  # of test examples, padded to the longest, that every file is compared on; all of them where they fit


def export(folder: Path) -> None:
    """Write the best weights of a run as files that other software loads, each checked on the test split."""
    settings = settings_of(folder)
    with writer(folder):
        model, found, prepared = best_of(folder, settings)
        prepared.verify(["test"])
        test, measured = prepared.part("test"), test_metrics(folder)
        own = Measured(**measured) if measured and measured["step"] == found.step else None  # of these weights
        facts = facts_of(settings, prepared.manifest, found.step, own)
        store = Store(test, torch.device("cpu"), 0)
        most = max(1, COMPARED_MB * 2**20 // (store.longest * prepared.manifest.features * 4))
        values, _, lengths = store.take(torch.arange(min(store.count, most)))
        examples = exporter.Examples(values, lengths)
        result = exporter.export(
            model,
            Arguments(**model_arguments(settings, prepared)),
            facts,
            examples,
            settings.export.formats,
            settings.export.tolerance,
            folder / "export",
        )
        for stale in folder.glob(".export.*"):  # of an export that was killed
            with suppress(OSError):
                files.remove(stale)
        views = tracker.start(settings, folder)
        views.use(products.of_checkpoint(found))
        if views:
            views.produce(products.of_export(folder / "export", found.step))
        views.finish()
    for check in result.values():
        differences = f"{check['prediction_differences']} of {check['examples']} predictions differ"
        largest = f"largest difference of a logit {check['largest_difference']:.1e}"
        print(f"{folder / 'export' / check['file']}: {differences} from the original's, {largest}")
    print(f"next: {folder / 'export' / 'README.md'} shows how to use them")


def facts_of(settings: Config, manifest: Manifest, step: int | None = None, test: Measured | None = None) -> Facts:
    """What an export says of the data that its model was trained on and of how it was trained.

    ``step``: of the checkpoint; ``test``: what an evaluation of it on the test split gave.
    """
    data, series = settings.data, None
    if manifest.series:
        columns = config.Columns(**data.of(config.Columns))
        series = SeriesFacts(**manifest.series.of(SeriesInfo), **data.of(config.Policies), columns=columns)
    return Facts(
        class_names=manifest.class_names,
        length=manifest.length,
        source=manifest.source,
        view=data.view if manifest.image else None,
        value_range=manifest.value_range,
        series=series,
        image=manifest.image,
        order=manifest.order,
        configuration=settings.model_dump(mode="json", include={"optim", "train"}),
        step=step,
        test=test,
    )
