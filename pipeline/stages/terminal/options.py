"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline import __version__


def _version(asked: bool) -> None:
    if asked:
        print(f"sequence-pipeline {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="The version, and nothing else.", callback=_version, is_eager=True)]

ConfigFile = Annotated[Path, typer.Option("--config", help="The configuration file, such as configs/digits.yaml.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="section.key=value", help="Values on top of the file's.")]
RunFolder = Annotated[Path | None, typer.Option("--run", help="The run folder, such as runs/digits.")]
OfConfig = Annotated[Path | None, typer.Option("--config", help="Instead of --run: the configuration of the run.")]

OptionalConfig = Annotated[
    Path | None, typer.Option("--config", help="A configuration, whose data and run folder are looked at.")
]

Processes = Annotated[int | None, typer.Option(help="Processes on all machines; if not given, what is fastest on CPUs.", min=1)]
LaunchFile = Annotated[Path | None, typer.Option("--launch", help="A launch file of Accelerate's, such as launch/cpu.yaml.")]
MachineNumber = Annotated[
    str | None, typer.Option("--machine", metavar="NUMBER/OF", help="Which of several machines this is, from 0: 0/2, 1/2.")
]
Head = Annotated[
    str | None, typer.Option(metavar="ADDRESS:PORT", help="Of the first machine, where all meet, such as 10.0.0.1:29500.")
]

# Read where a command is invoked, so that no command needs to look at them itself.
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but what was asked for, warnings and errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document; messages go to the standard error.")]
