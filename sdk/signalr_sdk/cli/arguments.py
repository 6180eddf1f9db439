"""Reads the hub method and its arguments from the command line, for the commands that call a method."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import attrs
import typer

from signalr_sdk_cli.usage_errors import no_such_option

from .._core.redaction import shortened
from .exit_status import WRONG_USAGE, fail
from .options import Url, option, positional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .connection_options import ConnectionOptions

_NUMBER = re.compile(r"-\d+(\.\d+)?([eE][+-]?\d+)?")
_JSON_BEGINS = ("{", "[", '"')
_LONGEST_SHOWN = 40  # characters

# Without `ignore_unknown_options`, click refuses a negative number as an unknown option. With this setting, click
# treats a mistyped option as an argument of the hub method; `refuse_options` refuses the mistyped option.
CONTEXT = {"ignore_unknown_options": True}

Context: TypeAlias = typer.Context
_ARGS_HELP = "Arguments: JSON, or else text. =TEXT is always text: =1 is the text 1."
Method = Annotated[str | None, positional("METHOD", "The hub method.")]
Args = Annotated[list[str] | None, positional("[ARGS]...", _ARGS_HELP)]
Text = Annotated[bool, option("--text", help="Send all arguments as text, as they are.")]
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
        words: the words: URL, method, arguments. The URL is missing if a context or the environment gives it.
        upload: name of the file whose lines are streamed as the last argument; `-` for standard input, `None` for none.
        is_text: whether all arguments are texts.
    """

    words: list[str]
    upload: str | None = attrs.field(kw_only=True)
    is_text: bool = attrs.field(kw_only=True)
    _typed: Context = attrs.field(kw_only=True, repr=False)

    @classmethod
    def from_options(
        cls,
        typed: Context,
        url: Url = None,
        method: Method = None,
        args: Args = None,
        upload: Upload = None,
        text: Text = False,
    ) -> MethodCall:
        """Return a `MethodCall` for the hub method and the arguments that the user has typed.

        `options.command` turns the parameters of `from_options` into options and arguments of the commands `invoke`,
        `send` and `stream`.
        """
        words = [each for each in (url, method, *(args or ())) if each is not None]
        refuse_options(typed, words)
        return cls(words, upload=upload, is_text=text, typed=typed)

    def resolve(self, connection: ConnectionOptions) -> tuple[str, str, list[Any]]:
        """Return the hub's URL, the name of the method and its arguments, without the upload."""
        usage = f"{self._typed.command_path} URL METHOD [ARGS]..."
        if not self.words and connection.url is None:
            fail(WRONG_USAGE, f"the hub's URL and the method are missing; write {usage}")
        url, rest = connection.split_url(self.words)
        if not rest:
            fail(WRONG_USAGE, f"the method is missing; write {usage}")
        method, *args = rest
        return url, method, parse_arguments(self._typed, args, is_text=self.is_text)

    def parse(self, text: str) -> Any:
        """Return the value of an argument, or of a line of a file.

        Raises:
            ValueError: the text begins like JSON, but is no JSON.
        """
        return text if self.is_text else parse_argument(text)


def parse_argument(text: str) -> Any:
    """Parse a text from the command line as JSON and return the value; return the text itself if it is not JSON.

    Raises:
        ValueError: the text begins with a bracket, a brace or a quotation mark like JSON, but is no JSON.

    Example:
        >>> parse_argument("1"), parse_argument("hello"), parse_argument("=1")
        (1, 'hello', '1')
    """
    if text.startswith("="):
        return text[1:]
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        if not text.lstrip().startswith(_JSON_BEGINS):
            return text
        raise half_json(text, error) from None


def half_json(text: str, error: Exception) -> ValueError:
    """Return the error for a text that begins like JSON and is none. `error` says where it stops being JSON."""
    return ValueError(f"{_shown(text)} begins like JSON, but is none ({_reason(error)}){_hint(text)}")


def parse_arguments(context: Context, texts: Sequence[str], *, is_text: bool) -> list[Any]:
    """Return the values of arguments; end the command if one of them is a mistyped option, or half JSON."""
    refuse_options(context, texts)
    try:
        return [text if is_text else parse_argument(text) for text in texts]
    except ValueError as error:
        fail(WRONG_USAGE, str(error))


def _refuse_constant(name: str) -> None:
    # Treat `NaN` and `Infinity` as plain texts: they are not JSON, although `json.loads` accepts them.
    raise ValueError(f"JSON has no {name}")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"character {error.pos + 1}: {error.msg[:1].lower()}{error.msg[1:]}"
    return "too deep" if isinstance(error, RecursionError) else str(error)


def _hint(text: str) -> str:
    return "; for JSON check the quoting of your shell, for text write =TEXT" if len(text) < _LONGEST_SHOWN else ""


def _shown(text: str) -> str:
    return repr(shortened(text, _LONGEST_SHOWN))


def refuse_options(context: Context, words: Sequence[str]) -> None:
    """End the command if a word looks like a mistyped option.

    Only a negative number, or an argument after `--`, may begin with `-`: click treats an unknown option as a word,
    because otherwise click would refuse negative numbers.

    Args:
        context: the context of the command; `context.obj` is the list of all words that the user has typed.
        words: the words that typer has found beside the options.
    """
    typed = context.obj
    free = typed[typed.index("--") :] if "--" in typed else ()
    for text in words:
        if text.startswith("-") and text != "-" and text not in free and not _NUMBER.fullmatch(text):
            # Do not show the value after the `=` in the error: the value may be a secret.
            name = text.partition("=")[0]
            fail(WRONG_USAGE, f"{no_such_option(name, context)}; for an argument of that text, put -- before it")
