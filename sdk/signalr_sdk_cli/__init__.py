"""The start of the command `signalr`: finds the command that the arguments name, and runs it.

`signalr --help` must not wait for the import of `signalr_sdk`, which takes five times as long as the import of typer.
So the start of the command is a package of its own, as the pytest plugin is. The commands are in `signalr_sdk.cli`, and
a command is imported when it is called.
"""

from __future__ import annotations

import sys

# Import nothing more at the top of this module, not even `typing`: Ctrl-C during such an import would end in a
# traceback. All else is imported in `main`, which catches Ctrl-C. Type checkers know this name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Do not import the exit statuses from `signalr_sdk.cli.exit_status`: that module imports all of `signalr_sdk`.
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
        status = _run(list(sys.argv[1:] if argv is None else argv))
        if argv is None:
            _ignore_interrupts()
    except KeyboardInterrupt:
        # Ctrl-C came during the imports, or for the second time while the command was ending.
        status = _INTERRUPTED
        if argv is None:
            _ignore_interrupts()
    if status == _INTERRUPTED:
        _say("interrupted")
    return status


def _ignore_interrupts() -> None:
    # The process ends now. Ctrl-C must not interrupt the end of the interpreter, which would print a traceback. Import
    # `signal` only here, because of the note at the top of this module.
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(arguments: list[str]) -> int:
    if arguments[:1] in (["--version"], ["-V"]):
        # Import the metadata only here: no other command needs them.
        from importlib.metadata import version

        print("signalr", version("signalr-sdk"))  # noqa: T201
        return 0
    try:
        # Import typer and rich only here: they belong to the extra `cli`, which may be missing.
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ModuleNotFoundError:
        _say("this command needs an extra: pip install 'signalr-sdk[cli]'")
        return _WRONG_USAGE
    # Import the commands only here, because they import typer.
    from .commands import run

    try:
        return run(arguments)
    except OSError as error:
        # This error is from writing the help to standard output: the commands themselves report all errors of
        # connections and files.
        _say(f"cannot write to standard output: {error.strerror or error}")
        return _WRONG_USAGE


def _say(text: str) -> None:
    print(f"signalr: {text}", file=sys.stderr)  # noqa: T201
