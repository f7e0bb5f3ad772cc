"""The commands that show several runs, or one example, as they are typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.stages.terminal.commands import Command, OfRun
from pipeline.stages.terminal.options import AsJson, OfConfig, Overrides, Quiet, RunFolder

Runs = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder that holds the runs.")]
Sort = Annotated[
    Literal["changed", "valid", "test", "name", "time", "size"], typer.Option(help="What comes first: changed, valid, ...")
]


def add(app: typer.Typer) -> None:
    """Give ``app`` these commands."""
    app.command("runs", cls=Command, epilog="Example: runs --sort test")(list_runs)
    app.command("compare", cls=Command, epilog="Example: compare runs/digits runs/gru --output gru.html")(compare_runs)
    app.command("explain", cls=OfRun, epilog="Example: explain runs/digits --index 7")(explain_example)


def list_runs(
    folder: Runs = Path("runs"),
    sort: Sort = "changed",
    everything: Annotated[bool, typer.Option("--all", help="Folds, seeds and trials too.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Propose what to delete, and delete nothing.")] = False,
    delete: Annotated[list[Path] | None, typer.Option(metavar="RUN", help="A run to delete; may be given again.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Really delete what --delete names.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """List runs: state, metrics, what differs, time, size. Or delete some."""
    from pipeline.stages.views import runs

    if delete:
        runs.delete(delete, yes)
    elif prune:
        runs.prune(folder)
    else:
        runs.runs(folder, sort, everything)


def compare_runs(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN RUN ...", help="Run folders; of seeds the one above them.")],
    output: Annotated[Path | None, typer.Option(help="The page; without it, compare.html beside the runs.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Say which of several runs is better, and whether that is more than chance."""
    from pipeline.stages.views import compare

    compare.compare(folders, output)


def explain_example(
    index: Annotated[int, typer.Option(help="The index of the example, as in eval/predictions.csv.")],
    run: RunFolder = None,
    config: OfConfig = None,
    overrides: Overrides = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    answer: Annotated[str, typer.Option("--class", help="The class to explain; without it, the predicted one.")] = "",
    output: Annotated[Path | None, typer.Option(help="The picture; without it, eval/explain-INDEX.png of the run.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Say which steps of one example made the model say what it says."""
    from pipeline.stages.job import run_folder
    from pipeline.stages.views import explain

    explain.explain(explain.Asked(run_folder(run, config, overrides or ()), split, index, answer), output)
