"""runs/NAME/ and one example -> which of its steps made the model say what it says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline import files
from pipeline.data.manifest import Manifest, Name
from pipeline.data.prepared import Prepared
from pipeline.data.store import Part, Store
from pipeline.errors import RunError, UserError, short, some
from pipeline.report.explain import deletion, gradients, picture
from pipeline.report.explain.deletion import Deletion
from pipeline.report.explain.gradients import Attribution
from pipeline.report.plots import canvas
from pipeline.run.folder import settings_of
from pipeline.stages.assembly import best_of
from pipeline.stages.terminal import streams
from pipeline.stages.terminal.answers import Explained


@dataclass(frozen=True)
class Asked:
    """Which example of which run, and which class is explained: the predicted one if that is empty."""

    folder: Path
    split: str
    index: int
    answer: str = ""


def explain(asked: Asked, output: Path | None) -> None:
    """Print and draw what each step and channel of one example adds to the logit of a class, and whether that is true."""
    if output is not None and output.suffix != ".png":
        raise UserError(f"--output {output}: must end in .png")
    model, _, prepared = best_of(asked.folder, settings_of(asked.folder))
    part, row = find(prepared, asked)
    names = list(prepared.manifest.class_names)
    values = Store(part, torch.device("cpu"), 0).take(torch.tensor([row]))[0][0].to(model.mean.dtype)  # (T, F)
    with torch.no_grad():
        chances = model(values[None]).softmax(1)[0]
    target = _class(names, asked.answer) if asked.answer else int(chances.argmax())
    baseline = gradients.baseline_of(prepared.manifest, values)
    found = gradients.attribute(model, values, baseline, target)
    deleted = deletion.delete(model, values, baseline, target, found.rescaled.sum(1))
    label, guess = names[int(part.labels[row])], names[int(chances.argmax())]
    said = Explained(
        run=str(asked.folder),
        split=asked.split,
        index=asked.index,
        label=label,
        prediction=guess,
        explained=names[target],
        probability=float(chances[target]),
        difference=found.difference,
        total=found.total,
        complete=found.is_complete,
        features=_features(prepared.manifest),
        attribution=found.values.tolist(),
        relevance=found.relevance.tolist(),
        areas=deleted.areas,
        true=deleted.is_true,
        picture=str(output or _place(asked)),
    )
    path = output or _place(asked)
    with files.disk_errors("the picture", path):
        files.make_folder(path.parent)
    with canvas.attempt(path):
        draw(path, prepared, values, found, deleted, _caption(asked, said))
    print("\n".join(lines(said, deleted)))
    print(f"written: {path}")
    streams.answer(said)


def find(prepared: Prepared, asked: Asked) -> tuple[Part, int]:
    """The split and the row of the example whose index is that of eval/predictions.csv. Raises UserError if there is none."""
    split: Name | None = next((name for name in prepared.manifest.parts if name == asked.split), None)
    if split is None:
        raise RunError(f"--split {asked.split}: expected one of {', '.join(prepared.manifest.parts)}")
    prepared.verify([split])
    part = prepared.part(split)
    rows = (part.index == asked.index).nonzero()
    if not len(rows):
        low, high = int(part.index.min()), int(part.index.max())
        raise RunError(
            f"--index {asked.index}: not in the {split} split, whose indices go from {low} to {high}; "
            "eval/predictions.csv lists those of the test split"
        )
    return part, int(rows[0])


def _class(names: list[str], answer: str) -> int:
    if answer not in names:
        raise UserError(f"--class {short(answer)}: no class of the model; it has {some(names)}")
    return names.index(answer)


def _features(manifest: Manifest) -> list[str]:
    """(F) the name of each value of a step."""
    return list(manifest.series.features) if manifest.series else [str(number) for number in range(manifest.features)]


def draw(path: Path, prepared: Prepared, values: Tensor, found: Attribution, deleted: Deletion, caption: str) -> None:
    """Draw an example (T, F) with its attribution, in the units of the file, or as the image that it was made from."""
    manifest, shown = prepared.manifest, found.values.numpy()
    if manifest.image is not None:
        order = manifest.places
        flat, colours = (array.reshape(-1)[order].reshape(manifest.image) for array in (values, found.values))
        picture.image(path, flat.numpy(), colours.numpy(), deleted, caption)
        return
    assert manifest.series
    own = values.numpy().astype(np.float64) + np.array(manifest.series.offsets)
    for place, channel in enumerate(manifest.series.masked):
        own[values.numpy()[:, len(manifest.series.channels) + place] > 0, channel] = np.nan  # it was missing, and filled
    picture.series(path, own, shown, _features(manifest), deleted, caption)


def _place(asked: Asked) -> Path:
    folder = asked.folder / "eval"
    return (folder if asked.split == "test" else folder / asked.split) / f"explain-{asked.index}.png"


def _caption(asked: Asked, said: Explained) -> str:
    return (
        f"{asked.split} #{said.index}: label {short(said.label, 30)}, prediction {short(said.prediction, 30)}\n"
        f"what speaks for {short(said.explained, 30)} ({said.probability:.0%}), compared with the mean of the train split"
    )


def lines(said: Explained, deleted: Deletion) -> list[str]:
    """What was found, in words."""
    per_step = np.array(said.attribution).sum(1) * np.array(said.relevance)
    first = np.argsort(-per_step, kind="stable")[:5].tolist()
    share = "" if said.complete else "; they should: do not trust them"
    areas = said.areas
    truth = (
        "sooner than at random: the attribution names steps that matter"
        if said.true
        else "no sooner than at random: do not trust the attribution"
    )
    return [
        f"{said.split} #{said.index}: label {said.label}, prediction {said.prediction}; explained: {said.explained} "
        f"({said.probability:.4f})",
        f"attributions add up to {said.total:.4f}, the logit differs from the baseline's by {said.difference:.4f}{share}",
        f"steps that speak most for it: {', '.join(map(str, first))} (from 0)",
        f"without them the probability falls {truth}",
        f"  area {areas['falling']:.4f}, at random {areas['random']:.4f}, in the opposite order {areas['rising']:.4f}; "
        f"no later than in {deleted.equalled} of {len(deleted.random)} random orders",
    ]
