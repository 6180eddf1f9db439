"""The help of commands as plain text. Importing and running the help of rich would take longer than the whole rest."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from .usage_errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


class PlainHelp:
    """A base of commands and groups: the help has sections, and at its end the examples as they were written."""

    def format_options(self: Any, ctx: Any, formatter: Any) -> None:
        """Write a section for the arguments, and one for each panel of options; in a group also the commands."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for each in self.get_params(ctx):
            if not getattr(each, "hidden", False):
                is_argument = each.param_type_name == "argument"
                title = getattr(each, "rich_help_panel", None) or ("Arguments" if is_argument else "Options")
                sections.setdefault(title, []).append((_names(each), _help(each)))
        # The options that all commands share come last: who reads the help of a command looks for its own options.
        for title in sorted(sections, key=lambda title: title == "Connection"):
            write_rows(formatter, title, sections[title])
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write nothing: a command has no commands. A group overrides this method."""

    def format_epilog(self: Any, ctx: Any, formatter: Any) -> None:
        """Write the examples without wrapping their lines."""
        if self.epilog:
            formatter.write(f"\n{self.epilog}\n")


class Command(PlainHelp, TyperCommand):
    """A command with plain help."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the pieces of the usage line: the metavars of the arguments as they were written."""
        arguments = [each.metavar for each in self.get_params(ctx) if each.param_type_name == "argument"]
        return ["[OPTIONS]", *(str(each) for each in arguments)]


class CommandGroup(PlainHelp, TyperGroup):
    """A group of commands with plain help."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name, or raise a usage error with the names that look like it."""
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(args[0], names)
            hint = f" (did you mean {' or '.join(close)}?)" if close else ""
            raise UsageError(f"there is no command {args[0]}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the name and the first sentence of each command."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        write_rows(formatter, "Commands", [(name, first_sentence(each)) for name, each in commands])


def first_sentence(command: Any) -> str:
    """Return the first sentence of a command's help."""
    first, stop, _ = " ".join((command.help or "").split()).partition(". ")
    return f"{first}." if stop else first


def write_rows(formatter: Any, title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Write a section of the help: a title, and a table with two columns."""
    with formatter.section(title):
        formatter.write_dl(list(rows))


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    names = ", ".join(sorted(parameter.opts, key=len))
    is_flag = getattr(parameter, "is_flag", False) or getattr(parameter, "count", False)
    return names if is_flag else f"{names} {parameter.metavar or parameter.name.upper()}"


def _help(parameter: Any) -> str:
    text = getattr(parameter, "help", None) or ""
    shown, default = getattr(parameter, "show_default", False), parameter.default
    if isinstance(shown, str):
        default = shown
    if not shown or default in (None, False, ()) or getattr(parameter, "is_flag", False):
        return text
    return f"{text} [default: {default}]"
