"""The commands of this room."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.stages.terminal.commands import Command, Configured, OfMachine, loaded
from pipeline.stages.terminal.options import (
    AsJson,
    ConfigFile,
    Head,
    LaunchFile,
    MachineNumber,
    OptionalConfig,
    Overrides,
    Processes,
    Quiet,
)

SweepFile = Annotated[Path, typer.Option("--sweep", help="The sweep file, such as configs/sweep.yaml, in wandb's format.")]
Folder = Annotated[Path | None, typer.Option("--run", help="The folder of the sweep; if not given, runs/NAME-sweep.")]
Trials = Annotated[int | None, typer.Option(help="Trials in all; if not given, run_cap of the sweep file.", min=1)]
Seeds = Annotated[int, typer.Option(help="Seeds of each trial, whose mean is compared.", min=1, max=1000)]
Workers = Annotated[int, typer.Option(help="Trials at a time, each by a process of its own.", min=1, max=1000)]


def add(app: typer.Typer) -> None:
    """Give ``app`` these commands."""
    app.command(cls=Command, epilog="Example: init wards.csv data.group=patient --output wards.yaml")(init)
    app.command(cls=Configured, epilog="Example: check configs/digits.yaml model.hidden=128")(check)
    app.command(cls=Configured, epilog="Example: tune configs/digits.yaml --budget 120")(tune)
    app.command(cls=Configured, epilog="Example: plan configs/digits.yaml --processes 1,2,4,8 --link 25Gb")(plan)
    app.command(cls=OfMachine, epilog="Example: doctor --json > machine.json")(doctor)
    app.command(cls=Configured, epilog="Example: sweep configs/digits.yaml --sweep configs/sweep.yaml --workers 2")(sweep)


def init(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A file of series, or a folder of images by class.")],
    overrides: Overrides = None,
    test: Annotated[Path | None, typer.Option(help="The file, or folder, of the test split.")] = None,
    output: Annotated[Path | None, typer.Option(help="The configuration to write; without it, named after DATA.")] = None,
) -> None:
    """Look at a data file and write a configuration that trains on it."""
    from pipeline.stages.advice import init as stage

    stage.init(data, test, output, overrides or ())


def check(
    config: ConfigFile,
    overrides: Overrides = None,
    everything: Annotated[bool, typer.Option("--all", help="All keys, also those that have their defaults.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Dry run: parameters, steps and memory, and the keys that differ from their defaults."""
    settings = loaded(config, overrides)
    from pipeline.stages.advice import check as stage

    stage.check(settings, everything)


def tune(
    config: ConfigFile,
    overrides: Overrides = None,
    budget: Annotated[float, typer.Option(help="Seconds that the measurements may take, about.", min=1)] = 60,
) -> None:
    """Find the batch, the number of threads and the learning rate to train with; no run folder is touched."""
    settings = loaded(config, overrides)
    from pipeline.stages.advice import tune as stage

    stage.tune(settings, str(config), budget)


def doctor(
    config: OptionalConfig = None,
    overrides: Overrides = None,
    processes: Processes = None,
    launch: LaunchFile = None,
    machine: MachineNumber = None,
    head: Head = None,
    only: Annotated[list[str] | None, typer.Option(metavar="CHECK", help="Make this check alone; may be given again.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """What this machine can do and whether all promises hold on it, in a minute; under a launcher, of all its hosts."""
    settings = loaded(config, overrides) if config else None
    from pipeline.distributed import launcher

    if number := launcher.number(launcher.Asked(launch, processes, machine, head), lambda: 1):
        words = ["doctor", *["--quiet"] * quiet, *["--json"] * as_json, *(["--config", str(config)] if config else [])]
        words += [word for name in only or () for word in ("--only", name)]
        sys.exit(launcher.launch(launch, number, [*words, *(overrides or ())]))
    from pipeline.stages.advice import doctor as stage

    sys.exit(stage.doctor(settings, config, overrides or (), only or ()))


def sweep(
    config: ConfigFile,
    sweep: SweepFile,
    overrides: Overrides = None,
    run: Folder = None,
    trials: Trials = None,
    seeds: Seeds = 1,
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Try many values of some keys, or go on with it: the best by the validation split."""
    settings = loaded(config, overrides)
    from pipeline.stages.advice.sweep import search
    from pipeline.stages.advice.sweep_result import Asked

    search(settings, Asked(str(config), overrides or (), sweep, run, trials, seeds, workers))


def plan(
    config: ConfigFile,
    overrides: Overrides = None,
    processes: Annotated[str, typer.Option(metavar="N,...", help="Numbers of processes, such as 1,8,64.")] = "1,2,4,8",
    link: Annotated[
        Literal["here", "25Gb", "400Gb", "nvlink"], typer.Option(help="What connects them; here: as measured on this machine.")
    ] = "here",
    picture: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw steps for up to 1,024 processes.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Predict steps, hours and memory on more processes than there are here, and where more stop paying."""
    settings = loaded(config, overrides)
    from pipeline.stages.advice import plan as stage

    wanted = stage.Wanted(stage.numbers(processes), link, picture)
    stage.plan(settings, config, overrides or (), wanted)
