"""The options that several commands share. A command can also get a group of options as one object."""

from __future__ import annotations

import functools
import inspect
import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from signalr_sdk_cli.plain_help import HELP_OPTIONS, Command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typer.core import TyperCommand

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 1e9  # seconds
_URL_HELP = "The hub's URL. $SIGNALR_URL or --context gives it too: then leave it out."


def option(*names: str, help: str, metavar: str | None = None, panel: str | None = None, **more: Any) -> Any:
    """Return an option of the command line whose help does not show the default.

    Args:
        names: the option's names, with their dashes.
        help: what the option means.
        metavar: what the help shows for the value.
        panel: heading of the part of the help that shows the option.
        more: further arguments of `typer.Option`.
    """
    shown = {"show_default": False, **more}
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=panel, **shown)


def positional(metavar: str, help: str) -> Any:
    """Return a positional argument of the command line whose help does not show the default."""
    return typer.Argument(metavar=metavar, help=help, show_default=False)


def duration(text: str) -> float:
    """Return the seconds of a text like `10s`, `500ms`, `2m`, `1h` or `10`, which is in seconds."""
    # typer calls this function with the default of an option too, which is a number.
    found = _DURATION.fullmatch(str(text).strip())
    seconds = float(found[1]) * _UNITS[found[2] or "s"] if found else 0.0
    if not 0 < seconds < _LONGEST:
        raise typer.BadParameter(f"{text!r} is no duration; write for example 10s, 500ms, 2m or 1h")
    return seconds


def duration_or_zero(text: str) -> float:
    """Return the seconds of a text as `duration` does; `0` is allowed too."""
    return 0.0 if str(text).strip() in ("0", "0s", "0.0") else duration(text)


def whole_number(text: str) -> int:
    """Return the number of a text like `3`, which must be at least 1."""
    text = str(text)
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text) > 0):
        raise typer.BadParameter(f"{text!r} is no count; write 1 or more")
    return int(text)


def existing_file(text: str) -> Path:
    """Return the path of a file that exists. A pipe is a file too, a folder is none."""
    path = Path(text)
    if path.is_dir():
        raise typer.BadParameter(f"{text} is a folder; name a file")
    if not path.exists():
        raise typer.BadParameter(f"there is no file {text}; check its path")
    return path


seconds: functools.partial[Any] = functools.partial(option, metavar="DURATION", parser=duration)
number: functools.partial[Any] = functools.partial(option, metavar="N", parser=whole_number)

Url = Annotated[str | None, positional("URL", _URL_HELP)]
Timeout = Annotated[float, seconds("--timeout", help="Limit for the whole command.", show_default="30s")]
NoTimeout = Annotated[float | None, seconds("--timeout", help="Limit for the whole command; none by default.")]
Count = Annotated[int | None, number("--count", "-n", help="Exit after N lines; no limit by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="Log events; -vv logs the messages too.")]


def command(*examples: str, **settings: Any) -> Callable[[Callable[..., None]], TyperCommand]:
    """Return a decorator that turns a function into a command of `signalr`.

    A parameter whose class has a method `from_options` stands for a group of options. The command gets one option for
    each parameter of `from_options`, and the function gets the object that `from_options` returns.

    Args:
        examples: whole command lines that the help shows at its end.
        settings: click's settings of the command's context, such as `ignore_unknown_options`.
    """

    def decorate(function: Callable[..., None]) -> TyperCommand:
        return as_command(_with_groups(function), *examples, **settings)

    return decorate


def as_command(function: Callable[..., None], *examples: str, **settings: Any) -> TyperCommand:
    """Return the command that calls a function, whose parameters are options. See `command` for the arguments."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(cls=Command, epilog=examples_text(examples), context_settings={**HELP_OPTIONS, **settings})(function)
    made: Any = typer.main.get_command(app)
    return cast("TyperCommand", made)


def examples_text(examples: Sequence[str]) -> str | None:
    """Return the section of the help that shows examples; `None` without examples."""
    return "\n  ".join(["Examples:", *examples]) if examples else None


def _with_groups(function: Callable[..., None]) -> Callable[..., None]:
    own = inspect.signature(function, eval_str=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[Callable[..., object], list[str]]] = {}
    for name, parameter in own.parameters.items():
        make = getattr(parameter.annotation, "from_options", None)
        if make is None:
            parameters.append(parameter)
        else:
            members = inspect.signature(make, eval_str=True).parameters
            groups[name] = make, list(members)
            parameters += members.values()
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]

    @functools.wraps(function)
    def run(**given: Any) -> None:
        made = {name: make(**{each: given.pop(each) for each in members}) for name, (make, members) in groups.items()}
        function(**given, **made)

    # typer reads the parameters from `__signature__` and their types from `__annotations__`. Set both: otherwise typer
    # would see the group and not its options.
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def show_log(verbose: int) -> None:
    """Send the log to standard error.

    Args:
        verbose: how often `-v` was given: 0 for nothing, 1 for lifecycle events, 2 for messages too.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger("signalr_sdk")
    logger.addHandler(handler)
    logger.setLevel((logging.CRITICAL, logging.INFO, logging.DEBUG)[min(verbose, 2)])
