"""The hub method that `invoke`, `send` and `stream` call, and its arguments, from the command line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import attrs
import typer

from .exit_status import WRONG_USAGE, fail
from .options import option, positional

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBER = re.compile(r"-\d+(\.\d+)?([eE][+-]?\d+)?")

# So that click takes a negative number for an argument. `_checked` finds mistyped options in place of click.
CONTEXT = {"ignore_unknown_options": True}

Context: TypeAlias = typer.Context
Method = Annotated[str, positional("METHOD", "The hub method.")]
Args = Annotated[list[str] | None, positional("[ARGS]...", "Arguments of the method: JSON, or else plain text.")]
Upload = Annotated[
    str | None,
    option(
        "--upload",
        metavar="FILE",
        help="Stream the lines of a file as the last argument; - is standard input.",
    ),
]


@attrs.frozen
class MethodCall:
    """A call of a hub method.

    Attributes:
        method: name of the method.
        arguments: the arguments that are no streams.
        upload: name of the file whose lines are the last argument; `-` for standard input, `None` for no file.
    """

    method: str
    arguments: list[Any]
    upload: str | None

    @classmethod
    def from_options(cls, context: Context, method: Method, args: Args = None, upload: Upload = None) -> MethodCall:
        """Read the arguments of the command line: see `options.command`."""
        return cls(method, parse_arguments(args, context.obj), upload)


def parse_argument(text: str) -> Any:
    """Return the value of a JSON text; a text that is no JSON is its own value."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text


def _refuse_constant(name: str) -> None:
    # `NaN` and `Infinity` are not JSON, although Python reads them: both are plain texts.
    raise ValueError(name)


def parse_arguments(args: Sequence[str] | None, command_line: Sequence[str]) -> list[Any]:
    """Return the arguments of a hub method, or end the command if one looks like a mistyped option.

    Args:
        args: the arguments as typer found them.
        command_line: all arguments of the process.
    """
    return [parse_argument(text) for text in _checked(args or (), command_line)]


def _checked(args: Sequence[str], command_line: Sequence[str]) -> Sequence[str]:
    """Allow arguments that begin with `-` only after `--`, and negative numbers everywhere."""
    free = command_line[command_line.index("--") :] if "--" in command_line else ()
    for text in args:
        if text.startswith("-") and text != "-" and text not in free and not _NUMBER.fullmatch(text):
            # The error does not show the value after the `=`, which may be a secret.
            name = text.partition("=")[0]
            fail(WRONG_USAGE, f"there is no option {name}; for an argument of that text put -- first")
    return args
