"""A redis-server of a test's own, on a Unix socket or on a port."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import redis

if TYPE_CHECKING:
    from pathlib import Path

START_LIMIT = 60.0  # seconds
PROGRAM = shutil.which("redis-server")


class RedisProcess:
    """A redis-server.

    Args:
        folder: where the socket and the files lie.
        options: options of redis-server; by default nothing is kept on disk.
        port: a TCP port beside the socket; 0 for none.
        plain: whether the server keeps nothing on disk, if `options` do not say more. Not for a Sentinel.
    """

    def __init__(self, folder: Path, *options: str, port: int = 0, plain: bool = True) -> None:
        self.folder = folder
        self.port = port
        self._socket = folder / "redis.sock"
        self._options = ["--save", "", "--appendonly", "no", *options] if plain else [*options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of the Unix socket."""
        return f"unix://{self._socket}"

    def client(self) -> Any:
        """Return a client for threads, whose replies are text."""
        return redis.Redis(unix_socket_path=str(self._socket), decode_responses=True)

    def start(self) -> Self:
        """Start the server, and wait until it takes commands."""
        assert PROGRAM is not None
        listen = ["--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", str(self._socket)]
        first = [each for each in self._options[:1] if not each.startswith("-")]  # a file must come first
        command = [PROGRAM, *first, *listen, "--dir", str(self.folder), *self._options[len(first) :]]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_LIMIT
        while not self._takes_commands():
            assert self._process.poll() is None, "redis-server has ended"
            assert time.monotonic() < deadline, "redis-server takes no commands"
            time.sleep(0.02)
        return self

    def _takes_commands(self) -> bool:
        with suppress(OSError, redis.RedisError):
            # The oldest redis-py leaves a socket open that could not connect.
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self._socket))
            with self.client() as client:
                return bool(client.ping())
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the server, and wait for its end."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        self._socket.unlink(missing_ok=True)


def free_port() -> int:
    """Return a TCP port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
