"""Runs commands as processes: with pipes, and in a terminal of 80 columns."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# SIGINT may be ignored in the process that has started the tests, and child processes inherit that.
_PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from signalr_sdk.cli.main import main
sys.exit(main())
"""


def environment(**more: str) -> dict[str, str]:
    """Return the environment without the variables that change the output of a command."""
    left_out = (
        *("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "SIGNALR_TOKEN", "SIGNALR_URL", "GITHUB_ACTIONS"),
        "PYTHONASYNCIODEBUG",  # on a busy machine, asyncio would say what is slow
    )
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in left_out and not name.lower().endswith("_proxy")
    }
    return {**kept, "PYTHONUTF8": "1", "TERM": "xterm", **more}


def process(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command."""
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment()}
    return subprocess.Popen([sys.executable, "-c", _PROGRAM, *arguments], **{**given, **options})


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command with pipes."""
    command = [sys.executable, "-c", _PROGRAM, *arguments]
    options = {"env": environment(), **options}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=50, **options)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def in_terminal(*arguments: str, columns: int = 80) -> tuple[int, str]:
    """Run a command in a terminal; return its exit status and all output."""
    return in_terminal_until(lambda _shown: None, *arguments, columns=columns)


def in_terminal_until(
    user: Callable[[str], str | None], *arguments: str, columns: int = 80, **more: str
) -> tuple[int, str]:
    """Run a command in a terminal; return its exit status and all output.

    Args:
        user: gets what has been shown since its last answer, and returns what is typed next, or `None` to wait.
        arguments: the arguments of the command.
        columns: how wide the terminal is.
        more: variables of the environment.
    """
    # Windows has no such modules.
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with process(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**more)) as command:
        os.close(theirs)
        seen, answered = b"", 0
        try:
            while piece := os.read(ours, 65536):
                seen += piece
                typed = user(seen[answered:].decode(errors="replace"))
                if typed is not None:
                    answered = len(seen)
                    os.write(ours, typed.encode())
        except OSError:
            pass  # the error of Linux when the other end of the terminal is closed
        finally:
            os.close(ours)
    return command.returncode, seen.decode()
