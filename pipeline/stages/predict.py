"""runs/NAME/export/ and a file of the user's -> what the model says of each example in it."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from pipeline import files
from pipeline.data.sources import progress
from pipeline.deploy import bundle, inputs, outputs, predictor
from pipeline.deploy.bundle import Exported
from pipeline.deploy.inputs import Block
from pipeline.errors import UserError, written
from pipeline.stages.terminal import streams
from pipeline.stages.terminal.answers import Predicted


@dataclass
class Tally:
    """What is said at the end: examples, those with a known and with an unknown label, hits, those with far values."""

    examples: int = 0
    labelled: int = 0
    hits: int = 0
    unknown: int = 0
    far: int = 0
    first: dict[str, str] = field(default_factory=dict)  # the first of the unknown and of the far ones, as a message says it


def predict(model: Path, path: Path, output: Path | None, source: str | None, given: Mapping[str, str]) -> None:
    """Write a row for each example of ``path`` to ``output``, or as CSV to the screen: all of them, or nothing.

    ``source`` and ``given``: as ``inputs.read`` takes them; the source is told by the name of ``path`` if it is None.
    """
    kind = _kind(output, path) if output else ".json" if streams.wants_json() else ".csv"
    begin = time.monotonic()
    trained = bundle.load(model)
    source = source or inputs.source_of(path)
    tally = Tally()
    blocks = inputs.read(path, source, trained.facts, trained.features, given)
    frames = _frames(trained, blocks, tally)
    with tempfile.TemporaryDirectory() as folder:
        written = output or Path(folder) / f"predictions{kind}"
        bar = progress.reading(path, "predicting", " examples")
        with files.disk_errors("the predictions", written), files.whole_file(written) as partial, bar:
            outputs.FORMATS[kind](partial, bar.over(frames))
        seconds = time.monotonic() - begin
        if not output and not streams.wants_json():
            _show(written)
        _report(tally, seconds, output)
        streams.answer(_answer(tally, seconds, output), None if output else written)


def _answer(tally: Tally, seconds: float, output: Path | None) -> Predicted:
    return Predicted(
        examples=tally.examples,
        labelled=tally.labelled,
        accuracy=tally.hits / tally.labelled if tally.labelled else None,
        seconds=seconds,
        output=str(output) if output else None,
        warnings=list(_warnings(tally)),
    )


def _kind(output: Path, path: Path) -> str:
    if output.suffix not in outputs.FORMATS:
        raise UserError(f"--output {output}: its name must end in one of {', '.join(outputs.FORMATS)}")
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.parent}; create it, or name another")
    if output.is_dir() or (output.exists() and path.exists() and output.samefile(path)):
        raise UserError(f"--output {output}: is {'a folder' if output.is_dir() else 'the input'}; name another file")
    return output.suffix


def _frames(model: Exported, blocks: Iterator[Block], tally: Tally) -> Iterator[pl.DataFrame]:
    """A frame a block."""
    names = model.facts.class_names
    for block in blocks:
        predictions = predictor.predict(model, block)
        rows = outputs.frame(block, predictions, names)
        _count(tally, block, rows["prediction"].to_list(), model)
        yield rows


def _count(tally: Tally, block: Block, predictions: list[str], model: Exported) -> None:
    known = set(model.facts.class_names)
    tally.examples += len(predictions)
    for number, label in enumerate(block.labels or ()):
        tally.labelled += label in known
        tally.hits += label == predictions[number]
        if label and label not in known:
            tally.unknown += 1
            tally.first.setdefault("unknown", f"{block.where(number)}: the label {label!r} is no class of the model")
    far, said = predictor.far_values(block, model.facts)
    tally.far += len(far)
    if said:
        tally.first.setdefault("far", said)


def _show(path: Path) -> None:
    """Copy a file to the standard output, as it is if that is no terminal."""
    out = streams.results()
    if out.isatty():
        with path.open(encoding="utf-8") as text:
            shutil.copyfileobj(text, out)
    else:
        out.flush()
        with path.open("rb") as file, written(out):
            shutil.copyfileobj(file, out.buffer)
    out.flush()


def _warnings(tally: Tally) -> Iterator[str]:
    remedies = {"unknown": "it is not counted below", "far": "are the units those of the training data?"}
    for what, said in tally.first.items():
        others = getattr(tally, what) - 1
        more = f" (and {others} others)" if others else ""
        yield f"{said}{more}; {remedies[what]}"


def _report(tally: Tally, seconds: float, output: Path | None) -> None:
    """What was counted; warnings, and what would stand among the predictions, on the standard error."""
    for line in _warnings(tally):
        print(f"warning: {line}", file=sys.stderr)
    there = f": {output}" if output else ""
    lines = [f"{tally.examples:,} predictions in {seconds:.1f} s{there}"]
    if tally.labelled:
        lines.append(f"accuracy {tally.hits / tally.labelled:.4f} on {tally.labelled:,} examples with a label")
    for line in lines:
        print(line, file=sys.stdout if output or streams.aside() else sys.stderr)
