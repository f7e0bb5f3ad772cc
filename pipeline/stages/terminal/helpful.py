"""The commands about the program itself: the help of keys, and completion."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pipeline.stages.terminal.commands import Command

Words = Annotated[list[str] | None, typer.Argument(metavar="SECTION|KEY|WORDS", help="What to look for.")]
Shell = Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]
Line = Annotated[str | None, typer.Option(hidden=True, help="What was typed, up to the cursor.")]


def add(app: typer.Typer) -> None:
    """Give ``app`` these commands."""
    any_word = {"ignore_unknown_options": True}  # as --optim.lr
    app.command(cls=Command, context_settings=any_word, epilog="Example: keys optim, keys lr, or keys learning rate")(keys)
    app.command(cls=Command, epilog="Example: source <(python -m pipeline completion bash)")(completion)


def keys(words: Words = None) -> None:
    """What a key of the configuration means, takes and is by default."""
    from pipeline.stages.terminal.keys import explain

    explain(" ".join(words or ()))


def completion(context: typer.Context, shell: Shell, line: Line = None) -> None:
    """What a shell reads to complete the commands, options and keys of this program."""
    from pipeline.stages.terminal.completion import candidates, script

    commands = context.find_root().command.commands  # type: ignore[attr-defined]
    words = [script(shell)] if line is None else candidates(commands, line)
    sys.stdout.writelines(f"{word}\n" for word in words)
