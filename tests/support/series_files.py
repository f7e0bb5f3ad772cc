"""Small files of series in every format, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.data.readers import formats
from pipeline.data.series import Columns, Series

WORDS = ("yes", "no", "yes", "perhaps")


def examples(channels: int = 2, lengths: Sequence[int] = (5, 3, 4, 1), missing: bool = True) -> list[np.ndarray]:
    """Series (T, F) float64 of awkward numbers, one of them missing."""
    random = np.random.default_rng(3)
    made = [random.normal(size=(steps, channels)) * 10.0 ** random.integers(-20, 20, (steps, channels)) for steps in lengths]
    made[0][0, 0] = 16777217.0  # 2**24 + 1: no float32
    if missing:
        made[0][2, -1] = np.nan
    return made


def names(count: int) -> list[str]:
    return [f"sensor {chr(ord('a') + channel)}" for channel in range(count)]


def text(value: float) -> str:
    return "" if np.isnan(value) else repr(float(value))


Words = Sequence[str] | None


def labels(words: Words, n: int) -> dict[str, object]:
    return {} if words is None else {"label": words[n]}


def long_frame(series: list[np.ndarray], words: Words = WORDS) -> pl.DataFrame:
    rows = [
        {"id": f"s{n}", "time": t, **dict(zip(names(len(step)), step.tolist(), strict=True)), **labels(words, n)}
        for n, one in enumerate(series)
        for t, step in enumerate(one)
    ]
    return pl.DataFrame(rows).with_columns(pl.selectors.float().fill_nan(None))


def wide_frame(series: list[np.ndarray], words: Words = WORDS) -> pl.DataFrame:
    """Columns NAME_0 ... of several channels, plain ones of a single channel; empty cells at the end of a shorter series."""
    longest = max(len(one) for one in series)
    rows = []
    for n, one in enumerate(series):
        cells: dict[str, object] = {"id": f"s{n}"}
        for channel, name in enumerate(names(one.shape[1])):
            for step in range(longest):
                key = f"{name}_{step}" if one.shape[1] > 1 else f"step{step}"
                cells[key] = float(one[step, channel]) if step < len(one) else None
        rows.append(cells | labels(words, n))
    return pl.DataFrame(rows).with_columns(pl.selectors.float().fill_nan(None))


def csv(path: Path, frame: pl.DataFrame) -> Path:
    """As polars writes it, but with all digits."""
    cells = [
        [text(cell) if isinstance(cell, float) else "" if cell is None else str(cell) for cell in row] for row in frame.rows()
    ]
    path.write_text("\n".join(",".join(row) for row in [frame.columns, *cells]) + "\n")
    return path


def parquet(path: Path, frame: pl.DataFrame) -> Path:
    frame.write_parquet(path)
    return path


def ts(path: Path, series: list[np.ndarray], words: Words = WORDS, header: str = "") -> Path:
    lines = [":".join(",".join(text(value) or "?" for value in channel) for channel in one.T) for one in series]
    if words is not None:
        lines = [f"{line}:{word}" for line, word in zip(lines, words, strict=True)]
    header = header or ("@classLabel false" if words is None else f"@classLabel true {' '.join(dict.fromkeys(words))}")
    path.write_text("\n".join([header, "@data", *lines]) + "\n")
    return path


def arff(path: Path, series: list[np.ndarray], words: Words = WORDS) -> Path:
    longest = max(len(one) for one in series)
    head = ["% made by a test", "@relation 'a test'", *(f"@attribute 'step {step}' numeric" for step in range(longest))]
    rows = [",".join([*(text(value) or "?" for value in one[:, 0]), *["?"] * (longest - len(one))]) for one in series]
    if words is not None:
        head.append(f"@attribute target {{{','.join(dict.fromkeys(words))}}}")
        rows = [f"{row},{word}" for row, word in zip(rows, words, strict=True)]
    path.write_text("\n".join([*head, "", "@data", *rows]) + "\n")
    return path


def npz(path: Path, **arrays: object) -> Path:
    with path.open("wb") as file:
        np.savez(file, **{name: np.asarray(array) for name, array in arrays.items()})
    return path


def packed(path: Path, series: list[np.ndarray], words: Sequence[str] = WORDS) -> Path:
    return npz(path, values=np.concatenate(series), lengths=[len(one) for one in series], labels=list(words))


def keyed(path: Path, series: list[np.ndarray], words: Sequence[str] = WORDS) -> Path:
    return npz(path, **{f"s{n}": one for n, one in enumerate(series)}, labels=list(words))


WRITERS: dict[str, tuple[str, str, Callable[..., Path]]] = {
    "ts": ("ts", "long", ts),
    "arff": ("arff", "long", arff),
    "long csv": ("csv", "long", lambda path, *series: csv(path, long_frame(*series))),
    "wide csv": ("csv", "wide", lambda path, *series: csv(path, wide_frame(*series))),
    "long parquet": ("parquet", "long", lambda path, *series: parquet(path, long_frame(*series))),
    "wide parquet": ("parquet", "wide", lambda path, *series: parquet(path, wide_frame(*series))),
    "npz end to end": ("npz", "long", packed),
    "npz by key": ("npz", "long", keyed),
}


def read(source: str, path: Path, **columns: object) -> list[Series]:
    return list(formats.read(source, path, Columns(**columns)))  # type: ignore[arg-type]


def only(source: str, path: Path, **columns: object) -> Series:
    """The single block of a small file."""
    (series,) = read(source, path, **columns)
    return series
