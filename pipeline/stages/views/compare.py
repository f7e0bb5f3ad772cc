"""Several runs -> a page on which is better, and a short table."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from pipeline import files
from pipeline.errors import UserError, short
from pipeline.report.compare import groups, page, verdicts
from pipeline.report.compare.groups import Group
from pipeline.report.listing import differing
from pipeline.run import advice
from pipeline.stages.terminal import streams
from pipeline.stages.terminal.answers import Compared, ComparedGroup, ComparedPair


def compare(folders: Sequence[Path], output: Path | None) -> None:
    """Print which of the runs in ``folders`` is better and in what they differ, and write the page ``output``.

    Raises UserError if one was not evaluated, or on other test examples than another.
    """
    if output is not None and output.suffix not in (".html", ".htm"):
        raise UserError(f"--output {output}: must end in .html")
    runs = groups.named(folders)
    output = output or Path(os.path.commonpath([run.folder.absolute().parent for run in runs])) / "compare.html"
    compared = groups.of(runs)
    found = verdicts.verdicts(compared)
    notes = verdicts.notes(compared)
    words = [*advice.program(), "compare", *map(str, folders), "--output", str(output)]
    with files.disk_errors("the comparison", output):
        files.write_text(output, page.render(compared, found, notes, shlex.join(words)))
    print("\n".join(_table(compared)))
    for key, values in groups.differences(compared).items():
        print(f"{key}: {', '.join(short(differing.plain(value)) for value in values)}")
    for verdict in found:
        streams.say(f"{verdict.first} against {verdict.second}: {verdict.words}")
        print(f"  {verdict.numbers}")
    for note in notes:
        print(f"note: {note}")
    print(f"written: {output}")
    streams.answer(_answer(compared, found, notes, output))


def _table(compared: Sequence[Group]) -> list[str]:
    """The metrics of each group, the best of each marked."""
    names = [name for name in ("accuracy", "macro_f1", "loss") if any(group.values(name) for group in compared)]
    rows = [["run", "seeds", *(f"test {page.NAMES[name]}" for name in names)]]
    best = {name: groups.best(compared, name) for name in names}
    for number, group in enumerate(groups.rows(compared)):
        cells = []
        for name in names:
            value, std = group.mean(name), group.std(name)
            spread = "" if std is None else f" ±{std:.4f}"
            cells.append("" if value is None else f"{value:.4f}{spread}{'*' if number in best[name] else ''}")
        rows.append([short(group.name, 60), str(len(group.runs)), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, "* the best"] if any(best.values()) else lines


def _answer(compared: Sequence[Group], found: Sequence[verdicts.Verdict], notes: Sequence[str], output: Path) -> Compared:
    metrics = [{name: group.mean(name) for name in groups.METRICS} for group in compared]
    return Compared(
        groups=[
            ComparedGroup(name=group.name, runs=[str(run.folder) for run in group.runs], metrics=values)
            for group, values in zip(compared, metrics, strict=True)
        ],
        examples=len(compared[0].runs[0].examples),
        differences=groups.differences(compared),
        pairs=[
            ComparedPair(
                first=one.first,
                second=one.second,
                verdict=one.words,
                better=one.better or None,
                test=one.test.name,
                difference=one.test.difference,
                interval=one.test.interval,
                p=one.test.p,
                p_adjusted=one.adjusted,
            )
            for one in found
        ],
        notes=list(notes),
        output=str(output),
    )
