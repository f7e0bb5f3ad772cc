"""The README.md beside an exported model: what it is, what it takes and gives, how good it is, how to use it.

Its text stands in ``card.md``. A name that comes from the user's data is shown there as it is, whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

from pipeline.deploy.facts import Contents
from pipeline.errors import printable
from pipeline.model.classifier import RecurrentClassifier

VIEWS = {"rows": "row, from the top", "columns": "column, from the left", "pixels": "pixel, row by row"}
KEPT = {"error": "there was none", "start": "its first steps were kept", "end": "its last steps were kept"}
FILL = "its channel's number in `series.fill` of `config.json`"
MISSING = {
    "error": "there was none",
    "mean": f"replaced by {FILL}",
    "forward": f"replaced by the one before it in its series, or by {FILL}",
    "mask": f"replaced by {FILL}, and marked by 1 in `CHANNEL missing`",
}


def render(
    model: RecurrentClassifier, contents: Contents, checks: dict[str, dict[str, Any]], count: int, tolerance: float
) -> str:
    """The model card, for a reader who has nothing but the folder.

    ``checks``: what ``exporter.export`` returns, of a comparison on ``count`` examples.
    """
    facts = contents.facts
    settings = contents.arguments.model_dump()
    settings |= {key: value for key, value in facts if isinstance(value, str | int | float)}
    for section in ("optim", "train"):
        settings |= {f"{section}.{key}": value for key, value in facts.configuration.get(section, {}).items()}
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"code": code, "zip": zip}
    text = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    return environment.from_string(text + "\n").render(
        kind=_kind(model),
        parts=list(_parts(model)),
        parameters=sum(p.numel() for p in model.parameters()),
        features=contents.arguments.features,
        classes=contents.arguments.classes,
        steps=facts.length,
        short=(facts.length + 1) // 2,
        facts=facts,
        series=facts.series,
        views=VIEWS,
        kept=KEPT,
        missing=MISSING,
        settings=settings,
        checks=checks,
        count=count,
        tolerance=tolerance,
    )


def code(text: str) -> str:
    """A code span of one line that shows any text: what cannot be printed as an escape, and backticks as they are."""
    shown = printable(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if "`" in shown else f"{fence}{shown}{fence}"


def _kind(model: RecurrentClassifier) -> str:
    kind = ("bidirectional " if model.directions == 2 else "") + ("RNN" if model.cell == "rnn" else model.cell.upper())
    return kind + ("-FCN" if model.convolutions is not None else "")  # as Karim et al., 2018, call an LSTM beside convolutions


def _parts(model: RecurrentClassifier) -> Iterator[str]:
    """What the model is made of, in the order of the data's way through it."""
    layers = len(model.recurrent) // model.directions
    if model.projection is not None:
        yield f"a projection to {model.projection.out_features} features"
    size = f"{layers} layer{'s' * (layers > 1)} of {model.hidden} units" + (" a direction" if model.directions == 2 else "")
    yield size + (" with layer normalisation" if model.norms is not None else "")
    yield f"`{model.pooling}` pooling"
    if model.convolutions is not None:
        channels = model.head.in_features - model.hidden * model.directions
        yield f"beside it a convolutional branch of {channels} channels"
