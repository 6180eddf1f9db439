"""Reads the hub method and its arguments from the command line, for the commands `invoke`, `send` and `stream`."""

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

# Without `ignore_unknown_options`, click refuses a negative number as an unknown option. With this setting, click
# treats a mistyped option as an argument of the hub method; `parse_arguments` refuses the mistyped option.
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
    """A call of a hub method, as the user has written it on the command line.

    Attributes:
        method: name of the method.
        arguments: the values of the arguments, without the upload.
        upload: name of the file whose lines are streamed as the last argument; `-` for standard input, `None` for none.
    """

    method: str
    arguments: list[Any]
    upload: str | None = attrs.field(kw_only=True)

    @classmethod
    def from_options(cls, context: Context, method: Method, args: Args = None, upload: Upload = None) -> MethodCall:
        """Return a `MethodCall` for the hub method and the arguments that the user has typed.

        `options.command` turns the parameters of `from_options` into options and arguments of the commands `invoke`,
        `send` and `stream`.
        """
        return cls(method, parse_arguments(args, context.obj), upload=upload)


def parse_argument(text: str) -> Any:
    """Parse a text from the command line as JSON and return the value; return the text itself if it is not JSON."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text


def _refuse_constant(name: str) -> None:
    # Treat `NaN` and `Infinity` as plain texts: they are not JSON, although `json.loads` accepts them.
    raise ValueError(name)


def parse_arguments(args: Sequence[str] | None, command_line: Sequence[str]) -> list[Any]:
    """Return the arguments of a hub method, or end the command if an argument looks like a mistyped option.

    Only a negative number, or an argument after `--`, may begin with `-`.

    Args:
        args: the texts that typer has found as arguments of the hub method; `None` for none.
        command_line: the list of all texts that the user has typed after `signalr`, with `--` if the user has typed it.
    """
    free = command_line[command_line.index("--") :] if "--" in command_line else ()
    for text in args or ():
        if text.startswith("-") and text != "-" and text not in free and not _NUMBER.fullmatch(text):
            # Do not show the value after the `=` in the error: the value may be a secret.
            name = text.partition("=")[0]
            fail(WRONG_USAGE, f"there is no option {name}; for an argument of that text put -- first")
    return [parse_argument(text) for text in args or ()]
