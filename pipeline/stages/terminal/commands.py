"""Commands that take words in the forms that people type; their help."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from pipeline.config import Config

TARGETS = {"prep": "prepare", "eval": "evaluate"}  # of make, which are commands under another name


def loaded(file: Path, overrides: list[str] | None) -> Config:
    """The configuration: a mistake in it is said before anything slow is imported, and before any process is started."""
    from pipeline import config

    return config.load(file, overrides or ())


class Program(TyperGroup):
    """All commands. The lines of their help are whole, and the targets of make are known."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As always; what is an option of commands may stand before the command."""
        before = list(takewhile(lambda word: word in ("--json", "--quiet", "-q"), args))
        return super().parse_args(ctx, [*args[len(before) :], *before])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or of that target of make."""
        return super().get_command(ctx, TARGETS.get(cmd_name, cmd_name))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each command with the first paragraph of its help, on as many lines as it takes."""
        rows = [(name, (self.commands[name].help or "").split("\n\n")[0]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Command(TyperCommand):
    """A command whose standard output is what its options ask for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As always, once the words are those that the command takes."""
        from pipeline.errors import UserError

        options = self.options()
        if "--json" in args and "--json" not in options:
            from pipeline.stages.terminal.answers import ANSWERS

            raise UserError(
                f"{ctx.info_name} has no --json; those that have are {', '.join(sorted(ANSWERS))}; "
                "the numbers of a training are in runs/NAME/metrics.jsonl"
            )
        return super().parse_args(ctx, self.understood(str(ctx.info_name), args, options))

    def understood(self, name: str, words: list[str], options: dict[str, bool]) -> list[str]:
        """What was typed after the ``name`` of this command, in the form that it takes."""
        return words

    def options(self) -> dict[str, bool]:
        """The options of this command, each with whether a value follows it."""
        found = {
            name: not getattr(option, "is_flag", False) for option in self.params for name in option.opts if name[0] == "-"
        }
        return found | {"-h": False, "--help": False}

    def invoke(self, ctx: Any) -> Any:
        """As always, with the standard output that was asked for."""
        from pipeline.stages.terminal import streams

        with streams.shown(bool(ctx.params.get("quiet")), bool(ctx.params.get("as_json"))):
            return super().invoke(ctx)


class Configured(Command):
    """A command that takes a configuration."""

    def understood(self, name: str, words: list[str], options: dict[str, bool]) -> list[str]:
        """With ``--config``, and ``section.key=value`` at the end."""
        from pipeline.stages.terminal import typed

        return typed.configured(name, words, options)


class OfMachine(Command):
    """A command that may take a configuration."""

    def understood(self, name: str, words: list[str], options: dict[str, bool]) -> list[str]:
        """As of a command that takes one, if there is one."""
        from pipeline.errors import UserError, quoted
        from pipeline.stages.terminal import typed

        if any(word.partition("=")[0] == "--config" or ("=" not in word and word.endswith(typed.YAML)) for word in words):
            return typed.configured(name, words, options)
        if keys := [word for word in words if "=" in word and not word.startswith("-")]:
            raise UserError(f"{quoted(keys[0])}: {name} takes keys after a configuration; type: {name} --config FILE {keys[0]}")
        return words


class OfRun(Command):
    """A command that takes a run folder."""

    def understood(self, name: str, words: list[str], options: dict[str, bool]) -> list[str]:
        """With ``--run``, or as of a command that takes a configuration."""
        from pipeline.stages.terminal import typed

        return typed.of_run(name, words, options)


class OfExport(Command):
    """A command that takes an export folder and a file."""

    def understood(self, name: str, words: list[str], options: dict[str, bool]) -> list[str]:
        """With ``--model``."""
        from pipeline.stages.terminal import typed

        return typed.of_export(name, words, options)
