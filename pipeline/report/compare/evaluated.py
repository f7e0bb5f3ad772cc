"""A run -> what its evaluation on the test split said of each example. Nothing is computed anew, and torch is not needed."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from pipeline import config, files
from pipeline.errors import RunError, UserError
from pipeline.report.listing import differing
from pipeline.run import advice, marks, record
from pipeline.run.folder import settings_of

Point = tuple[float, float]  # epoch, value
CURVES = ("valid/accuracy", "valid/loss", "train/loss")


class Metrics(BaseModel):
    """What is compared of eval/metrics.json; evaluations of earlier versions lack some."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    split: str
    step: int = Field(ge=0)
    count: int = Field(ge=1, le=2**53)
    accuracy: float = Field(ge=0, le=1)
    loss: float | None = None
    macro_f1: float | None = None
    balanced_accuracy: float | None = None
    expected_calibration_error: float | None = None


class _Facts(BaseModel):
    data: str


class _State(BaseModel):
    """What is read of the state.json of a checkpoint."""

    facts: _Facts


@dataclass(frozen=True)
class Evaluated:
    """A run and its evaluation on N test examples, in the order of their indices."""

    folder: Path
    settings: config.Config
    metrics: Metrics
    examples: tuple[tuple[int, str], ...]  # (N) index and label
    right: tuple[bool, ...]  # (N) whether it was predicted so
    data: str | None  # the digest of the prepared data that it was trained on, if a checkpoint says it

    @cached_property
    def fingerprint(self) -> str:
        """What two runs share that were evaluated on the same test examples."""
        text = "\n".join(f"{index},{label}" for index, label in self.examples)
        return hashlib.sha256(f"{self.settings.data.source}\n{text}".encode()).hexdigest()

    def curves(self) -> dict[str, list[Point]]:
        """Its recorded metrics over the epochs; those that were never recorded are left out."""
        found: dict[str, list[Point]] = {name: [] for name in CURVES}
        with suppress(FileNotFoundError):
            for values in record.each(self.folder / "metrics.jsonl"):
                for name in CURVES:
                    if values.get(name) is not None and values.get("epoch") is not None:
                        found[name].append((float(values["epoch"]), float(values[name])))
        return {name: points for name, points in found.items() if points}


def read(folder: Path) -> Evaluated:
    """The run in ``folder``. Raises RunError if it is none, or was not evaluated on the test split, or its files disagree."""
    settings = settings_of(folder)
    again = advice.of_run("evaluate", folder)
    place = folder / "eval" / "metrics.json"
    try:
        metrics = files.read_json(place, Metrics, limit=2**28)  # of many classes it is large
        rows = sorted(_rows(folder / "eval" / "predictions.csv", metrics.count), key=lambda row: row[0])
    except FileNotFoundError:
        raise RunError(f"{folder}: not evaluated on the test split yet; type: {again}") from None
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{folder / 'eval'}: cannot be read ({error}); type: {again}") from None
    right = tuple(label == guess for _, label, guess in rows)
    if metrics.split != "test" or metrics.count != len(rows) or not math.isclose(sum(right) / len(rows), metrics.accuracy):
        raise RunError(f"{folder / 'eval'}: metrics.json and predictions.csv are of two evaluations; type: {again}")
    examples = tuple((index, label) for index, label, _ in rows)
    return Evaluated(folder, settings, metrics, examples, right, _data(folder))


def _rows(path: Path, count: int) -> list[tuple[int, str, str]]:
    """Index, label and prediction of each row, of more than ``count`` one too many. Raises ValueError if a row has something
    else."""
    rows = csv.reader(files.lines(path))
    if next(rows, [])[:3] != ["index", "label", "prediction"]:
        raise ValueError("predictions.csv does not begin with index,label,prediction")
    found = [(int(row[0]), row[1], row[2]) for row in islice(rows, count + 1) if len(row) > 2]
    if not found:
        raise ValueError("predictions.csv holds no rows")
    return found


def _data(folder: Path) -> str | None:
    with suppress(OSError):
        for path in reversed(marks.all_of(folder / "checkpoints")):
            with suppress(OSError, ValueError):
                return files.read_json(path / "state.json", _State).facts.data
    return None


def refuse_other_examples(runs: Sequence[Evaluated]) -> None:
    """Raise UserError unless all runs were evaluated on the same test examples: then their accuracies say nothing of which
    is better."""
    first = runs[0]
    for run in runs[1:]:
        if run.fingerprint != first.fingerprint:
            raise UserError(f"{first.folder} and {run.folder} were not evaluated on the same test examples: {_why(first, run)}")
        keys = differing.between([first.settings, run.settings])
        if first.data and run.data and first.data != run.data and not any(key.startswith("data.") for key in keys):
            raise UserError(
                f"{first.folder} and {run.folder} were not evaluated on the same test examples: the data changed between them"
            )


def _why(one: Evaluated, other: Evaluated) -> str:
    if one.settings.data.source != other.settings.data.source:
        return f"data.source is {one.settings.data.source} and {other.settings.data.source}"
    first, second = ({index for index, _ in run.examples} for run in (one, other))
    if first != second:
        return f"{len(first & second):,} are in both, {len(first - second):,} and {len(second - first):,} in one alone"
    return "some have other labels"
