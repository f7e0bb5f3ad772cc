"""A comparison -> one file of HTML that asks for nothing else. Its text stands in ``page.html.jinja``.

What comes from data, names or a configuration is escaped by Jinja, and shown with an escape where nobody would see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2

from pipeline.errors import printable
from pipeline.report.compare import chart, groups
from pipeline.report.compare.chart import Chart
from pipeline.report.compare.evaluated import CURVES
from pipeline.report.compare.groups import Group
from pipeline.report.compare.verdicts import Verdict
from pipeline.report.listing import differing

NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "balanced_accuracy": "balanced accuracy",
    "loss": "loss",
    "expected_calibration_error": "calibration error",
}
AXES = {
    "valid/accuracy": "Accuracy on the valid split",
    "valid/loss": "Loss on the valid split",
    "train/loss": "Loss in training",
}
LONGEST = 300  # letters of a name or a value


def render(compared: Sequence[Group], verdicts: Sequence[Verdict], notes: Sequence[str], command: str) -> str:
    """The page; ``command`` makes it again."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["shown"] = shown
    text = Path(__file__).with_name("page.html.jinja").read_text(encoding="utf-8")
    differences = groups.differences(compared)
    return environment.from_string(text).render(
        groups=compared,
        count=sum(len(group.runs) for group in compared),
        examples=len(compared[0].runs[0].examples),
        fingerprint=compared[0].runs[0].fingerprint[:16],
        rows=groups.rows(compared),
        verdicts=verdicts,
        notes=notes,
        metrics=[(NAMES[name], _cells(groups.rows(compared), name), groups.best(compared, name)) for name in groups.METRICS],
        differences={key: [differing.plain(value) for value in values] for key, values in differences.items()},
        charts=charts(compared),
        size=chart,
        command=command,
    )


def shown(text: str) -> str:
    """Any text on one line, of a long one the beginning, with an escape for what nobody sees."""
    return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")


def _cells(compared: Sequence[Group], metric: str) -> list[str]:
    """The mean of a metric in each group, with its standard deviation over seeds."""
    cells = []
    for group in compared:
        value, std = group.mean(metric), group.std(metric)
        cells.append("" if value is None else f"{value:.4f}" + ("" if std is None else f" ± {std:.4f}"))
    return cells


def charts(compared: Sequence[Group]) -> list[tuple[str, Chart]]:
    """The curves of all runs, a drawing per metric that was recorded, each with its title."""
    curves = [
        (number, run.folder.name if len(group.runs) > 1 else group.name, run.curves())
        for number, group in enumerate(compared)
        for run in group.runs
    ]
    found = []
    for name in CURVES:
        of_name = [(number, label, known[name]) for number, label, known in curves if name in known]
        if of_name:
            found.append((AXES[name], chart.chart(name, of_name)))
    return found
