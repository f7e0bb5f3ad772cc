"""runs/NAME/ -> runs/NAME/eval/."""

from __future__ import annotations

import csv
import io
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline import files
from pipeline.config import Data
from pipeline.data.manifest import Name
from pipeline.data.prepared import Prepared
from pipeline.data.sources import progress
from pipeline.data.store import Part, Store, resident_limit
from pipeline.distributed import collectives, world
from pipeline.errors import DataError, RunError, quoted, short
from pipeline.report.plots import canvas
from pipeline.report.plots.evaluation import confusion, reliability
from pipeline.report.plots.examples import draw_examples
from pipeline.report.plots.training import curves
from pipeline.run import advice, record
from pipeline.run.folder import settings_of, writer
from pipeline.run.trackers import products, tracker
from pipeline.run.trackers.view import Evaluation, Example
from pipeline.stages.assembly import best_of
from pipeline.stages.terminal import streams
from pipeline.stages.terminal.answers import Evaluated
from pipeline.training import baselines, evaluation, metrics

if TYPE_CHECKING:
    from accelerate import Accelerator

SHOWN = 10  # examples printed at the end
MISTAKES = 24  # pictures of confident mistakes
TOLD = 2000  # examples that trackers get
OVERFITTED = 0.5  # of the loss: below it the training examples are known much better than others
LISTED = 20  # classes printed at the end: those of the least F1


def evaluate(folder: Path, split: str = "test", met: Accelerator | None = None) -> None:
    """Measure the best weights of a run on a whole part of its data, exactly, and write eval/ and a row of results.csv.

    ``met``: the processes of this launch, where they have met already.
    """
    settings = settings_of(folder)
    with ExitStack() as stack:
        accelerator = met or stack.enter_context(world.world(settings.run))
        collectives.on_main(lambda: stack.enter_context(writer(folder)))
        model, found, prepared = collectives.together(lambda: best_of(folder, settings))
        part_name = next((name for name in prepared.manifest.parts if name == split), None)
        if part_name is None:
            raise RunError(f"--split {split}: expected one of {', '.join(prepared.manifest.parts)}")
        verified = [part_name] if accelerator.is_local_main_process else []
        collectives.patiently(lambda: prepared.verify(verified))
        part = prepared.part(part_name)
        limit = resident_limit(settings.data.resident_limit_mb, accelerator.device)
        store = Store(part, accelerator.device, limit)
        with progress.Bar("evaluating", store.count, " examples") as bar:
            rows = evaluation.evaluate(model.to(accelerator.device), store, progressed=bar.add)
        if not accelerator.is_main_process:
            return
        names = list(prepared.manifest.class_names)
        summary = metrics.measures(rows.labels, rows.predictions, rows.confidence, rows.losses, names)
        summary = {"split": split, "step": found.step} | summary
        known = prepared.manifest.parts["train"].class_counts
        summary |= baselines.compare(rows.labels, rows.predictions, known, names)
        summary["nearest_neighbour_accuracy"] = nearest(prepared, part_name)
        doubts = warnings_of(summary, [names[guess] for guess in np.unique(rows.predictions)])
        better = remedy(folder, summary, settings.data) if doubts else ""
        write(folder, summary | {"warnings": doubts, "remedy": better}, rows, part, prepared)
        show(rows, names)
        streams.say(f"{split}: {summary['count']} examples, accuracy {summary['accuracy']:.4f}, loss {summary['loss']:.4f}")
        print("\n".join(compared(summary)))
        for line in doubts:
            print(f"warning: {line}")
        cells = metrics.confusion_cells(rows.labels, rows.predictions, len(names))
        pictures = draw(folder, summary, rows, cells, part, prepared)
        views = tracker.start(settings, folder)
        with tempfile.TemporaryDirectory() as drawn:
            views.use(products.of_checkpoint(found))
            scores = {f"{split}/{name}": value for name, value in summary.items() if isinstance(value, int | float)}
            examples = told(rows, part, prepared, part_name, Path(drawn)) if views else []
            views.log_evaluation(Evaluation(scores | {"step": found.step}, cells, names, pictures, examples, split))
            views.produce(products.of_evaluation(place(folder, split), split, found.step))
            views.finish()
        other = f"a better model: {better}; this one, all the same: " if better else ""
        print(f"written: {place(folder, split)}\nnext: {other}{advice.of_run('export', folder)}")
        more = {"run": str(folder), "warnings": doubts, "written": str(place(folder, split))}
        streams.answer(Evaluated.model_validate(summary | more))


