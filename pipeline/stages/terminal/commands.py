"""Commands that take words in the forms that people type; their help."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

TARGETS = {"prep": "prepare", "eval": "evaluate"}  # of make, which are commands under another name


class Program(TyperGroup):
    """All commands. The lines of their help are whole, and the targets of make are known."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or of that target of make."""
        return super().get_command(ctx, TARGETS.get(cmd_name, cmd_name))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each command with the first paragraph of its help, on as many lines as it takes."""
        rows = [(name, (self.commands[name].help or "").split("\n\n")[0]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class _Typed(TyperCommand):
    def options(self) -> dict[str, bool]:
        """The options of this command, each with whether a value follows it."""
        found = {
            name: not getattr(option, "is_flag", False) for option in self.params for name in option.opts if name[0] == "-"
        }
        return found | {"-h": False, "--help": False}


class Configured(_Typed):
    """A command that takes a configuration."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As always, once the words are those that the command takes."""
        from pipeline.stages.terminal import typed

        return super().parse_args(ctx, typed.configured(ctx.info_name, args, self.options()))


class OfRun(_Typed):
    """A command that takes a run folder."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As always, once the words are those that the command takes."""
        from pipeline.stages.terminal import typed

        return super().parse_args(ctx, typed.of_run(ctx.info_name, args, self.options()))


class OfExport(_Typed):
    """A command that takes an export folder and a file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As always, once the words are those that the command takes."""
        from pipeline.stages.terminal import typed

        return super().parse_args(ctx, typed.of_export(ctx.info_name, args, self.options()))
