"""Predictions -> a file: CSV, JSON or Parquet, a row an example, written as a stream of frames."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import polars.selectors as columns

from pipeline.deploy.inputs import Block
from pipeline.deploy.predictor import Predictions

DIGITS = 6  # of a probability, where it is written as text


def frame(block: Block, predictions: Predictions, class_names: tuple[str, ...]) -> pl.DataFrame:
    """A row an example: ``id``, ``label`` if the input has labels, ``prediction``, ``probability``, a ``p_CLASS`` a class."""
    said = predictions.classes.tolist()
    made: dict[str, pl.Series] = {"id": pl.Series(block.ids, dtype=pl.String)}
    if block.labels is not None:
        made["label"] = pl.Series([label or None for label in block.labels], dtype=pl.String)
    made["prediction"] = pl.Series([class_names[number] for number in said], dtype=pl.String)
    made["probability"] = pl.Series(predictions.probabilities.max(1))
    made |= {f"p_{name}": pl.Series(predictions.probabilities[:, number]) for number, name in enumerate(class_names)}
    return pl.DataFrame(made)


def write_csv(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    """Probabilities have six digits; a label that is missing is an empty cell."""
    with path.open("wb") as file:
        for number, rows in enumerate(frames):
            rows.write_csv(file, include_header=not number, float_precision=DIGITS)


def write_json(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    """An array of an object a row. Probabilities have six digits; a label that is missing is null."""
    with path.open("w", encoding="utf-8") as file:
        before = "[\n"
        for rows in frames:
            lines = rows.with_columns(columns.float().round(DIGITS)).write_ndjson().rstrip("\n").split("\n")
            file.write(before + ",\n".join(lines))
            before = ",\n"
        file.write("\n]\n")


def write_parquet(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    """Probabilities are float64; a label that is missing is null."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as folder:
        parts: list[Path] = []
        for number, rows in enumerate(frames):
            parts.append(Path(folder) / f"{number}.arrow")
            with parts[-1].open("wb") as file:
                rows.write_ipc(file)
        try:
            pl.scan_ipc(parts, glob=False, hive_partitioning=False).sink_parquet(path)
        except pl.exceptions.ComputeError as error:  # as which polars passes on what the disk reports
            raise OSError(str(error)) from error


FORMATS: dict[str, Callable[[Path, Iterator[pl.DataFrame]], None]] = {
    ".csv": write_csv,
    ".json": write_json,
    ".parquet": write_parquet,
}