def place(folder: Path, split: str) -> Path:
    """Where an evaluation is written: eval/, and eval/SPLIT/ for another split than test."""
    return folder / "eval" if split == "test" else folder / "eval" / split


def write(folder: Path, summary: dict[str, Any], rows: evaluation.Rows, part: Part, prepared: Prepared) -> None:
    """Write eval/ (numbers, a row an example) and add a row to results.csv."""
    target = place(folder, summary["split"])
    classes = prepared.manifest.class_names
    with files.disk_errors("the evaluation", target):
        files.make_folder(target)
        files.write_json(target / "metrics.json", summary)
        table = zip(part.index.tolist(), rows.labels, rows.predictions, rows.confidence, strict=True)
        text = io.StringIO()
        rows_of_text = csv.writer(text, lineterminator="\n")  # which quotes a class name with a comma
        rows_of_text.writerow(["index", "label", "prediction", "probability"])
        rows_of_text.writerows([index, classes[label], classes[guess], f"{sure:.6f}"] for index, label, guess, sure in table)
        files.write_text(target / "predictions.csv", text.getvalue())
        results = folder / "results.csv"
        columns = ("split", "step", "count", "loss", "accuracy", "macro_f1", "expected_calibration_error")
        new = not results.exists()
        with results.open("a", newline="") as file:
            results_csv = csv.writer(file)
            if new:
                results_csv.writerow(["time", *columns])
            results_csv.writerow([time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), *(summary[column] for column in columns)])


def draw(
    folder: Path, summary: dict[str, Any], rows: evaluation.Rows, cells: Any, part: Part, prepared: Prepared
) -> dict[str, Path]:
    """The pictures of an evaluation, by name, with its ``metrics.confusion_cells``. One that fails is a warning, and what
    another evaluation drew is removed."""
    target = place(folder, summary["split"])
    classes = prepared.manifest.class_names
    pictures = {name: target / f"{name}.png" for name in ("confusion", "curves", "reliability", "mistakes")}
    with files.disk_errors("the pictures", target):
        for path in pictures.values():
            if not path.is_dir():
                path.unlink(missing_ok=True)
    of = f"{summary['split']} split: accuracy {summary['accuracy']:.2%}, {summary['count']:,} examples"
    with canvas.attempt(pictures["confusion"]):
        confusion(pictures["confusion"], cells, classes, of)
    if (folder / "metrics.jsonl").exists():  # not if it was stopped before its first record
        with canvas.attempt(pictures["curves"]):
            curves(pictures["curves"], record.each(folder / "metrics.jsonl"), summary["step"], of)
    with canvas.attempt(pictures["reliability"]):
        reliability(pictures["reliability"], **metrics.calibration(rows.labels == rows.predictions, rows.confidence), title=of)
    wrong = np.flatnonzero(rows.labels != rows.predictions)
    count = len(wrong)
    wrong = wrong[np.argsort(-rows.confidence[wrong], kind="stable")][:MISTAKES]
    if count:
        caption = (
            f"{len(wrong)} of {count:,} mistakes in the {summary['split']} split, the most confident first\n"
            "label → prediction, its probability (that of the label), index in predictions.csv"
        )
        with canvas.attempt(pictures["mistakes"]):
            titles = [_mistake(rows, row, classes, int(part.index[row])) for row in wrong.tolist()]
            draw_examples(pictures["mistakes"], prepared, summary["split"], wrong.tolist(), titles, caption)
    return {name: path for name, path in pictures.items() if path.is_file()}


def told(rows: evaluation.Rows, part: Part, prepared: Prepared, name: Name, folder: Path) -> list[Example]:
    """Examples for the trackers, the most confident mistakes first; the first are drawn into ``folder``."""
    classes, examples = prepared.manifest.class_names, []
    order = np.lexsort((-rows.confidence, rows.labels == rows.predictions))[:TOLD].tolist()
    for place, row in enumerate(order):
        index, path = int(part.index[row]), folder / f"{place}.png"
        if place < MISTAKES:
            with canvas.attempt(path):
                draw_examples(path, prepared, name, [row], [_mistake(rows, row, classes, index)], "")
        label, guess = classes[rows.labels[row]], classes[rows.predictions[row]]
        examples.append(Example(index, label, guess, float(rows.confidence[row]), path if path.is_file() else None))
    return examples


