"""Wrong usage that typer finds, as one line: what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
import re
from typing import Any

import typer

# What the commands import lazily, and the extra that has it.
_EXTRAS = {"prompt_toolkit": "cli", "jwt": "azure", "matplotlib": "plot", "cattrs": "typed", "redis": "redis"}
_EXTRA = re.compile(r"(?i)got unexpected extra argument\S* \((\S+?)\)?$")

# What a newcomer may look for as an option.
_IN_URL = ("--host", "--port", "--path")

# click's UsageError. typer has click in it since version 0.26 or so, and depended on click before: so do not import
# the class from click.
UsageError: Any = typer.BadParameter.__bases__[0]


def is_help(error: Any) -> bool:
    """Return whether this is the help of a group that was called without a command."""
    return type(error).__name__ == "NoArgsIsHelpError"


def explain(error: Any, command: str) -> str:
    """Return one line: what is wrong, where, and what to do.

    Args:
        error: the usage error.
        command: the name of the command with a blank before it; empty if the arguments name none.
    """
    said = _what(error)
    # A text with a semicolon says already what to do.
    return said if ";" in said else f"{said}; see {_command_path(error, command)} --help"


def _what(error: Any) -> str:
    match type(error).__name__:
        case "NoSuchOption":
            return no_such_option(error.option_name, error.ctx)
        case "MissingParameter":
            return f"{_name(error.param)} is missing"
        case "BadOptionUsage" if error.option_name:
            return f"{error.option_name} needs a value" if "requires an argument" in error.message else error.message
    extra = _EXTRA.match(error.message)
    message = f"{extra[1]} is one word too many" if extra else _sentence(error.message)
    param = getattr(error, "param", None)
    return f"{_name(param)}: {message}" if param is not None else message


def missing_package(error: ModuleNotFoundError) -> str:
    """Return the text about a package that is missing. A package of an extra comes with `pip install`."""
    if error.name is None:
        # This error is from signalr_sdk itself, which says in its text what to install.
        return str(error)
    extra = _EXTRAS.get(error.name.partition(".")[0])
    what = f"'signalr-sdk[{extra}]'" if extra is not None else error.name
    return f"the package {error.name} is missing; pip install {what}"


def no_such_option(name: str, context: Any) -> str:
    """Return the text about an option that the command does not have, with the options that look like it."""
    params = context.command.get_params(context)
    if name in _IN_URL and any(str(each.metavar).strip("[]") == "URL" for each in params):
        return f"there is no option {name}: it is a part of the URL, such as http://localhost:5000/chat"
    # Compare the names without their dashes, which would make all of them look alike.
    known = [each.lstrip("-") for param in params for each in param.opts if each.startswith("--")]
    typed = name.lstrip("-")
    begins = [each for each in known if len(typed) > 1 and each.startswith(typed)]
    close = [f"--{each}" for each in begins or difflib.get_close_matches(typed, known, n=2, cutoff=0.8)]
    return f"there is no option {name}" + (f" (did you mean {' or '.join(close)}?)" if close else "")


def _command_path(error: Any, command: str) -> str:
    # The error about an option without a value knows no context.
    return str(error.ctx.command_path) if error.ctx is not None else f"signalr{command}"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar).strip("[].")
    return str(max(parameter.opts, key=len))


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return text[:1].lower() + text[1:]
