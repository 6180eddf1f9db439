"""Where the console script `signalr` begins."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        The exit status: 0 done, 1 the hub said no, 2 wrong usage, 3 no connection, 130 interrupted.
    """
    try:
        # The extra `cli` brings typer and rich.
        import rich  # noqa: F401
        import typer
    except ModuleNotFoundError:
        print("the command 'signalr' needs an extra: pip install 'signalr-sdk[cli]'", file=sys.stderr)  # noqa: T201
        return _USAGE

    # They import typer themselves.
    from .azure import app as azure
    from .demo import demo
    from .invoke import invoke
    from .negotiate import negotiate
    from .serve import serve

    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_signalr)
    app.command()(demo)
    # A negative number is an argument of the hub method, not an option.
    app.command(context_settings={"ignore_unknown_options": True})(invoke)
    app.command()(negotiate)
    app.command()(serve)
    app.add_typer(azure, name="azure")
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        app(arguments, prog_name="signalr", obj=arguments)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    return 0


def _signalr() -> None:
    """Talk to a SignalR hub.

    Exit status: 0 done, 1 the hub said no, 2 wrong usage, 3 no connection.
    """


if __name__ == "__main__":
    sys.exit(main())