def _mistake(rows: evaluation.Rows, row: int, classes: Sequence[str], index: int) -> str:
    label, guess = (short(classes[number], 20) for number in (rows.labels[row], rows.predictions[row]))
    return f"{label} → {guess}\n{rows.confidence[row]:.0%} ({np.exp(-rows.losses[row]):.0%})  #{index}"


def show(rows: evaluation.Rows, names: list[str]) -> None:
    """Ten predictions above ten true labels."""
    guesses = [names[guess] for guess in rows.predictions[:SHOWN]]
    labels = [names[label] for label in rows.labels[:SHOWN]]
    width = max(map(len, guesses + labels))
    for what, words in (("prediction", guesses), ("label", labels)):
        print(f"{what:10}  " + " ".join(f"{word:>{width}}" for word in words))


def nearest(prepared: Prepared, split: Name) -> float | None:
    """The accuracy of the nearest training example's label; None for the training split, or if the search takes too long."""
    counts, values = prepared.manifest.parts, prepared.manifest.length * prepared.manifest.features
    if split == "train" or not baselines.is_searched(counts["train"].count, counts[split].count, values):
        return None
    try:
        prepared.verify(["train"])
        known, asked = (Store(prepared.part(name), torch.device("cpu"), 0) for name in ("train", split))
        return baselines.nearest_neighbour(known, asked, *map(torch.from_numpy, prepared.manifest.normalization("auto")))
    except (DataError, MemoryError) as error:  # what was measured does not depend on it
        print(f"warning: the nearest training examples were not looked for: {error or 'too little memory'}")
        return None


def compared(summary: Mapping[str, Any]) -> list[str]:
    """What an accuracy is held against, and the measures of each class, in lines."""
    beside = [summary[key] for key in ("largest_class", "largest_class_accuracy", "nearest_neighbour_accuracy")]
    lines = [
        f"  95 % interval  {summary['accuracy_low']:.4f} to {summary['accuracy_high']:.4f}; macro F1 {summary['macro_f1']:.4f}",
        f"  {baselines.said(*beside)}",
    ]
    measures = [(short(name, 30), found) for name, found in summary["per_class"].items()]
    if len(measures) > LISTED:
        measures.sort(key=lambda measured: measured[1]["f1"])
    width = max(len("class"), *(len(name) for name, _ in measures[:LISTED]))
    lines.append(f"  {'class':{width}}  precision  recall      F1  examples")
    for name, found in measures[:LISTED]:
        lines.append(
            f"  {name:{width}}  {found['precision']:9.4f}  {found['recall']:6.4f}  {found['f1']:6.4f}  {found['support']:8}"
        )
    if len(measures) > LISTED:
        lines.append(f"  and {len(measures) - LISTED} classes of a higher F1: metrics.json has them")
    return lines


def remedy(folder: Path, summary: Mapping[str, Any], data: Data) -> str:
    """What to try for a better model: another thing where the training examples were learned and these were not."""
    path, loss = folder / "metrics.jsonl", summary["loss"]
    records = record.each(path) if path.exists() else ()  # not if it was stopped before its first one
    losses = [found["train/loss"] for found in records if found.get("train/loss") and found["step"] <= summary["step"]]
    if losses and losses[-1] < OVERFITTED * loss:
        said = f"it knows its training examples (loss {losses[-1]:.3g}) and not these ({loss:.3g}): more of them, "
        said += "data.z_norm=true if levels and scales mean nothing, " * (data.series and not data.z_norm)
        return said + "distortions or dropout (docs/training.md)"
    return "more epochs, or the settings of docs/training.md"


def warnings_of(summary: Mapping[str, Any], answers: Sequence[str]) -> list[str]:
    """What says that a model is useless; ``answers``: the classes that it predicts at all."""
    said = []
    if sum(found["support"] > 0 for found in summary["per_class"].values()) == 1:
        return [f"the {summary['split']} split holds one class only: it cannot tell a good model from a useless one"]
    if len(answers) == 1:
        said.append(f"the model predicts one class only: {quoted(answers[0])}")
    largest, neighbour = summary["largest_class_accuracy"], summary["nearest_neighbour_accuracy"]
    if summary["accuracy_low"] <= largest:
        always = quoted(summary["largest_class"])
        said.append(f"the accuracy is not clearly above {largest:.4f}, that of always answering {always}")
    elif neighbour is not None and summary["accuracy_high"] < neighbour:
        said.append(f"the nearest training example's label is right more often ({neighbour:.4f})")
    return said
