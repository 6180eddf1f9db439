"""The options that several commands share. A command can also get a group of options as one object."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable


def option(*names: str, help: str, metavar: str | None = None, panel: str | None = None, **more: Any) -> Any:
    """Return an option of the command line whose help does not show the default.

    Args:
        names: the option's names, with their dashes.
        help: what the option means.
        metavar: what the help shows for the value.
        panel: heading of the part of the help that shows the option.
        more: further arguments of `typer.Option`.
    """
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=panel, show_default=False, **more)


def positional(metavar: str, help: str) -> Any:
    """Return a positional argument of the command line whose help does not show the default."""
    return typer.Argument(metavar=metavar, help=help, show_default=False)


Url = Annotated[str, positional("URL", "The hub's http(s) URL.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Limit for the whole command.")]
NoTimeout = Annotated[
    float | None,
    option("--timeout", metavar="SECONDS", min=0.001, help="Limit for the whole command; none by default."),
]
Count = Annotated[int | None, option("--count", metavar="N", min=1, help="Exit after N lines; no limit by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="Log events; -vv logs the messages too.")]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Turn a function into a command that typer can run.

    A parameter whose class has a method `from_options` stands for a group of options. typer gets one option for each
    parameter of `from_options`, and the function gets the object that `from_options` returns.
    """
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
