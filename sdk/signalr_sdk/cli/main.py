"""The console script `signalr`: finds the command that the arguments name, and runs the command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Do not import the exit statuses from `exit_status`: that module needs typer, which is missing without the extra `cli`.
_WRONG_USAGE = 2
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name.

    Args:
        argv: the arguments; by default the arguments of the process.

    Returns:
        The exit status: 0 done, 1 the hub answered with an error, 2 wrong usage, 3 no connection, 130 interrupted.
    """
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        # Ctrl-C came during the imports, or for the second time while the command was ending.
        return _INTERRUPTED


def _run(arguments: list[str]) -> int:
    try:
        # Import typer and rich only here: they belong to the extra `cli`, which may be missing.
        import rich  # noqa: F401
        import typer
    except ModuleNotFoundError:
        print("the command 'signalr' needs an extra: pip install 'signalr-sdk[cli]'", file=sys.stderr)  # noqa: T201
        return _WRONG_USAGE

    # Import the commands only here, because they import typer. Each command is a function in its own module. A function
    # that connects to a hub is decorated with `options.command`. A group of commands is a `typer.Typer`.
    from .arguments import CONTEXT
    from .azure import app as azure
    from .bench import bench
    from .demo import demo
    from .doctor.command import doctor
    from .invoke import invoke
    from .json_output import OutputError
    from .listen import listen
    from .negotiate import negotiate
    from .send import send
    from .serve import serve
    from .stream import stream

    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_signalr)
    for command in (bench, demo, doctor, listen, negotiate, serve):
        app.command()(command)
    for command in (invoke, send, stream):
        app.command(context_settings=CONTEXT)(command)
    app.add_typer(azure, name="azure")
    try:
        app(arguments, prog_name="signalr", obj=arguments)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    except OSError as error:
        # This error is from writing to standard output, for example from writing the help: the commands themselves
        # report all errors of connections and files.
        print(f"signalr: {OutputError(error)}", file=sys.stderr)  # noqa: T201
        return _WRONG_USAGE
    return 0


def _signalr() -> None:
    """Talk to a SignalR hub.

    Exit status: 0 done, 1 the hub answered with an error, 2 wrong usage, 3 no connection.
    """


if __name__ == "__main__":
    sys.exit(main())
