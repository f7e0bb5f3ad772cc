"""Command line -> stage. Nothing heavy is imported before a stage runs."""

from __future__ import annotations

import signal
import sys

# first of all: what is imported below takes time, in which a signal may come
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is a handler: no traceback

from pipeline.distributed import signals

if signals.is_training(sys.argv[1:]):
    signals.catch()
elif sys.argv[0].endswith(("pipeline/__main__.py", "sequence-pipeline")):  # and not a program that imports this
    signals.catch_keyboard()

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.stages.advice import commands as advice
from pipeline.stages.terminal import helpful, streams
from pipeline.stages.terminal.commands import Configured, OfExport, OfRun, Program, loaded
from pipeline.stages.terminal.endings import ended
from pipeline.stages.terminal.options import (
    AsJson,
    ConfigFile,
    Head,
    LaunchFile,
    MachineNumber,
    OfConfig,
    Overrides,
    Processes,
    Quiet,
    RunFolder,
    Version,
)
from pipeline.stages.views import commands as views

if TYPE_CHECKING:
    from pipeline.config import Config

app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _usual(settings: Config) -> int:
    from pipeline.stages.job import usual_processes

    return usual_processes(settings)


@app.callback()
def root(version: Version = False) -> None:
    """Train recurrent classifiers on sequences: prepare, train, evaluate, export, predict."""


advice.add(app)


@app.command(cls=Configured, epilog="Example: prepare configs/digits.yaml data.validation=0.2")
def prepare(
    config: ConfigFile,
    overrides: Overrides = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read each file again, also if it seems untouched.")] = False,
    quiet: Quiet = False,
) -> None:
    """Verify the raw data, split it and write the prepared folder."""
    settings = loaded(config, overrides)
    from pipeline.stages import prepare as stage

    stage.prepare(settings, str(config), overrides or (), verify)


@app.command(cls=Configured, epilog="Example: train configs/digits.yaml optim.lr=0.005")
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    processes: Processes = None,
    launch: LaunchFile = None,
    machine: MachineNumber = None,
    head: Head = None,
    quiet: Quiet = False,
) -> None:
    """Train, or resume the run folder if there is one."""
    settings = loaded(config, overrides)
    from pipeline.distributed import launcher

    if number := launcher.number(launcher.Asked(launch, processes, machine, head), partial(_usual, settings)):
        sys.exit(launcher.launch(launch, number, ["train", *["--quiet"] * quiet, "--config", str(config), *(overrides or ())]))
    if settings.train.folds:
        from pipeline.stages import repeats

        for _ in repeats.folds(settings):
            pass
        return
    from pipeline.stages import train as stage

    stage.train(settings)


@app.command(cls=Configured, epilog="Example: seeds configs/digits.yaml --count 5")
def seeds(
    config: ConfigFile,
    overrides: Overrides = None,
    count: Annotated[int, typer.Option(help="How many seeds, 1 to this number.", min=1, max=1000)] = 5,
    processes: Processes = None,
    launch: LaunchFile = None,
    machine: MachineNumber = None,
    head: Head = None,
    quiet: Quiet = False,
) -> None:
    """Train and evaluate with several seeds, or go on with it: mean and standard deviation."""
    settings = loaded(config, overrides)
    from pipeline.distributed import launcher

    if number := launcher.number(launcher.Asked(launch, processes, machine, head), partial(_usual, settings)):
        words = ["seeds", *["--quiet"] * quiet, "--count", str(count), "--config", str(config), *(overrides or ())]
        sys.exit(launcher.launch(launch, number, words))
    from pipeline.stages import repeats

    for _ in repeats.seeds(settings, count):
        pass


@app.command(cls=OfRun, epilog="Example: evaluate runs/digits")
def evaluate(
    run: RunFolder = None,
    config: OfConfig = None,
    overrides: Overrides = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure the best checkpoint of a run on a whole split of the data."""
    from pipeline.stages import evaluate as stage
    from pipeline.stages.job import run_folder

    stage.evaluate(run_folder(run, config, overrides or ()), split)


@app.command(cls=OfRun, epilog="Example: export runs/digits")
def export(run: RunFolder = None, config: OfConfig = None, overrides: Overrides = None, quiet: Quiet = False) -> None:
    """Write files that other software loads, each checked against the original."""
    from pipeline.stages import export as stage
    from pipeline.stages.job import run_folder

    stage.export(run_folder(run, config, overrides or ()))


@app.command(cls=OfExport, epilog="Example: predict --model runs/digits/export new.csv --output predictions.csv")
def predict(
    file: Annotated[Path, typer.Argument(metavar="INPUT", help="A file or a folder, of series or of images.")],
    model: Annotated[Path, typer.Option(help="The export folder, such as runs/digits/export, or its model.onnx.")],
    output: Annotated[Path | None, typer.Option(help="A .csv, .json or .parquet file; without it, CSV on the screen.")] = None,
    source: Annotated[
        str | None, typer.Option(help="The format, as in data.source, or idx; if the name does not tell.")
    ] = None,
    layout: Annotated[str | None, typer.Option(help="long or wide, as in data.layout; as trained if not given.")] = None,
    id: Annotated[str | None, typer.Option(help="The column of the id; as trained if not given, as the four below.")] = None,
    time: Annotated[str | None, typer.Option(help="The column of the time.")] = None,
    label: Annotated[str | None, typer.Option(help="The column of the class, if it is there.")] = None,
    group: Annotated[str | None, typer.Option(help="The column of the group, if it is there.")] = None,
    channels: Annotated[str | None, typer.Option(help="The channels, A,B,..., in the order of the model's.")] = None,
    header: Annotated[str | None, typer.Option(help="Whether a CSV names its columns: true or false.")] = None,
    decimal: Annotated[str | None, typer.Option(help="The decimal point of a CSV, or the comma.")] = None,
    values: Annotated[str | None, typer.Option(help="The array of the values in an .npz file.")] = None,
    axes: Annotated[str | None, typer.Option(help="channels_last or channels_first, of arrays in an .npz file.")] = None,
    recordings: Annotated[str | None, typer.Option(help="What the paths of a folder say, as in data.recordings.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """What an exported model says of each example in a file."""
    from pipeline.stages import predict as stage

    given = {"layout": layout, "id": id, "time": time, "label": label, "group": group, "channels": channels}
    given |= {"header": header, "decimal": decimal, "values": values, "axes": axes, "recordings": recordings}
    stage.predict(model, file, output, source, {key: word for key, word in given.items() if word is not None})


@app.command(cls=OfRun, epilog="Example: report runs/digits")
def report(run: RunFolder = None, config: OfConfig = None, overrides: Overrides = None, quiet: Quiet = False) -> None:
    """Write report.html: what a run gave, and the model itself, in one file for any browser."""
    from pipeline.stages.job import run_folder
    from pipeline.stages.views import report as stage

    stage.report(run_folder(run, config, overrides or ()))


@app.command(cls=OfRun, epilog="Example: summary runs/digits")
def summary(
    run: RunFolder = None, config: OfConfig = None, overrides: Overrides = None, quiet: Quiet = False, as_json: AsJson = False
) -> None:
    """What a run gave, where it lies and what to type next."""
    from pipeline.stages.job import run_folder
    from pipeline.stages.views import summary as stage

    stage.summary(run_folder(run, config, overrides or ()))


views.add(app)
helpful.add(app)


def main() -> None:
    """Run the command line."""
    streams.begin()
    ended(partial(app, standalone_mode=False))


if __name__ == "__main__":
    main()
