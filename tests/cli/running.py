"""Runs commands as processes: with pipes, and in a terminal of 80 columns."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

# SIGINT may be ignored in the process that has started the tests, and child processes inherit that.
_PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from signalr_sdk.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def environment(**more: str) -> dict[str, str]:
    """Return the environment without the variables that change the output of a command."""
    left_out = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "SIGNALR_TOKEN", "GITHUB_ACTIONS")
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


def in_terminal(*arguments: str, columns: int = 80) -> tuple[int, str]:
    """Run a command in a terminal; return its exit status and all output."""
    # Windows has no such modules.
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with process(*arguments, stdin=theirs, stdout=theirs, stderr=theirs) as command:
        os.close(theirs)
        seen = b""
        try:
            while piece := os.read(ours, 65536):
                seen += piece
        except OSError:
            pass  # the error of Linux when the other end of the terminal is closed
        finally:
            os.close(ours)
    return command.returncode, seen.decode()
