"""runs/ -> what runs there are; what may be deleted; deleting those that were named."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import UserError, short
from pipeline.report.listing import differing, facts, found, pruning, table
from pipeline.report.listing.facts import Run
from pipeline.report.listing.found import Found
from pipeline.run import advice
from pipeline.stages.terminal import streams
from pipeline.stages.terminal.answers import Listed, ListedRun, Other

DEFAULT = Path("runs")


def runs(root: Path, by: table.Sort, everything: bool) -> None:
    """Print the runs in ``root``, those that changed last first, and what else lies there.

    ``everything``: folds, seeds and trials too, each below the run that it is of.
    """
    known, others = _look(root)
    known = table.ordered(known, by)
    if streams.wants_json():
        streams.answer(_answer(root, known, others))
        return
    out = streams.results()
    shown = [run for run in known if everything or run.above is None]
    if not shown and not others:
        print(f"no runs in {root}; train one: {advice.configured('train', 'FILE')}", file=out)
    width = shutil.get_terminal_size().columns if out.isatty() else None
    if shown:
        print(*table.lines(shown, root, width), sep="\n", file=out)
    for run in shown:
        if run.why:
            print(f"{short(str(run.folder), 200)}: {run.state}: {short(run.why, 200)}", file=out)
    for one in others:
        print(f"{short(str(one.folder), 200)}: {one.problem}", file=out)


def prune(root: Path) -> None:
    """Print for each run in ``root`` whether it may be deleted and why, and what to type; nothing is deleted."""
    known, others = _look(root)
    verdicts = pruning.verdicts(known)
    if streams.wants_json():
        streams.answer(_answer(root, known, others, verdicts))
        return
    for keep in (True, False):
        for verdict in (one for one in verdicts if one.keep == keep):
            print(f"{'keep  ' if keep else 'delete'}  {table.size(verdict.run.size):>7}  {verdict.run.folder}: {verdict.why}")
    for one in [*others, *(Found(run.folder, None, run.why) for run in known if not run.settings and not run.above)]:
        print(f"left alone: {one.folder}: {one.problem}")
    gone = [one.run for one in verdicts if not one.keep]
    if not gone:
        streams.say("nothing to delete")
        return
    streams.say(f"nothing was deleted; {table.size(sum(run.size for run in gone))} would be free. Name what is to go:")
    streams.say(pruning.command([run.folder for run in gone], _head()))


def delete(folders: Sequence[Path], confirmed: bool) -> None:
    """Delete the runs that were named, all of them or, if one must not be, none.

    Without ``confirmed`` it says what would go.
    """
    unique = list(dict.fromkeys(Path(str(folder).rstrip("/") or "/") for folder in folders))
    for folder in unique:
        pruning.refuse_unfit(folder)
    busy = [run for run in facts.all_of([one for folder in unique for one in found.within(folder)]) if run.state == "running"]
    if busy:
        raise UserError(f"{busy[0].folder}: is running ({busy[0].why}); nothing was deleted")
    if not confirmed:
        for folder in unique:
            print(f"would delete {folder}  {table.size(facts.usage(folder)[0])}")
        streams.say(f"nothing was deleted; to delete, type: {pruning.command(unique, _head())}")
        return
    for folder in unique:
        streams.say(f"deleted {folder}  {table.size(pruning.delete(folder))}")


def _head() -> str:
    return " ".join([*advice.program(), "runs"])


def _look(root: Path) -> tuple[list[Run], list[Found]]:
    """The runs in ``root`` and what else lies there. Raises UserError if a folder that was named is none."""
    if not root.is_dir():
        if root == DEFAULT and not root.exists():
            return [], []
        raise UserError(f"{root}: no such folder; name the folder that holds the runs, such as runs")
    try:
        there = list(found.within(root))
    except OSError as error:
        raise UserError(f"{root}: cannot be read: {error.strerror}") from None
    return facts.all_of([one for one in there if not one.problem]), [one for one in there if one.problem]


def _answer(root: Path, known: Sequence[Run], others: Sequence[Found], verdicts: Sequence[pruning.Verdict] = ()) -> Listed:
    differences = differing.of_each(known)
    proposed = {verdict.run.folder: verdict for verdict in verdicts}
    return Listed(
        folder=str(root),
        runs=[_listed(run, differences.get(run.folder, {}), proposed.get(run.folder)) for run in known],
        others=[Other(folder=str(one.folder), problem=one.problem) for one in others],
    )


def _listed(run: Run, differs: differing.Values, verdict: pruning.Verdict | None) -> ListedRun:
    return ListedRun(
        run=str(run.folder),
        within=None if run.above is None else str(run.above),
        state=run.state,
        why=run.why,
        step=run.step,
        steps=run.steps,
        monitor=run.monitor,
        best=run.record.value,
        best_step=run.record.best if run.record.value is not None else None,
        test_accuracy=run.accuracy,
        differs=differs,
        seconds=run.record.seconds,
        bytes=run.size,
        changed=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run.changed)),
        keep=None if verdict is None else verdict.keep,
        keep_why=None if verdict is None else verdict.why,
    )
