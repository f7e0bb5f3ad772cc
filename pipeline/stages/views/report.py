"""runs/NAME/ -> runs/NAME/report.html."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from pipeline import config
from pipeline.config import Config, strict_yaml
from pipeline.data.prepared import Prepared
from pipeline.data.store import Store
from pipeline.deploy import bundle, weights_file
from pipeline.errors import UserError
from pipeline.model.classifier import RecurrentClassifier
from pipeline.report.page import choice, curves, dataset, examples, history, ink, measured, reasons, shown, weights, writing
from pipeline.run import marks
from pipeline.run.folder import settings_of
from pipeline.stages.assembly import best_of, prepared_of
from pipeline.stages.terminal import streams

R = TypeVar("R")
ROOM = 170_000, 80_000  # characters for examples of the test split, and of the train split
CHECKED = 12  # examples that the page computes again
INKED = 500  # images that a drawn one must look like


class Notes(list[str]):
    """Why something is not in the report, in the words of the errors that kept it out."""

    def attempt(self, made: Callable[..., R], *arguments: Any) -> R | None:
        """What ``made`` gives; None, and a note, if what it needs is missing or damaged."""
        try:
            return made(*arguments)
        except UserError as error:
            if str(error) not in self:
                self.append(str(error))
            return None


def report(folder: Path) -> None:
    """Write report.html into a run folder: all that is known of the run by now, in one file that needs no other."""
    settings, notes = settings_of(folder), Notes()
    torch.set_num_threads(settings.run.threads)  # many small computations: more threads would only wait for each other
    found = notes.attempt(measured.evaluation, folder)
    rows = notes.attempt(measured.guesses, folder, found) if found else None
    if found and (stale := marks.outdated(folder, found.step)):
        notes.append(f"an evaluation of the best checkpoint: {stale}")
    tries = notes.attempt(history.attempts, folder) or []
    best = notes.attempt(best_of, folder, settings)
    model, prepared = (best[0], best[2]) if best else (None, notes.attempt(prepared_of, folder, settings))
    names = list(prepared.manifest.class_names) if prepared else list(found.per_class) if found else []
    if rows and found and names != list(found.per_class):
        notes.append("the evaluation is of other classes than the prepared data")
        rows = None
    data: dict[str, Any] = {
        "classes": names,
        "bars": measured.headline(found)["bars"] if found else [],
        "curves": notes.attempt(curves.curves, folder, marks.marked(folder / "checkpoints", "best")),
        "reliability": measured.reliability(rows) if rows else None,
        "form": None,
        "lengths": None,
        "examples": {},
        "model": None,
        "explain": None,  # of some examples, by their names
    }
    reason = "its weights and its data are not both there"
    if prepared:
        notes.attempt(_examples, data, prepared, rows)
    if model and prepared and data["examples"]:
        reason = weights.refused(model)
        if not reason:
            data["model"] = notes.attempt(_computed, folder, model, prepared, data["examples"], best[1].step if best else 0)
            data["explain"] = notes.attempt(reasons.of, model, prepared.manifest, data["examples"])
    attempts = notes.attempt(history.trained, folder, tries) or []
    described = dataset.dataset(prepared) if prepared else None
    page = (
        _page(folder, settings)
        | _result(found, described)
        | {
            "best": marks.marked(folder / "checkpoints", "best"),
            "confusion": measured.confusion(rows, names) if rows else None,
            "classes": names,
            "dataset": described,
            "model": _model(settings, model),
            "no_model": reason,
            "attempts": attempts,
            "environment": history.environment(tries),
            "phases": history.phases(folder, prepared.folder if prepared else None, attempts),
            "hangs": history.hangs(folder),
            "exported": history.exported(folder),
            "notes": notes,
            "has": {key: bool(value) for key, value in data.items()},
        }
    )
    path = folder / "report.html"
    count = writing.write(path, page, data)
    for note in notes:
        print(f"not in the report: {note}")
    streams.say(f"report: {path} ({shown.size(count)}), one file for any browser")


def _result(found: measured.Evaluation | None, described: dict[str, Any] | None) -> dict[str, Any]:
    """What was measured, and what is to be known before it is believed; ``described``: the data."""
    warned, more = measured.warnings(found, described)
    return {
        "headline": measured.headline(found) if found else None,
        "per_class": measured.per_class(found) if found else [],
        "warnings": warned,
        "more_warnings": more,
        "remedy": found.remedy if found else "",
    }


def _page(folder: Path, settings: Config) -> dict[str, Any]:
    """What the run is, and how it was configured."""
    whole, changed = settings.model_dump(mode="json"), config.changed(settings)
    return {
        "name": folder.absolute().name,
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "changed": [(f"{section}.{key}", _value(value)) for section, keys in changed.items() for key, value in keys.items()],
        "whole": [(section, [(key, _value(value)) for key, value in keys.items()]) for section, keys in whole.items()],
        "yaml": strict_yaml.dump(changed).splitlines(),
        "folder": str(folder),
    }


def _value(value: Any) -> str:
    return strict_yaml.dump(value).removesuffix("\n").removesuffix("...").strip() if value != "" else "“”"


def _model(settings: Config, model: RecurrentClassifier | None) -> str:
    """The network in a few words."""
    options = settings.model
    kind = ("bidirectional " if options.bidirectional else "") + options.cell.upper()
    layers = f"{options.layers} layer{'s' * (options.layers > 1)} of {options.hidden} units"
    beside = f", {options.conv} convolution channels beside it" if options.conv else ""
    count = f", {sum(weight.numel() for weight in model.parameters()):,} parameters" if model else ""
    return f"{kind}, {layers}, {options.pooling} pooling{beside}{count}"


def _examples(data: dict[str, Any], prepared: Prepared, rows: measured.Guesses | None) -> None:
    """Embed examples of the test and of the train split, as many as there is room for."""
    manifest, classes = prepared.manifest, len(prepared.manifest.class_names)
    prepared.verify(["train", "test"])
    parts = {name: prepared.part(name) for name in manifest.parts}
    album = examples.Album(ROOM[0])
    if rows is not None and "test" in parts and len(rows.labels) == len(parts["test"].labels):
        album.add("test", parts["test"], choice.of_test(rows, classes), rows)
    album.room += ROOM[1]
    train = parts["train"]
    album.add("train", train, choice.of_train(train.labels.numpy(), classes, 8 if manifest.image else 3))
    data["form"], data["examples"] = examples.form(manifest), album.items
    if manifest.image is None:
        data["lengths"] = dataset.lengths(parts)
        return
    taken = torch.arange(min(INKED, len(train.labels)))
    flat = Store(train, torch.device("cpu"), 0).take(taken)[0].reshape(len(taken), -1)[:, manifest.places]
    data["form"]["ink"] = ink.ink(flat.reshape(-1, *manifest.image).numpy(), *manifest.value_range)


def _computed(
    folder: Path, model: RecurrentClassifier, prepared: Prepared, items: dict[str, dict[str, Any]], step: int
) -> dict[str, Any]:
    """The model as the page computes it, and the logits that the page holds its own against: those of the export if it is of
    these weights, else of the model."""
    run = weights_file.runner(model)
    source = "the trained model"
    if (folder / "export").is_dir():
        exported = bundle.load(folder / "export")
        if exported.facts.step == step:
            run, source = exported.run, exported.path.name
    chosen = list(items)[:: max(1, len(items) // CHECKED)][:CHECKED]
    logits = []
    for name in chosen:
        values = np.frombuffer(shown.decoded(items[name]["values"]), np.uint8 if items[name]["bytes"] else "<f4")
        one = values.astype(np.float32).reshape(1, items[name]["steps"], -1)
        logits.append(run(one, np.array([one.shape[1]]))[0])
    return weights.embedded(model) | {"checks": weights.checks(chosen, np.stack(logits), source)}
